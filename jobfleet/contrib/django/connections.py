"""Database connections around jobs: Django closes old ones around requests, and workers have no requests."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.db import close_old_connections

from jobfleet.functions.callables import is_coroutine_function


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
