"""The relay duty: notifies dependants when a parent ends.

The script that ends a job with dependants also writes an outbox record. The relay reads the dependants in pages,
notifies those of each lane in one script, and deletes the record after all were notified. Each step may run twice, and
another relay continues if one dies. A sweep repeats what a producer left unfinished.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from jobfleet.codec import header_or_empty
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.metrics.tally import Tally
from jobfleet.model import suffix_time_us
from jobfleet.operations.flows.unblock import (
    GUARD,
    LOOK_EVERY,
    Unblocked,
    addition_name,
    ids_of_whole,
    is_whole,
    unblock,
    unblock_dependants,
)
from jobfleet.operations.operation import batches, drive, value
from jobfleet.services.duties.lanes import Lanes
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls import control, flow, inspect
from jobfleet.store.keys import DAY_MS, PARENTS_KEPT_MS, TOMBSTONE_MS, Keyspace, Lane, flow_ttl_ms
from jobfleet.store.records import InRun, InWait, Waiting

if TYPE_CHECKING:
    from jobfleet.store.calls.flow import PendingEnd


log = logging.getLogger("jobfleet.reaper")
log_of_worker = logging.getLogger("jobfleet.worker")
T = TypeVar("T")
EVERY = 1.0
SWEEP_EVERY = 60.0
SWEPT_AT_ONCE = 500
GUARD_US = round(GUARD * 1_000_000)
"""How long a guarded job stays untouched after its producer died; its `enqueue` has not returned."""
FLOWS_LOOKED_AT = 50
LIFTED = "ub"
"""Answers of the script `unblock` for a job whose guard it has lifted."""
READERS = "ubd"
"""Answers of the script `unblock` for a job that has the ending."""
NODE_PATIENCE = 2.0
"""Seconds to wait for a node of a cluster, so that the outboxes of other nodes are processed."""
WATCHED_FOR = 0.05
"""Seconds for which a stand-in observes whether the writer of an ending notifies the dependants itself."""


class Page(NamedTuple):
    """The result of notifying one page of dependants.

    Attributes:
        following: The next endings; among them those with more dependants to notify.
        was_done: Whether another process had already notified one of them.
    """

    following: list[PendingEnd]
    was_done: bool


class Relay(Service):
    """Notifies the dependants of ended jobs.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings, for the lifetime of results.
        tally: Counts the metrics.
        spacing: Returns the seconds between turns.
    """

    name = "relay"

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        config: JobConfig,
        tally: Tally,
        *,
        spacing: Callable[[], float] = lambda: EVERY,
    ) -> None:
        super().__init__(tally)
        self._spacing = spacing
        self._store = store.within(NODE_PATIENCE)
        self._keys = keys
        self._flow_ttl_ms = flow_ttl_ms(config)
        self._ttl_ms = round(max(config.failed_result_ttl, config.result_ttl, config.dead_ttl) * 1000)  # for a replay
        self._swept = 0
        self._lanes = Lanes(store, keys)
        self._touched: set[Lane] = set()
        self._places: dict[tuple[Lane, int], int] = {}
        self._groups: dict[Lane, str] = {}
        self._looked = 0
        self._begun: set[str] = set()
        self._young: set[str] = set()
        self._renewed: set[str] = set()
        self._renewed_since = 0

    async def turn(self) -> float:
        """Process the outboxes of all lanes; sweep from time to time."""
        seen = await self._lanes.look()
        lanes = [lane for lane in await self._lanes.due() if not self._store.is_away(lane)]
        await self.stand_in(lanes)
        if abs(seen.now - self._looked) >= LOOK_EVERY * 1e6:
            self._looked = seen.now
            await self._begin_flows(seen.now)
        if abs(seen.now - self._swept) >= SWEEP_EVERY * 1e6:
            self._swept = seen.now
            listed = await self._store.run(flow.flows(self._keys, limit=flow.FLOWS_LISTED))
            self._young = {flow_id for flow_id, made in listed if seen.now - made < GUARD_US}
            for lane in lanes:
                await self._sweep(lane, seen.now)
        return self._spacing()

    async def relay(self, lane: Lane) -> None:
        """Process the outbox of one lane, and those of lanes in which it cancelled jobs."""
        await self._empty(lane)
        await self._see_to_touched()

    async def stand_in(self, lanes: Sequence[Lane]) -> None:
        """Process the outboxes of some lanes if the processes that wrote the endings do not.

        A process that ends jobs also notifies all dependants; a second process would repeat that work. Therefore this
        method reads the next record of an outbox twice. If the record changed, another process is at work. It reads
        twice again whenever it meets a dependant that was already notified.
        """
        left = lanes
        while before := await self._heads(left):
            await asyncio.sleep(WATCHED_FOR)
            after = await self._heads(list(before))
            left = [
                lane
                for lane, head in before.items()
                if after.get(lane) == head and not await self._yield_or_empty(lane)
            ]
        await self._see_to_touched()

    async def _yield_or_empty(self, lane: Lane) -> bool:
        """Process an outbox, and yield to others; what needs a node that is away is left to a later turn."""
        try:
            return await self._empty(lane, yields=True)
        except StoreUnavailable as error:
            log.debug("relay.waits lane=%s %s", lane.tag, error)
            return True

    async def _heads(self, lanes: Sequence[Lane]) -> dict[Lane, tuple[str, tuple[str, ...]]]:
        """Return the next outbox record of each lane that has one, and the dependants of that ending."""
        outboxes = await self._many([flow.outbox(lane, limit=1) for lane in lanes])
        heads = [(lane, *records[0]) for lane, records in zip(lanes, outboxes, strict=True) if records]
        endings = await self._many(
            [flow.dependants(lane, job_id, ending_ms=int(entry.partition("-")[0])) for lane, entry, job_id in heads]
        )
        return {lane: (entry, ending.children) for (lane, entry, _), ending in zip(heads, endings, strict=True)}

    async def _see_to_touched(self) -> None:
        while self._touched:
            await self._empty(self._touched.pop())

    async def _empty(self, lane: Lane, *, yields: bool = False) -> bool:
        """Process a lane's outbox; with `yields`, stop as soon as another process has notified a dependant there.

        Returns:
            Whether the outbox is empty.
        """
        from jobfleet.store.calls.flow import pending_ends  # a supervisor has few flows

        records = await self._store.run(pending_ends(lane))
        while records:
            page = await self._tell_page(lane, records)
            if yields and page.was_done:
                return False
            records = page.following
        return True

    async def _tell_page(self, lane: Lane, records: Sequence[PendingEnd]) -> Page:
        """Notify the dependants of some endings, at most 100 dependants per ending."""
        from jobfleet.store.calls.flow import pending_ends

        notices: list[flow.ParentEnd] = []
        moved: list[PendingEnd] = []
        for record in records:
            _, job_id, ending = record
            if ending.moved_to:
                moved.append(record)
            else:
                status, copied = ending.described, ending.copied
                notices += [flow.ParentEnd(child, job_id, status, copied) for child in ending.children]
        done = await drive(self._store, unblock(self._keys, notices, ttl_ms=self._ttl_ms))
        for _, job_id, ending in moved:
            for part in batches(ending.children, flow.CHUNK):
                operation = unblock_dependants(self._keys, job_id, ending, part, ttl_ms=self._ttl_ms)
                self._notice(await drive(self._store, operation))
        self._notice(done)
        *_, following = await self._many([*_unwatching(lane, records, done), pending_ends(lane)])
        was_done = not {"d", "g"}.isdisjoint(done.letters.values()) or any(
            not ending.moved_to and not ending.children and not ending.strangers and ending.state != "open"
            for _, _, ending in records
        )
        return Page(following, was_done)

    async def _tell(self, child: str, parent: str, ending: flow.Ending) -> None:
        """Notify one dependant of a parent's ending."""
        self._notice(
            await drive(self._store, unblock_dependants(self._keys, parent, ending, [child], ttl_ms=self._ttl_ms))
        )

    def _notice(self, done: Unblocked) -> None:
        """Remember the lanes in which jobs were cancelled, because those jobs may have dependants too."""
        for lane, count in done.cancelled.items():
            log.info("job.cancelled because of how a parent ended jobs=%d", count)
            self._touched.add(lane)

    async def _many(self, calls: Sequence[Call[T]]) -> list[T]:
        """Run calls in one round trip; none if there is nothing to run."""
        if not calls:
            return []
        return [value([answer]) for answer in await self._store.run_many(calls)]

    async def _cancel(self, lane: Lane, ids: list[str], parent: str) -> None:
        """Cancel jobs whose parent did not complete."""
        log.info("job.cancelled parent=%s jobs=%d", parent, len(ids))
        call = control.cancel(self._keys, lane, ids, by=f"parent:{parent}", ttl_ms=TOMBSTONE_MS)
        await self._store.run(call)
        self._touched.add(lane)

    async def _begin_flows(self, now_us: int) -> None:
        """Start flows that are completely written, but whose producer died before it lifted all guards.

        A producer lifts guards lane by lane, in the order of the jobs, so the last job of each lane shows whether it
        finished. It is safe to lift guards concurrently with a live producer.
        """
        listed = await self._store.run(flow.flows(self._keys, limit=FLOWS_LOOKED_AT))
        recent = [flow_id for flow_id, made in listed if now_us - made < GUARD_US]
        self._begun.intersection_update(recent)
        for flow_id in recent:
            if flow_id in self._begun:
                continue
            ids = ids_of_whole(await self._store.run(flow.read_flow(self._keys, flow_id)))
            try:
                last = {self._keys.lane_of(job_id): job_id for job_id in ids}
            except JobNotFound:  # the record contains an invalid id
                continue
            if not last:
                continue
            known = await self._many([flow.guarded(lane, job_id) for lane, job_id in last.items()])
            if any(is_guarded for is_guarded, _ in known):
                guards = [flow.ParentEnd(job_id, flow.GUARD, "completed", b"") for job_id in ids]
                done = await drive(self._store, unblock(self._keys, guards, ttl_ms=self._ttl_ms))
                lifted = sum(letter in LIFTED for letter in done.letters.values())
                if lifted:  # a job that was cancelled keeps its guard
                    log.info("flow.begun flow=%s jobs=%d its producer did not", flow_id, lifted)
            self._begun.add(flow_id)

    async def _sweep(self, lane: Lane, now_us: int) -> None:
        """Check blocked jobs: a dead producer may have missed a parent's ending. Then free sequences."""
        has_blocked = False
        for band in range(4):
            place, begin = (lane, band), self._places.pop((lane, band), 0)
            for skip in range(begin, begin + SWEPT_AT_ONCE, inspect.CHUNK):
                page = inspect.waiting(lane, band + inspect.UNBLOCKED, skip=skip)
                _, rows = await self._store.run(page)
                await self._look_after(lane, rows, now_us)
                has_blocked = has_blocked or bool(rows)
                if len(rows) < inspect.CHUNK:
                    break
            else:
                self._places[place] = begin + SWEPT_AT_ONCE  # the next sweep continues there
        if has_blocked:
            await self._free_sequences(lane)

    async def _free_sequences(self, lane: Lane) -> None:
        from jobfleet.operations.jobs.precedence import free_sequences  # most lanes have none

        group = self._groups.pop(lane, "")
        for _ in range(0, SWEPT_AT_ONCE, inspect.CHUNK):
            group, is_cut = await drive(self._store, free_sequences(self._keys, lane, group))
            if is_cut or not group:
                break
        if group:
            self._groups[lane] = group  # the next sweep continues there

    async def _look_after(self, lane: Lane, rows: Sequence[Waiting], now_us: int) -> None:
        if not rows:
            return
        await self._store.run(flow.keep_parents(lane, [row.id for row in rows], ttl_ms=PARENTS_KEPT_MS))
        known = await self._many([flow.guarded(lane, row.id) for row in rows])
        edges = [
            (row.id, edge.parent)
            for row, (_, parents) in zip(rows, known, strict=True)
            for edge in parents
            if not edge.status
        ]
        origins, being_written = {row.id: _origin(row.envelope) for row in rows}, dict[_Origin, bool]()
        await self._renew_flows({origin.flow_id for origin in origins.values() if origin.flow_id}, now_us)
        for part in batches(edges, flow.CHUNK):
            calls = [flow.watch(self._keys.lane_of(parent), parent, [child]) for child, parent in part]
            endings = await self._many(calls)
            for place, (child, parent) in enumerate(part):
                if endings[place].state == "unknown":
                    origin = origins[child]
                    if origin not in being_written:
                        being_written[origin] = await self._is_being_written(child, origin, now_us)
                    if being_written[origin]:
                        continue  # the call that writes the parent may be on its way to another node
                    endings[place] = await self._store.run(calls[place])  # it may have arrived since
                if endings[place].state != "watched":
                    await self._tell(child, parent, endings[place])
        for row, (is_guarded, _) in zip(rows, known, strict=True):
            if is_guarded:
                await self._look_at_guard(lane, row, now_us)

    async def _renew_flows(self, flows: set[str], now_us: int) -> None:
        """Keep the records of flows that have blocked jobs, each once per day."""
        if now_us - self._renewed_since >= DAY_MS * 1000:
            self._renewed_since = now_us
            self._renewed.clear()
        due = sorted(flows - self._renewed)
        await self._many([flow.renew_flow(self._keys, flow_id, ttl_ms=self._flow_ttl_ms) for flow_id in due])
        self._renewed.update(due)

    async def _look_at_guard(self, lane: Lane, row: Waiting, now_us: int) -> None:
        """Lift the guard of a job whose flow is complete; cancel a job whose producer died before that."""
        origin = _origin(row.envelope)
        if await self._is_whole(origin):
            guard = flow.ParentEnd(row.id, flow.GUARD, "completed", b"")
            await self._store.run(flow.unblock(lane, [guard], ttl_ms=self._ttl_ms))
        elif await self._is_abandoned(row.id, origin, now_us):
            guard = flow.ParentEnd(row.id, flow.GUARD, "gone", b"")
            if await self._store.run(flow.unblock(lane, [guard], ttl_ms=self._ttl_ms)) == "x":
                await self._cancel(lane, [row.id], "its producer died")

    async def _is_being_written(self, job_id: str, origin: _Origin, now_us: int) -> bool:
        """Whether the flow or the addition of a job is not whole, and its producer may still complete it."""
        if origin.flow_id is None or await self._is_whole(origin):
            return False
        return not await self._is_abandoned(job_id, origin, now_us)

    async def _is_abandoned(self, job_id: str, origin: _Origin, now_us: int) -> bool:
        """Whether the producer of a flow or an addition that is not whole is dead."""
        if origin.adder is not None:
            # Until the adder has ended, a later run of it may complete the addition.
            return await self._has_ended(origin.adder)
        born = suffix_time_us(job_id.split(".", 2)[2]) or origin.enqueued_at
        # A job may be created long before its flow is written, and its producer's clock may be behind.
        return born is not None and now_us - born > GUARD_US and origin.flow_id not in self._young

    async def _is_whole(self, origin: _Origin) -> bool:
        if origin.flow_id is None:
            return False
        return is_whole(await self._store.run(flow.read_flow(self._keys, origin.flow_id)), origin.addition)

    async def _has_ended(self, job_id: str) -> bool:
        _, (found,) = await self._store.run(inspect.status(self._keys.lane_of(job_id), (job_id,)))
        return not isinstance(found, InRun | InWait)


def _unwatching(lane: Lane, records: Sequence[PendingEnd], done: Unblocked) -> list[Call[Any]]:
    """The calls that record which dependants of some endings were notified."""
    from jobfleet.store.calls.flow import Notified, unwatch_many

    items: list[Notified] = []
    more: list[Call[Any]] = []
    for record in records:
        entry, job_id, ending = record
        at = 0 if ending.state == "open" else record.at_ms  # its next ending writes another record
        rest = [(child, _rest(ending, done.letters.get((child, job_id), ""))) for child in ending.children]
        if ending.strangers:  # they may be any bytes, and go alone
            strangers = [(stranger, flow.NOTIFIED) for stranger in ending.strangers]
            more.append(flow.unwatch(lane, entry, job_id, [*rest, *strangers], ending_ms=at))
        else:
            items.append(Notified(entry, job_id, at, rest))
    return [*(unwatch_many(lane, part) for part in batches(items, flow.CHUNK)), *more]


def _rest(ending: flow.Ending, letter: str) -> int:
    """What remains for a dependant that the script `unblock` has answered with a letter."""
    if letter == "w":
        return flow.WAITS
    return flow.READS if ending.is_read_later and letter in READERS else flow.NOTIFIED


class _Origin(NamedTuple):
    """The flow of a job, and for an added job its addition.

    Attributes:
        flow_id: The flow; None when the job belongs to no flow.
        adder: The job that added it; None when it was enqueued with the flow.
        addition: The name of the addition; None when it was enqueued with the flow.
        enqueued_at: The time of the enqueue in µs, if its id does not have it; None if it is not known.
    """

    flow_id: str | None
    adder: str | None = None
    addition: str | None = None
    enqueued_at: int | None = None


def _origin(envelope: bytes) -> _Origin:
    """Read from which flow and which addition a job is."""
    header = header_or_empty(envelope)
    found = header.get("flow")
    flow_id = found if isinstance(found, str) else None
    match header.get("added"):
        case [str(adder), str(name)]:
            return _Origin(flow_id, adder, addition_name(adder, name))
        case _:
            at = header.get("enqueued_at")
            return _Origin(flow_id, enqueued_at=at if isinstance(at, int) else None)


class Unblocker:
    """Notifies the dependants of jobs in some lanes immediately, with one task per lane that has pending endings.

    If this process dies, the leases duty notifies them.

    Args:
        relay: Sends the notifications.
        on_unblocked: Called after some dependants were notified, before `is_busy` turns false; jobs may now be due.
    """

    def __init__(self, relay: Relay, on_unblocked: Callable[[], None] = lambda: None) -> None:
        self._relay = relay
        self._on_unblocked = on_unblocked
        self._tasks: dict[Lane, asyncio.Task[None]] = {}
        self._asked: dict[Lane, bool] = {}  # lane → whether to process all of its endings

    @property
    def is_busy(self) -> bool:
        """Whether some dependants are still to be notified."""
        return bool(self._tasks)

    def tell(self, lane: Lane) -> None:
        """Process the outbox of a lane; returns immediately."""
        self._asked[lane] = True  # a running task checks again, because this ending may be newer than its last check
        self._begin(lane)

    def stand_in(self, lane: Lane) -> None:
        """Process endings in a lane's outbox that their writer does not process; returns immediately."""
        self._asked.setdefault(lane, False)
        self._begin(lane)

    def _begin(self, lane: Lane) -> None:
        if lane not in self._tasks:
            self._tasks[lane] = asyncio.get_running_loop().create_task(self._tell(lane))

    async def _tell(self, lane: Lane) -> None:
        try:
            while lane in self._asked:
                tells_all = self._asked.pop(lane)
                try:
                    await (self._relay.relay(lane) if tells_all else self._relay.stand_in((lane,)))
                except Exception as error:  # one bad record must not block the next
                    is_bug = not isinstance(error, JobfleetError)
                    log_of_worker.warning("relay.stumbled lane=%s %s", lane.tag, error, exc_info=is_bug)
                    continue
                self._on_unblocked()
        finally:
            # Delete here, with no await since the last check of `_asked`. A done callback would run later, and a caller
            # in between would find a task that does not check again.
            del self._tasks[lane]

    async def drained(self, timeout: float) -> None:
        """Wait until all dependants are notified, up to `timeout` seconds; the leases duty continues with the rest."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await asyncio.gather(*self._tasks.values())
