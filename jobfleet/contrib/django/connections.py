"""Database connections around jobs, which close as around requests; and enqueueing when a transaction commits."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections, transaction

from jobfleet.fleet.default import default_fleet
from jobfleet.fleet.sync import Fleet
from jobfleet.functions.callables import is_coroutine_function
from jobfleet.model import Job


def closing_old_connections(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function: before and after each call, close the connections that are broken or older than CONN_MAX_AGE.

    Connections belong to threads. A ``def`` job has those of its own thread; ``async def`` jobs share those of the
    thread in which Django executes the queries of coroutines.
    """
    if is_coroutine_function(function):
        close = sync_to_async(close_old_connections)

        @wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            await close()
            try:
                return await function(*args, **kwargs)
            finally:
                await close()

        return awaited

    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        close_old_connections()
        try:
            return function(*args, **kwargs)
        finally:
            close_old_connections()

    return called


def enqueue_on_commit(job: Job[Any], *, using: str | None = None, fleet: Fleet | None = None) -> None:
    """Enqueue a job when the current transaction commits, or at once outside of one; never after a rollback.

    The job begins after the commit, so it sees the rows that the transaction has written. If Redis does not reply then,
    `StoreUnavailable` is raised behind the commit, and the job is lost: the rows are there without it.

    Args:
        job: The job, such as ``send.job("ann@example.org")``.
        using: The alias of the database; default that of Django.
        fleet: The fleet; default the default fleet.
    """
    transaction.on_commit(lambda: (fleet or default_fleet()).enqueue(job), using=using)
