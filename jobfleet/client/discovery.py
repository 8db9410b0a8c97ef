"""Links that look for a `jobfleet up` when no server answers, for clients whose URL no setting names.

A program may start before `jobfleet up` does. Only a failed attempt to connect looks again, so an open connection costs
nothing. A client that has reached a server at the default URL stays there: it may have jobs in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from jobfleet.store.connect import async_connections, connections
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.link.sync import LINK_ERRORS, SocketLink
from jobfleet.store.target import Target

if TYPE_CHECKING:
    from jobfleet.store.aio import AsyncStore
    from jobfleet.store.sync import Store

Find = Callable[[Target], Target | None]
"""Returns another server than the given one; None if there is none."""
Reached = Callable[[Target], None]
"""Is called when a server has been reached."""


class FindingLink(SocketLink):
    """Blocking connections that lead to another server if one is found where connecting fails.

    Args:
        store: The store of this link; it learns of the other server.
        find: Looks for another server.
        reached: Learns of each server that is reached.
        connect_timeout: Time limit for connecting, in seconds.
        socket_timeout: Time limit for a reply, in seconds.
        options: As for `SocketLink`.
    """

    def __init__(
        self,
        store: Store,
        find: Find,
        reached: Reached,
        *,
        connect_timeout: float,
        socket_timeout: float,
        **options: Any,
    ) -> None:
        super().__init__(store.at, connect_timeout=connect_timeout, socket_timeout=socket_timeout, **options)
        self._store = store
        self._find, self._reached = find, reached
        self._limits = {"connect_timeout": connect_timeout, "socket_timeout": socket_timeout}

    def _connect(self) -> Any:
        try:
            made = super()._connect()
        except LINK_ERRORS:
            found = self._find(self._store.at)
            if found is None:
                raise
            self._make = connections(found, **self._limits)
            self._store.at = found
            made = super()._connect()
        self._reached(self._store.at)
        return made


class AsyncFindingLink(AsyncSocketLink):
    """As `FindingLink`, for one event loop."""

    def __init__(
        self, store: AsyncStore, find: Find, reached: Reached, *, connect_timeout: float, **options: Any
    ) -> None:
        super().__init__(store.at, connect_timeout=connect_timeout, **options)
        self._store = store
        self._find, self._reached = find, reached
        self._connect_timeout = connect_timeout

    async def _connect(self) -> Any:
        try:
            made = await super()._connect()
        except LINK_ERRORS:
            found = self._find(self._store.at)
            if found is None:
                raise
            self._make = async_connections(found, connect_timeout=self._connect_timeout)
            self._store.at = found
            made = await super()._connect()
        self._reached(self._store.at)
        return made
