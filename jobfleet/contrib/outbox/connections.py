"""Write rows of the outbox with the connection of the program, which has imported SQLAlchemy or Django."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from jobfleet.errors import ConfigError
from jobfleet.outbox import OutboxUnavailable
from jobfleet.outbox.statements import TABLE, insert, kind_of, name_of

if TYPE_CHECKING:
    from typing import Protocol, TypeAlias

    from sqlalchemy import Connection, TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    class DjangoConnection(Protocol):
        """A connection of Django."""

        @property
        def vendor(self) -> str:
            """The kind of database."""

        def cursor(self) -> Any:
            """Open a cursor."""

    BlockingConnection: TypeAlias = Session | scoped_session[Any] | Connection | DjangoConnection
    AwaitedConnection: TypeAlias = AsyncSession | async_scoped_session[Any] | AsyncConnection

Row = tuple[str, str, bytes]
"""The namespace, the id of the job, and the packed job."""
_UNDEFINED_TABLE = ("42P01", "42S02", 1146)
"""The codes of PostgreSQL and of MySQL for a table that does not exist; SQLite has none."""


def write(session: Any, rows: Sequence[Row], *, notifies: bool) -> str | Callable[[], Awaitable[str]]:
    """Write rows in the transaction of a connection; return the name of its database.

    With an awaited connection, return a function that writes them and returns the name, to be awaited.

    Args:
        session: See `jobfleet.contrib.outbox.enqueue`.
        rows: The rows.
        notifies: Whether to announce them on PostgreSQL.

    Raises:
        ConfigError: `session` is not a known connection, or its database is not supported.
        OutboxUnavailable: The database has no table for the outbox.
    """
    if hasattr(session, "registry") and callable(session):  # a scoped session
        session = session()
    if hasattr(session, "sync_session") or hasattr(session, "sync_connection"):
        return partial(_write_awaited, session, rows, notifies=notifies)
    if hasattr(session, "exec_driver_sql"):
        return _write_alchemy(session, rows, notifies=notifies)
    if hasattr(session, "vendor") and hasattr(session, "cursor"):
        return _write_django(session, rows, notifies=notifies)
    if hasattr(session, "get_bind") and hasattr(session, "connection"):
        return _write_alchemy(session.connection(), rows, notifies=notifies)
    raise ConfigError(
        f"session is {session!r:.100}; give a Session, a Connection, their awaited forms, or Django's connection."
    )


def _write_alchemy(connection: Connection, rows: Sequence[Row], *, notifies: bool) -> str:
    statement = _alchemy(connection.dialect.name, notifies=notifies)
    with _naming_the_remedy():
        for namespace, job_id, job in rows:
            connection.execute(statement, {"namespace": namespace, "id": job_id, "job": job})
    return name_of(connection.dialect.name, connection.engine.url.database)


async def _write_awaited(session: Any, rows: Sequence[Row], *, notifies: bool) -> str:
    connection: AsyncConnection = await session.connection() if hasattr(session, "sync_session") else session
    return await connection.run_sync(_write_alchemy, rows, notifies=notifies)


@lru_cache
def _alchemy(dialect: str, *, notifies: bool) -> TextClause:
    from sqlalchemy import text

    return text(insert(kind_of(dialect), (":namespace", ":id", ":job"), notifies=notifies))


def _write_django(connection: Any, rows: Sequence[Row], *, notifies: bool) -> str:
    statement = insert(kind_of(connection.vendor), ("%s", "%s", "%s"), notifies=notifies)
    with _naming_the_remedy(), connection.cursor() as cursor:
        for row in rows:
            cursor.execute(statement, row)
    return name_of(connection.vendor, connection.settings_dict.get("NAME"))


@contextmanager
def _naming_the_remedy() -> Iterator[None]:
    """Say how to create the table if it does not exist; any other error stays as it is."""
    try:
        yield
    except Exception as error:
        if _is_about_the_table(error):
            raise OutboxUnavailable(
                f"The database of this connection has no table {TABLE}: run 'jobfleet outbox init --outbox-url URL', "
                "or add it to your migrations (outbox.table, outbox.ddl)."
            ) from error
        raise


def _is_about_the_table(error: BaseException) -> bool:
    cause = getattr(error, "orig", None) or error.__cause__ or error  # that of the driver
    code = getattr(cause, "sqlstate", None) or (cause.args[0] if cause.args else None)
    return TABLE in str(cause) and (code in _UNDEFINED_TABLE or "no such table" in str(cause))
