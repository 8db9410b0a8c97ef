"""`AsyncStore`: runs calls asynchronously. Only `Store` and this class do I/O with scripts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar, cast

from jobfleet.errors import JobfleetError
from jobfleet.store._async.runner import AsyncCallRunner
from jobfleet.store.call import Call, Command
from jobfleet.store.keys import Lane
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.link.sync import MOST, AsyncLink
from jobfleet.store.replies import Remedy, is_away, read, remedy, translate, unavailable
from jobfleet.store.target import Target
from jobfleet.store.trip import Recorder, repeated

if TYPE_CHECKING:
    from jobfleet.store.link.cluster_aio import AsyncClusterLink
    from jobfleet.store.target import Address

log: logging.Logger = logging.getLogger("jobfleet.store")
AGAIN = 1.0
"""Seconds between two cancellations of a task: what it closes at its end has that long."""
T = TypeVar("T")


def _cluster_link() -> type[AsyncClusterLink]:
    from jobfleet.store.link.cluster_aio import AsyncClusterLink  # few fleets need it

    return AsyncClusterLink


class AsyncStore(AsyncCallRunner):
    """Runs calls against a server, on one event loop.

    Args:
        at: The server.
        link: The connection to the server; by default sockets.
        patience: Seconds for which calls are retried while the server is unavailable; None for ever.
        connect_timeout: Time limit for connecting, in seconds.
        socket_timeout: Time limit for a reply, in seconds.
        busy_poll: Seconds for which a reply is polled before the thread sleeps; 0 for never.
        max_connections: The most connections that are open; callers wait for a free one.
        recorder: Learns of every round trip.
        needs_primary: Whether to refuse a replica; needed to hold leases or to reap them.
    """

    def __init__(
        self,
        at: Target,
        *,
        link: AsyncLink | None = None,
        patience: float | None = 10.0,
        connect_timeout: float = 5.0,
        socket_timeout: float = 5.0,
        busy_poll: float = 0.0,
        max_connections: int = MOST,
        recorder: Recorder | None = None,
        needs_primary: bool = False,
    ) -> None:
        kind = AsyncSocketLink if at.cluster is None else _cluster_link()
        link = link or kind(
            at,
            connect_timeout=connect_timeout,
            socket_timeout=socket_timeout,
            busy_poll=busy_poll,
            needs_primary=needs_primary,
            max_connections=max_connections,
        )
        if at.watcher is not None:
            from jobfleet.store.link.watched import AsyncWatchedLink  # for tests and injected faults

            link = AsyncWatchedLink(link, at.watcher)
        super().__init__(at, link, patience=patience, timeout=socket_timeout)
        self._looked_at: str | None = None
        self._recorders = [recorder]  # shared with the stores of `within`

    async def repeat(self, make: Callable[[], list[Command]]) -> list[Any]:
        """Send plain commands until the server answers; `make` builds them again for each attempt.

        Args:
            make: Makes the commands; it is called again after an attempt whose replies may have been lost.

        Returns:
            A reply per command of the last attempt; an exception where the server refused the command for good.

        Raises:
            StoreUnavailable: The server was away for longer than the patience.
        """
        steps = repeated(make, patience=self.patience, url=self.at.shown, recorder=self.recorder)
        return await self._driven(steps)

    async def any_exist(self, groups: Sequence[Sequence[str]]) -> list[bool]:
        """Whether at least one key of each group exists; True also if the server does not reply.

        Args:
            groups: Groups of keys; the keys of a group share a slot.
        """
        replies = await self.link.exchange([("EXISTS", *keys) for keys in groups])
        return [reply != 0 for reply in replies]

    @property
    def recorder(self) -> Recorder | None:
        """Learns of every round trip."""
        return self._recorders[0]

    @recorder.setter
    def recorder(self, recorder: Recorder | None) -> None:
        self._recorders[0] = recorder

    async def reachable(self, lanes: Sequence[Lane], *, within: float) -> list[Lane]:
        """Return the lanes whose node replies now; all lanes of a single server, without asking it.

        Args:
            lanes: The lanes.
            within: Seconds to wait for the replies of the nodes of a cluster.
        """
        if self.at.cluster is None:
            return list(lanes)
        router, by_node = cast("AsyncClusterLink", self.link).router, dict[Any, list[Command]]()
        for lane in lanes:
            by_node.setdefault(router.address(lane.lane), []).append(("EXISTS", lane.lane))
        asked = {node: asyncio.ensure_future(self.link.exchange(part)) for node, part in by_node.items()}
        if asked:
            await asyncio.wait(asked.values(), timeout=within)
        there: set[Any] = set()
        for node, task in asked.items():
            if task.cancel() or task.exception():  # not done, so that it does not reply in time
                continue
            replies = zip(by_node[node], task.result(), strict=True)
            there |= {key for (_, key), reply in replies if not is_away(reply)}
        return [lane for lane in lanes if lane.lane in there]

    def is_away(self, lane: Lane) -> bool:
        """Whether the lane is on a node of a cluster that is known not to reply; never on a single server."""
        return self.at.cluster is not None and cast("AsyncClusterLink", self.link).router.is_away(lane.lane)

    def node_of(self, lane: Lane) -> Address | None:
        """Return the node of a cluster that serves a lane; None on a single server, or if the map was not read yet."""
        router = getattr(self.link, "router", None)  # that of a watched link is not seen
        return router.address(lane.lane) if router is not None else None

    def doubt_nodes(self) -> None:
        """Let the map of a cluster be read again soon: a node is slow or away."""
        if (router := getattr(self.link, "router", None)) is not None:
            router.outdated()

    def within(self, patience: float) -> AsyncStore:
        """Return this store with a limited patience if it is a cluster, so that nothing waits for a node for ever.

        Args:
            patience: Seconds.
        """
        if self.at.cluster is None:
            return self
        limited = copy(self)
        limited.patience = patience
        return limited

    @property
    def server(self) -> str | None:
        """The run id of the server that replies; None if it is unknown."""
        return self.link.server

    async def look_again(self) -> bool:
        """Check whether the address leads to another server now; if so, drop all connections to the old one.

        A failover may leave the old primary alive, and connections to it open.
        """
        before = self._looked_at or self.link.server  # a call may have reached the other server since the last check
        await self.link.look_again()
        self._looked_at = self.link.server
        has_moved = before is not None and before != self._looked_at
        if has_moved:
            self.clock.forget()
        return has_moved

    async def keep_looking(self, every: float, *, is_logged: bool = True) -> None:
        """Call `look_again` at intervals.

        Args:
            every: Seconds between two calls.
            is_logged: Whether to log a change of the server; False where another connection of the worker logs it.
        """
        while True:
            await asyncio.sleep(every)
            if await self.look_again() and is_logged:
                log.warning("redis.moved url=%s: another server, or a restarted one, replies there now", self.at.shown)

    async def wait_wake(self, lanes: Sequence[Lane], timeout: float, kind: str = "") -> Lane | None:
        """Block until the wake marker of a lane can be taken; return None after `timeout` seconds.

        A child that takes a lane's marker must then claim from that lane.

        Args:
            lanes: The lanes.
            timeout: Time limit in seconds.
            kind: The kind of the child, to wait also for markers of jobs that other children left to this kind.

        Raises:
            StoreUnavailable: The connection broke. A marker may have been taken in any of the lanes.
        """
        by_key: dict[str, Lane] = {lane.wake: lane for lane in lanes}
        if kind:
            by_key |= {lane.wake_of(kind): lane for lane in lanes}
        command = ("BZPOPMIN", *by_key, f"{timeout:.3f}")
        (reply,) = await self.link.block((command,), timeout)
        if isinstance(reply, BaseException):
            await self._stumble(reply)
            raise unavailable(self.at.shown, reply)
        return by_key[bytes(reply[0]).decode()] if reply else None

    async def wait_wake_with(self, call: Call[T], lane: Lane, timeout: float, kind: str = "") -> tuple[bool, T | None]:
        """Block like `wait_wake`, and let the server run a call right after the wait.

        Args:
            call: The call; it is not retried here.
            lane: The lane whose marker to wait for.
            timeout: Time limit in seconds; the call runs after it, too.
            kind: The kind of the child, as for `wait_wake`.

        Returns:
            Whether the marker was taken, and the value of the call. The value is None if the call may not have run, or
            ended in an error; then run it again.
        """
        also = (lane.wake_of(kind),) if kind else ()
        wait = ("BZPOPMIN", lane.wake, *also, f"{timeout:.3f}")
        taken, reply = await self.link.block((wait, self._spell(call)), timeout)
        if isinstance(taken, BaseException):
            await self._stumble(taken)
        if isinstance(taken, BaseException) or isinstance(reply, BaseException):
            return True, None
        value = read(reply, call)
        return bool(taken), None if isinstance(value, JobfleetError) else value

    async def _stumble(self, error: BaseException) -> None:
        """Handle the error of a wait; raise it if a retry cannot help."""
        if remedy(error) is Remedy.RAISE:
            raise translate(error)
        if self.recorder is not None:
            self.recorder.stumbled(error)
        await asyncio.sleep(0.1)

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


async def cancelled(*tasks: asyncio.Future[Any]) -> None:
    """Cancel tasks that use a store, and wait for their end.

    A client of Redis may swallow a cancellation, for example if a reply arrives at that moment, so it is repeated.
    """
    left = set(tasks)
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN)
