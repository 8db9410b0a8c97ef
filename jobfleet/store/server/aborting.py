"""Asyncio connections with TLS that close without waiting for the server.

To close it in order, TLS waits for the server, and the loop may end before: the socket then stays open until the
garbage collector finds it. redis-py itself closes the connection of a read or a write that is cancelled.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from redis.asyncio.connection import SSLConnection


class _Aborting:
    __slots__ = ()
    _writer: Any

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Abort TLS, then close as redis-py does."""
        if self._writer is not None:
            self._writer.transport.abort()
        connection: Any = super()
        await connection.disconnect(*arguments, **options)


def aborting(pool: Any) -> Any:
    """Return a pool of asyncio connections; those that it makes from now on abort TLS when they are closed."""
    if issubclass(pool.connection_class, SSLConnection):
        pool.connection_class = _aborting(pool.connection_class)
    return pool


@cache
def _aborting(kind: type) -> type:
    return type(kind.__name__, (_Aborting, kind), {})
