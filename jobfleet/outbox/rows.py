"""Read and change the rows of an outbox in any database: for commands, the doctor and metrics."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, ProgrammingError
from sqlalchemy.exc import OperationalError as SqlOperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from jobfleet.config import mask_url
from jobfleet.errors import InvalidJob
from jobfleet.outbox import OutboxUnavailable
from jobfleet.outbox.row import Counts, Listed
from jobfleet.outbox.schema import open_engine, reason_of
from jobfleet.outbox.statements import CHANNEL, NOW, TABLE, among, kind_of

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
