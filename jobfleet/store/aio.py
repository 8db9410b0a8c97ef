"""`AsyncStore`: runs calls asynchronously. Only `Store` and this class do I/O with scripts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from copy import copy
from typing import TYPE_CHECKING, Any, TypeVar, cast

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError
from jobfleet.store.call import (
    OF_THE_CLUSTER,
    AskHeirs,
    Barrier,
    Call,
    Command,
    Confirming,
    Heirs,
    KnownHeirs,
    heirs_of,
)
from jobfleet.store.keys import Lane
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.link.sync import MOST, AsyncLink
from jobfleet.store.replies import Remedy, read, remedy, translate, unavailable
from jobfleet.store.target import Target
from jobfleet.store.trip import (
    ASK,
    Detours,
    LazyCalls,
    Recorder,
    Sending,
    ServerClock,
    Trip,
    confirmed,
    only,
    repeated,
    speller,
    straight,
    trip,
    until,
)

if TYPE_CHECKING:
    from jobfleet.store.link.cluster_aio import AsyncClusterLink
    from jobfleet.store.target import Address

log: logging.Logger = logging.getLogger("jobfleet.store")
T = TypeVar("T")


def _is_away(reply: Any) -> bool:
    return isinstance(reply, BaseException) and remedy(reply) is Remedy.AGAIN


def _cluster_link() -> type[AsyncClusterLink]:
    from jobfleet.store.link.cluster_aio import AsyncClusterLink  # few fleets need it

    return AsyncClusterLink


class AsyncStore:
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
        self.at = at
        kind = AsyncSocketLink if at.cluster is None else _cluster_link()
        self.link: AsyncLink = link or kind(
            at,
            connect_timeout=connect_timeout,
            socket_timeout=socket_timeout,
            busy_poll=busy_poll,
            needs_primary=needs_primary,
            max_connections=max_connections,
        )
        if at.watcher is not None:
            from jobfleet.store.link.watched import AsyncWatchedLink  # for tests and injected faults

            self.link = AsyncWatchedLink(self.link, at.watcher)
        self.patience = patience
        self._spell = speller(at.spelling)
        self.detours: Detours = Detours()
        self.clock: ServerClock = ServerClock()
        self.heirs: KnownHeirs = KnownHeirs()
        self._attempt = socket_timeout
        self._looked_at: str | None = None
        self._recorders = [recorder]  # shared with the stores of `within`

    async def run(self, call: Call[T], *, patience: float | None = -1.0) -> T:
        """Run one call.

        Args:
            call: The call.
            patience: The patience for this call, in place of the store's.

        Raises:
            StoreUnavailable: The server was unavailable for longer than the patience.
            JobfleetError: The call ended in this error.
        """
        value: T = only(await self.run_many((call,), patience=patience))
        return value

    async def run_many(self, calls: Sequence[Call[Any]] | LazyCalls, *, patience: float | None = -1.0) -> list[Any]:
        """Run calls in one pipeline; return a value or a `JobfleetError` for each.

        Args:
            calls: The calls; sent all at once, or while they are made.
            patience: The patience for these calls, in place of the store's.

        Raises:
            StoreUnavailable: The server was unavailable for longer than the patience.
        """
        if patience is not None and patience < 0:
            patience = self.patience
        if isinstance(calls, LazyCalls):
            answered = await self._as_made(calls, patience)
            if calls.barrier is not None:
                return await self._closed(calls, calls.barrier, answered, patience)
            return calls.ended(await self._answered(calls.calls, answered, calls.since, patience))
        if isinstance(calls, Confirming):
            return await self._confirmed(calls, patience)
        began = monotonic()
        if self.detours:
            calls = self.detours.chosen(calls, began)
        for call in calls:
            if call.script.has_deadline:
                return await self._run_guarded(calls, began, patience)
        answered = await self.link.exchange([self._spell(call) for call in calls])
        return await self._answered(calls, answered, began, patience)

    async def run_each(self, calls: Sequence[Call[Any]], *, patience: float) -> list[Any]:
        """Run calls of several lanes like `run_many`, without making one cluster node wait for another.

        Args:
            calls: The calls.
            patience: Seconds to wait for a node that does not reply. Its calls then end in `StoreUnavailable`. One
                server is waited for with the patience of the store.
        """
        if self.at.cluster is None:
            return await self.run_many(calls)
        return await self._driven(trip(calls, each=True, **self._sending(patience)))

    async def _run_guarded(self, calls: Sequence[Call[Any]], began: float, patience: float | None) -> list[Any]:
        """Run calls of which some must not run after a deadline, or must not run twice."""
        calls, answered = [call.named() for call in calls], None
        if self.clock.is_known(began):
            deadline = until(self.clock, began if patience is not None else monotonic(), patience, self._attempt)
            answered = await self.link.exchange([self._spell(call, deadline) for call in calls])
        return await self._answered(calls, answered, began, patience)

    async def _as_made(self, calls: LazyCalls, patience: float | None) -> list[Any]:
        """Send calls while they are made; each has its own deadline."""
        asked = monotonic()
        if self.heirs.is_used:
            found = await self._find_heirs(is_misled=False)
            calls.heirs = found if isinstance(found, Heirs) else None
        if not self.clock.is_known(asked):
            (reply,) = await self.link.exchange([ASK])
            if not isinstance(reply, BaseException):
                self.clock.learn(reply, asked)

        def spell(call: Call[Any]) -> Command:
            if not call.script.has_deadline:
                return self._spell(call)
            return self._spell(call, until(self.clock, monotonic(), patience, self._attempt))

        return await self.link.exchange_as_made(calls.commands(spell, self.detours))

    async def _answered(
        self, calls: Sequence[Call[Any]], answered: list[Any] | None, began: float, patience: float | None
    ) -> list[Any]:
        """Return the values of calls that were sent once or not yet; send calls without a reply again."""
        values = straight(calls, answered) if answered is not None else None
        if values is not None:
            if self.recorder is not None:
                self.recorder.tripped(calls, monotonic() - began)
            return values
        return await self._driven(trip(calls, first=answered, since=began, **self._sending(patience)))

    async def _closed(
        self, made: LazyCalls, barrier: Barrier, answered: list[Any], patience: float | None
    ) -> list[Any]:
        """Return the values of calls that were sent while they were made, and that a barrier followed."""
        batch = Confirming(made.calls, barrier)
        values = await self._confirmed(batch, patience, first=answered, since=made.since)
        made.is_reached, made.took = batch.is_reached, batch.took
        return values

    async def _confirmed(self, batch: Confirming, patience: float | None, **sent: Any) -> list[Any]:
        """Return the values of calls that a barrier follows; send them if they were not sent yet."""
        values = await self._driven(confirmed(batch, **sent, **self._sending(patience)))
        if not batch.is_reached:
            self.heirs.doubt()
        return values

    def _sending(self, patience: float | None) -> Sending:
        return Sending(
            patience=patience,
            url=self.at.shown,
            attempt=self._attempt,
            clock=self.clock,
            spelling=self.at.spelling,
            detours=self.detours,
            recorder=self.recorder,
        )

    async def repeat(self, make: Callable[[], list[Command]]) -> list[Any]:
        """Send plain commands until the server answers; `make` builds them anew for each attempt.

        Args:
            make: Makes the commands; it is called again after an attempt whose replies may have been lost.

        Returns:
            A reply per command of the last attempt; an exception where the server refused the command for good.

        Raises:
            StoreUnavailable: The server was away for longer than the patience.
        """
        steps = repeated(make, patience=self.patience, url=self.at.shown, recorder=self.recorder)
        return await self._driven(steps)

    async def _driven(self, steps: Trip) -> list[Any]:
        """Do what a trip asks for: exchange commands, or wait."""
        replies: list[Any] | None = None
        while True:
            try:
                step = steps.send(replies)
            except StopIteration as end:
                results: list[Any] = end.value
                return results
            if isinstance(step, float):
                await asyncio.sleep(step)
                replies = None
                continue
            if isinstance(step, AskHeirs):
                replies = [await self._find_heirs(is_misled=step.is_misled)]
            else:
                replies = await self.link.exchange(step)

    async def _find_heirs(self, *, is_misled: bool) -> Heirs | BaseException:
        """Return the heirs of the primary, or why nobody names them. Those who promote are asked before it."""
        known, asked_at = None if is_misled else self.heirs.fresh(), monotonic()
        if known is not None:
            return known
        named: int | Exception | None = None
        if (group := self.at.sentinels) is not None:
            from jobfleet.store.connect import AsyncSentinels  # few fleets need it

            named = await AsyncSentinels(group, timeout=self._attempt).count_heirs(group.service)
        info = await self.link.greet(leaves=is_misled)
        if isinstance(info, BaseException):
            return info
        if isinstance(named, Exception):
            return named
        found = heirs_of(info, named) if self.at.cluster is None else OF_THE_CLUSTER
        return self.heirs.learn(found, asked_at)

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
            there |= {key for (_, key), reply in replies if not _is_away(reply)}
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

    async def close(self) -> None:
        """Close the connections."""
        await self.link.close()
