"""The transactional outbox: enqueue a job in the transaction of your own database.

The job is a row, which commits or rolls back with your data. A reaper with the setting ``outbox_url`` moves committed
rows to Redis, each as one job. The writer needs neither Redis nor, for a connection of Django, SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from jobfleet.client.base import ClientBase
from jobfleet.client.outbox_relays import outbox_relays
from jobfleet.errors import ConfigError, JobfleetError, warn
from jobfleet.event_loop import in_thread
from jobfleet.model import Job, JobId
from jobfleet.operations.outbox import order_for, pack
from jobfleet.outbox import OutboxUnavailable, create_tables, table
from jobfleet.outbox.statements import TABLE, ddl, insert, is_relayed, kind_of, name_of

__all__ = ["create_tables", "ddl", "enqueue", "enqueue_many", "table"]

if TYPE_CHECKING:
    from typing import Protocol, TypeAlias

    from sqlalchemy import Connection, TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    from jobfleet.fleet.aio import AsyncFleet
    from jobfleet.fleet.sync import Fleet

    class DjangoConnection(Protocol):
        """A connection of Django."""

        @property
        def vendor(self) -> str:
            """The kind of database."""

        def cursor(self) -> Any:
            """Open a cursor."""

    BlockingConnection: TypeAlias = Session | scoped_session[Any] | Connection | DjangoConnection
    AwaitedConnection: TypeAlias = AsyncSession | async_scoped_session[Any] | AsyncConnection


T = TypeVar("T")


@overload
def enqueue(
    session: BlockingConnection, job: Job[T], *, fleet: Fleet | AsyncFleet | None = None, notify: bool = True
) -> JobId[T]: ...
@overload
def enqueue(
    session: AwaitedConnection, job: Job[T], *, fleet: Fleet | AsyncFleet | None = None, notify: bool = True
) -> Awaitable[JobId[T]]: ...
def enqueue(session: Any, job: Job[Any], *, fleet: Fleet | AsyncFleet | None = None, notify: bool = True) -> Any:
    """Write a job as a row in the transaction of `session`; return its id. With an awaited session, await the result.

    The job is checked as in `Fleet.enqueue`. A delay counts from now, by the clock of the database. If the transaction
    is rolled back, the job never exists.

    Args:
        session: A ``Session`` or ``Connection`` of SQLAlchemy, an ``AsyncSession`` or ``AsyncConnection``, or a
            connection of Django (``django.db.connection``).
        job: The job, such as ``send.job(order_id)``. ``cron_expression`` and callbacks are not for the outbox.
        fleet: The fleet, for its settings, functions and keys; default the default fleet. It is not connected.
        notify: Whether the commit wakes the relay, on PostgreSQL. Commits of transactions that notify follow one
            another, so with very many of them let the relay poll: False.

    Raises:
        ConfigError: `session` is none of these, its database is not supported, or a setting is wrong.
        EncodingError: An argument cannot be encoded, or is too large.
        InvalidJob: An option is wrong, or is not for the outbox.
        StoreUnavailable: The database has no table for the outbox.
    """
    return _written("enqueue", session, [job], fleet, lambda ids: ids[0], notifies=notify)


@overload
def enqueue_many(
    session: BlockingConnection, jobs: Iterable[Job], *, fleet: Fleet | AsyncFleet | None = None, notify: bool = True
) -> list[str]: ...
@overload
def enqueue_many(
    session: AwaitedConnection, jobs: Iterable[Job], *, fleet: Fleet | AsyncFleet | None = None, notify: bool = True
) -> Awaitable[list[str]]: ...
def enqueue_many(
    session: Any, jobs: Iterable[Job], *, fleet: Fleet | AsyncFleet | None = None, notify: bool = True
) -> Any:
    """Write many jobs as rows in the transaction of `session`; return their ids, in order.

    If one job is not valid, no row is written. The arguments and errors are those of `enqueue`.
    """
    return _written("enqueue_many", session, list(jobs), fleet, lambda ids: ids, notifies=notify)


def _written(
    verb: str,
    session: Any,
    jobs: list[Job[Any]],
    fleet: Fleet | AsyncFleet | None,
    answer: Callable[[list[str]], T],
    *,
    notifies: bool,
) -> T | Awaitable[T]:
    """Write jobs, and return the answer for their ids; with an awaited session, what writes them when awaited."""
    if fleet is None:
        from jobfleet.fleet.default import default_fleet

        fleet = default_fleet()
    context = fleet.context
    orders = [order_for(context, context.apply_hooks(job)) for job in jobs]
    ids = [order.sent.entry.id for order in orders]
    rows = [(context.config.namespace, job_id, pack(order)) for job_id, order in zip(ids, orders, strict=True)]
    name = write(session, rows, notifies=notifies)
    if not isinstance(name, str):
        return Unwritten(verb, name, fleet, answer(ids))
    warn_if_unrelayed(fleet, name)
    return answer(ids)


class Unwritten(Awaitable[T], Generic[T]):
    """Rows that are written when this is awaited. If it never is, it warns.

    Args:
        verb: The function that has returned it.
        writing: Writes the rows; returns the name of the database.
        fleet: The fleet.
        value: What awaiting it returns.
    """

    _is_awaited = True  # until it is whole

    def __init__(self, verb: str, writing: Callable[[], Awaitable[str]], fleet: Fleet | AsyncFleet, value: T) -> None:
        self._verb, self._writing, self._fleet, self._value = verb, writing, fleet, value
        self._is_awaited = False

    def __await__(self) -> Generator[Any, Any, T]:
        if self._is_awaited:
            raise RuntimeError(f"outbox.{self._verb} was awaited already.")
        self._is_awaited = True
        return self._write().__await__()

    async def _write(self) -> T:
        await warn_if_unrelayed_awaited(self._fleet, await self._writing())
        return self._value

    def __del__(self) -> None:
        if not self._is_awaited:
            warn(
                f"outbox.{self._verb} was not awaited, so nothing was written: with an AsyncSession or "
                f"AsyncConnection, write 'await outbox.{self._verb}(session, …)'.",
                RuntimeWarning,
            )


# Write rows of the outbox with the connection of the program, which has imported SQLAlchemy or Django.


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


# Warn a program that writes rows which nobody relays. Redis is asked once per process, at the first row.


_asked: set[tuple[str, str]] = set()
"""The namespaces and databases about which Redis was asked."""


def warn_if_unrelayed(client: ClientBase, name: str) -> None:
    """Warn if Redis replies, and no live reaper has announced that it relays a database.

    Args:
        client: The client whose settings the row has.
        name: The name of the database.
    """
    if _is_first(client, name):
        _warn(client, name, _relays(client))


async def warn_if_unrelayed_awaited(client: ClientBase, name: str) -> None:
    """As `warn_if_unrelayed`, without blocking the event loop."""
    if _is_first(client, name):
        _warn(client, name, await in_thread(_relays, client))


def _relays(client: ClientBase) -> tuple[str, ...] | None:
    """What is relayed; None if that cannot be read, because a program that writes rows needs no Redis."""
    try:
        return outbox_relays(client)
    except JobfleetError:
        return None


def _is_first(client: ClientBase, name: str) -> bool:
    asked = (client.config.namespace, name)
    if asked in _asked:
        return False
    _asked.add(asked)
    return True


def _warn(client: ClientBase, name: str, relayed: tuple[str, ...] | None) -> None:
    if relayed is None or is_relayed(name, relayed):
        return
    others = f" Relayed are {', '.join(dict.fromkeys(relayed))}." if relayed else ""
    warn(
        f"No live reaper has announced that it relays the outbox in {name}, namespace {client.config.namespace!r}: "
        f"its rows wait until one does.{others} Set outbox_url / JOBFLEET_OUTBOX_URL where a reaper, a worker with "
        "with_reaper or 'jobfleet up' runs."
    )
