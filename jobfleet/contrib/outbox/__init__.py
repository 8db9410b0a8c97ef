"""The transactional outbox: enqueue a job in the transaction of your own database.

The job is a row, which commits or rolls back with your data. A reaper with the setting ``outbox_url`` moves committed
rows to Redis, each as one job. The writer needs neither Redis nor, for a connection of Django, SQLAlchemy.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from jobfleet.contrib.outbox.connections import write
from jobfleet.contrib.outbox.unrelayed import warn_if_unrelayed, warn_if_unrelayed_awaited
from jobfleet.errors import warn
from jobfleet.model import Job, JobId
from jobfleet.operations.outbox.packed import pack
from jobfleet.operations.outbox.prepare import order_for
from jobfleet.outbox import create_tables, table
from jobfleet.outbox.statements import ddl

if TYPE_CHECKING:
    from jobfleet.contrib.outbox.connections import AwaitedConnection, BlockingConnection
    from jobfleet.fleet.aio import AsyncFleet
    from jobfleet.fleet.sync import Fleet

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


__all__ = ["create_tables", "ddl", "enqueue", "enqueue_many", "table"]
