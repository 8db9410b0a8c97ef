"""The rows of an outbox through SQLAlchemy: the database and its table, reads and changes, and a relay that polls."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    make_url,
    text,
)
from sqlalchemy.dialects.mysql import LONGBLOB, VARCHAR
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, ProgrammingError
from sqlalchemy.exc import OperationalError as SqlOperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobfleet.config import mask_url
from jobfleet.config.url import check_outbox_url
from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.event_loop import in_thread
from jobfleet.outbox import OutboxUnavailable, statements
from jobfleet.outbox.statements import CHANNEL, NOW, TABLE, Counts, Listed, Row, Verdict, among, ddl, kind_of

SQLITE_TIMEOUT = 30.0
"""Seconds to wait for other writers of an SQLite file."""
CONNECT_TIMEOUT = 10
SILENCE: Final = MappingProxyType(
    {
        "postgresql": {
            "keepalives_idle": "15",
            "keepalives_interval": "5",
            "keepalives_count": "3",
            "tcp_user_timeout": "30000",
        },
        "mysql": {"read_timeout": "60", "write_timeout": "60"},
    }
)
"""What ends a connection whose host has vanished, unless the URL sets it: seconds, but ms for the user timeout."""
CREATE_RIGHT = (
    "If its user may not create tables, grant it that (PostgreSQL: GRANT CREATE ON SCHEMA public), or run the "
    "command with the URL of a user who may."
)
_LOCK = 7_203_418_553
"""The advisory lock of PostgreSQL under which the table is created."""


def open_engine(url: str) -> Engine:
    """Return an engine for a database with an outbox. It connects on first use.

    Args:
        url: The URL, such as ``postgresql://user:password@host/database``.

    Raises:
        ConfigError: The database is not supported, or its driver is not installed.
    """
    try:
        made = make_url(check_outbox_url(url))
    except (ConfigError, ArgumentError) as error:
        remedy = str(error) if isinstance(error, ConfigError) else "the URL cannot be read"
        raise ConfigError(f"outbox_url = {mask_url(url)!r}: {remedy}.") from None
    kind = made.get_backend_name()
    try:
        if kind == "sqlite":
            return create_engine(made, connect_args={"timeout": SQLITE_TIMEOUT})
        if kind == "postgresql":
            made = made.set(drivername="postgresql+psycopg")
        elif made.drivername in ("mysql", "mariadb"):
            made = made.set(drivername=f"{made.drivername}+pymysql")
        limits = SILENCE[kind_of(kind)]
        made = made.update_query_dict({name: limit for name, limit in limits.items() if name not in made.query})
        # A relay, a doctor and a command see what is committed now; MySQL's default is a snapshot per transaction.
        options = {"isolation_level": "READ COMMITTED", "pool_pre_ping": True, "pool_size": 2}
        return create_engine(made, connect_args={"connect_timeout": CONNECT_TIMEOUT}, **options)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        what = "its driver is not installed; 'pip install pymysql' is one for MySQL and MariaDB"
        raise ConfigError(f"outbox_url = {mask_url(url)!r}: {what} ({error}).") from None


def table(metadata: MetaData) -> Table:
    """Add the table to a `MetaData`; see `jobfleet.outbox.table`."""
    if TABLE in metadata.tables:
        return metadata.tables[TABLE]
    made = Table(
        TABLE,
        metadata,
        Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
        Column("namespace", _ascii(64), nullable=False),
        Column("id", _ascii(112), nullable=False),
        Column("job", LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb"), nullable=False),
        Column("created_us", BigInteger(), nullable=False),
        Column("retry_us", BigInteger(), nullable=False, server_default=text("0")),
        Column("tries", Integer(), nullable=False, server_default=text("0")),
        Column("failed_us", BigInteger()),
        Column("error", Text()),
        sqlite_autoincrement=True,
        mysql_engine="InnoDB",
    )
    Index(f"{TABLE}_waiting", made.c.namespace, made.c.failed_us, made.c.seq)
    return made


def _ascii(length: int) -> String:
    """A text that is compared by its bytes on MySQL, too."""
    return String(length).with_variant(VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")


def create_tables(database: str | Engine) -> None:
    """Create the table, unless it exists; see `jobfleet.outbox.create_tables`."""
    if not isinstance(database, Engine | str):
        raise ConfigError(f"database is {database!r:.100}; give a URL or an engine.")
    engine = database if isinstance(database, Engine) else open_engine(database)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":  # IF NOT EXISTS fails if two create the table at once
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            for statement in ddl(engine.dialect.name):
                connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if engine is database:  # the owner of an engine knows its errors
            raise
        reason = reason_of(error)
        remedy = f" {CREATE_RIGHT}" if " denied" in reason else ""
        raise OutboxUnavailable(f"No outbox at {mask_url(str(database))} ({reason}).{remedy}") from error
    finally:
        if engine is not database:
            engine.dispose()


def reason_of(error: BaseException) -> str:
    """The first line of the error of a database."""
    lines = str(getattr(error, "orig", None) or error).strip().split("\n", 1)
    return lines[0] or type(error).__name__


# Read and change the rows of an outbox in any database: for commands, the doctor and metrics.


IDS_AT_ONCE = 500
PART_LEAST = 4
"""Characters that a part of an id has at least."""
FITTING = 3
"""Rows that the message about a part names which fits several."""
ERROR_LENGTH = 2000
"""Characters of an error that a row keeps."""


class OutboxRows:
    """The rows of a fleet; `close` releases the connections.

    Args:
        url: URL of the database.
        namespace: Namespace of the fleet.

    Raises:
        ConfigError: The database is not supported.
    """

    def __init__(self, url: str, namespace: str) -> None:
        self.engine: Engine = open_engine(url)
        self.kind: str = kind_of(self.engine.dialect.name)
        self.shown: str = mask_url(url)
        self._namespace = namespace
        self._now = NOW[self.kind]

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()

    def counts(self) -> Counts:
        """Count the rows.

        Raises:
            OutboxUnavailable: The database does not answer, or has no table.
        """
        asked = (  # the index has all of this; the age and the error are those of one row
            f"SELECT failed_us IS NOT NULL, COUNT(*), {self._now} - MIN(failed_us), MIN(seq) FROM {TABLE} "
            "WHERE namespace = :namespace GROUP BY failed_us IS NOT NULL"
        )
        one = f"SELECT {self._now} - created_us, error FROM {TABLE} WHERE seq = :seq"
        with self._connected() as connection:
            rows = {bool(row[0]): row for row in self._run(connection, asked)}
            waiting, refused = rows.get(False), rows.get(True)
            oldest = self._run(connection, one, seq=waiting[3]).first() if waiting else None
            first = self._run(connection, one, seq=refused[3]).first() if refused else oldest
        return Counts(
            int(waiting[1]) if waiting else 0,
            int(refused[1]) if refused else 0,
            max(0.0, float(oldest[0]) / 1e6) if oldest else 0.0,
            max(0.0, float(refused[2]) / 1e6) if refused else 0.0,
            str((first[1] if first else None) or ""),
        )

    def listed(
        self,
        *,
        refused: bool | None = None,
        has_error: bool = False,
        ids: Sequence[str] | None = None,
        limit: int = 50,
    ) -> list[Listed]:
        """Return the oldest rows.

        Args:
            refused: Only bad rows, or only waiting rows; default both.
            has_error: Whether only rows with an error are meant.
            ids: Only these jobs, of which the first 500 count; default all.
            limit: Rows at most.

        Raises:
            OutboxUnavailable: As `counts`.
        """
        which = "" if refused is None else f" AND failed_us IS {'NOT NULL' if refused else 'NULL'}"
        which += " AND error IS NOT NULL" if has_error else ""
        named = _named((ids or ())[:IDS_AT_ONCE])
        which += "" if ids is None else f" AND id IN ({_marks(named)})"
        asked = (
            f"SELECT seq, id, job, {self._now} - created_us, tries, failed_us IS NOT NULL, error FROM {TABLE} "
            f"WHERE namespace = :namespace{which} ORDER BY seq LIMIT :limit"
        )
        with self._connected() as connection:
            return [
                Listed(int(seq), job_id, bytes(job), max(0.0, float(age) / 1e6), int(tries), bool(is_bad), error or "")
                for seq, job_id, job, age, tries, is_bad, error in self._run(connection, asked, limit=limit, **named)
            ]

    def waiting(self, ids: Collection[str]) -> AbstractSet[str]:
        """Return those of some jobs that are rows which wait.

        Args:
            ids: The ids of the jobs.

        Raises:
            OutboxUnavailable: As `counts`.
        """
        found: set[str] = set()
        wanted = list(ids)
        with self._connected() as connection:
            for at in range(0, len(wanted), IDS_AT_ONCE):
                named = _named(wanted[at : at + IDS_AT_ONCE])
                asked = among(":namespace", _marks(named))
                found.update(self._run(connection, asked, **named).scalars())
        return found

    def full_ids(self, texts: Sequence[str]) -> list[str]:
        """Complete ids of which only the end, or the beginning of the last part, is given.

        Args:
            texts: Ids, or parts of at least 4 characters. A text that fits no row stays as it is.

        Raises:
            InvalidJob: A part fits several rows.
            OutboxUnavailable: As `counts`.
        """
        asked = (
            f"SELECT id FROM {TABLE} WHERE namespace = :namespace AND (id = :part OR id LIKE :end ESCAPE '!' "
            "OR id LIKE :begin ESCAPE '!') ORDER BY seq LIMIT :limit"
        )
        full = []
        with self._connected() as connection:
            for part in texts:
                plain = re.sub("[!%_]", r"!\g<0>", part)
                values = {"part": part, "end": f"%{plain}", "begin": f"%.{plain}%", "limit": FITTING}
                found = [] if len(part) < PART_LEAST else list(self._run(connection, asked, **values).scalars())
                if len(found) > 1 and part not in found:
                    raise InvalidJob(
                        f"{part!r} fits several rows: {', '.join(found)}; give more of the id.", field="ids"
                    )
                full.append(found[0] if len(found) == 1 else part)
        return list(dict.fromkeys(full))

    def retry(self, ids: Sequence[str] | None) -> int:
        """Let rows with an error be tried again at once; return their number.

        Args:
            ids: The ids of jobs; None for all rows with an error.

        Raises:
            OutboxUnavailable: As `counts`.
        """
        changed = f"UPDATE {TABLE} SET failed_us = NULL, retry_us = 0, tries = 0 WHERE namespace = :namespace"
        number = self._change(f"{changed} AND error IS NOT NULL", ids)
        if number and self.kind == "postgresql":
            with self._connected() as connection:
                self._run(connection, f"SELECT pg_notify('{CHANNEL}', :namespace)")
        return number

    def drop(self, ids: Sequence[str] | None) -> int:
        """Delete rows, so that their jobs are never enqueued; return their number.

        Args:
            ids: The ids of jobs, waiting or bad; None for all bad rows.

        Raises:
            OutboxUnavailable: As `counts`.
        """
        which = " AND failed_us IS NOT NULL" if ids is None else ""
        return self._change(f"DELETE FROM {TABLE} WHERE namespace = :namespace{which}", ids)

    def _change(self, statement: str, ids: Sequence[str] | None) -> int:
        with self._connected() as connection:
            if ids is None:
                return int(self._run(connection, statement).rowcount)
            number = 0
            for at in range(0, len(ids), IDS_AT_ONCE):
                part = _named(ids[at : at + IDS_AT_ONCE])
                number += self._run(connection, f"{statement} AND id IN ({_marks(part)})", **part).rowcount
            return number

    def _run(self, connection: Connection, statement: str, **values: Any) -> Any:
        needs_namespace = ":namespace" in statement
        return connection.execute(
            text(statement), {**values, **({"namespace": self._namespace} if needs_namespace else {})}
        )

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        with answering(self.shown), self.engine.begin() as connection:
            yield connection


def _named(ids: Sequence[str]) -> dict[str, str]:
    """The parameters of a statement about some ids."""
    return {f"id{place}": job_id for place, job_id in enumerate(ids)}


def _marks(named: dict[str, str]) -> str:
    return ", ".join(f":{name}" for name in named)


@contextmanager
def answering(shown: str) -> Iterator[None]:
    """Turn the errors of a database that does not answer, or has no table, into one.

    Args:
        shown: The masked URL.

    Raises:
        OutboxUnavailable: The reason.
    """
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        raise unavailable(shown, error) from error


def unavailable(shown: str, error: BaseException) -> OutboxUnavailable:
    """The error about a database that does not answer, or has no table."""
    reason = reason_of(error)
    is_answer = isinstance(error, ProgrammingError) or (
        isinstance(error, SqlOperationalError) and "no such table" in reason
    )
    remedy = f" If it has no table {TABLE} yet, run 'jobfleet outbox init'." if is_answer or TABLE in reason else ""
    return OutboxUnavailable(f"No outbox at {shown} ({reason}).{remedy}")


# The relay's rows in SQLite, MySQL and MariaDB, through SQLAlchemy in a thread; it polls.


class PolledSource:
    """Claims rows of a database that cannot notify.

    MySQL and MariaDB lock the rows of a claim until its end. SQLite has no such locks, so two relays may enqueue the
    same row. That makes one job, because both use its id.

    Args:
        url: URL of the database.
        namespace: Namespace of the fleet.

    Raises:
        ConfigError: The database is not supported.
    """

    notifies = False

    def __init__(self, url: str, namespace: str) -> None:
        self._rows = OutboxRows(url, namespace)
        self._namespace = namespace
        self._held: Connection | None = None
        kind = self._rows.kind
        self._waiting = text(statements.waiting(kind, ":namespace", ":limit"))
        self._refuse = text(statements.refuse(kind, ":error", ":seq"))
        self._postpone = text(statements.postpone(kind, ":error", ":seq", ":pause_us"))

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return the first rows that are due; see `Source`."""
        return await in_thread(self._claim, limit)

    async def finish(self, verdict: Verdict) -> None:
        """Commit a verdict; see `Source`."""
        await in_thread(self._finish, verdict)

    async def waiting(self, ids: Collection[str]) -> AbstractSet[str]:
        """Return those of some jobs that are rows which wait; see `Source`."""
        return await in_thread(self._rows.waiting, ids)

    async def release(self) -> None:
        """Unlock the claimed rows; see `Source`."""
        await in_thread(self._release)

    async def wait(self, seconds: float) -> None:
        """Return at once: the relay polls."""

    async def close(self) -> None:
        """Close the connections."""
        await in_thread(self._close)

    def _claim(self, limit: int) -> list[Row]:
        self._release()
        with answering(self._rows.shown):
            connection = self._rows.engine.connect()
            try:
                found = connection.execute(self._waiting, {"namespace": self._namespace, "limit": limit})
                rows = [
                    Row(int(seq), job_id, bytes(job), int(tries), max(0, int(age)))
                    for seq, job_id, job, tries, age in found
                ]
                if self._rows.kind == "sqlite" or not rows:
                    connection.rollback()  # a reader must not hold the file while Redis is away
            except BaseException:
                connection.close()
                raise
        if rows:
            self._held = connection
        else:
            connection.close()
        return rows

    def _finish(self, verdict: Verdict) -> None:
        connection, self._held = self._held, None
        if connection is None:
            return
        with answering(self._rows.shown), connection:
            if verdict.done:
                connection.execute(text(statements.delete(",".join(map(str, verdict.done)))))
            for refused in verdict.refused:
                connection.execute(self._refuse, {"seq": refused.seq, "error": refused.error[:ERROR_LENGTH]})
            for seq, error, pause_us in verdict.postponed:
                connection.execute(self._postpone, {"seq": seq, "error": error[:ERROR_LENGTH], "pause_us": pause_us})
            connection.commit()

    def _release(self) -> None:
        connection, self._held = self._held, None
        if connection is not None:
            with answering(self._rows.shown):
                connection.close()

    def _close(self) -> None:
        try:
            self._release()
        finally:
            self._rows.close()
