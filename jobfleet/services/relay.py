"""The relay duty: who waits for a job hears of its end.

A settle writes one record for a job that others wait for, in the same script that ends it. The relay pages
through those who wait, tells each lane's in one script, and takes the record away when all were told. Each
step may run twice; a relay that dies in between is followed by another. What a producer left half done is
done again by a sweep.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from jobfleet.client.flows import is_whole
from jobfleet.codec import read_header
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.metrics.tally import Tally
from jobfleet.model import suffix_time_us
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import control, flow, inspect
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.values import Waiting

log = logging.getLogger("jobfleet.reaper")
EVERY = 1.0
SWEEP_EVERY = 60.0
SWEPT_AT_ONCE = 500
GUARD_US = 600 * 1_000_000
"""How long a job is left alone whose producer died before it had named all parents; `enqueue` has not returned."""
TOMBSTONE_MS = 86_400_000


class Relay(Service):
    """Tells those who wait.

    Args:
        store: How.
        keys: The fleet's keys.
        config: How long results are kept.
        tally: Where it counts.
        spacing: Seconds between its turns.
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
        self._store = store
        self._keys = keys
        self._ttl_ms = round(max(config.failed_result_ttl, config.result_ttl) * 1000)
        self._swept = 0
        self._touched: set[Lane] = set()
        self._places: dict[tuple[Lane, int], int] = {}

    async def turn(self) -> float:
        """Tell what is to be told, in every lane; from time to time, sweep."""
        seen = await self._store.run(inspect.fleet(self._keys))
        lanes = [self._keys.lane(queue, n) for queue, (_, count) in sorted(seen.queues.items()) for n in range(count)]
        for lane in lanes:
            await self.relay(lane)
        if seen.now - self._swept >= SWEEP_EVERY * 1e6:
            self._swept = seen.now
            for lane in lanes:
                await self._sweep(lane, seen.now)
        return self._spacing()

    async def relay(self, lane: Lane) -> None:
        """Tell what stands in one lane's outbox, and in those of lanes where that has cancelled jobs."""
        self._touched.add(lane)
        while self._touched:
            there = self._touched.pop()
            while records := await self._store.run(flow.outbox(there)):
                for entry, job_id in records:
                    await self._tell_all(there, entry, job_id)
                if len(records) < flow.CHUNK:
                    break

    async def _tell_all(self, lane: Lane, entry: str, parent: str) -> None:
        ending_ms = int(entry.partition("-")[0])
        while True:
            ending = await self._store.run(flow.dependants(lane, parent, ending_ms=ending_ms))
            waits = await self._tell(ending.children, parent, ending)
            told = [(child, child in waits) for child in ending.children]
            left = await self._store.run(flow.unwatch(lane, entry, parent, told, ending_ms=ending_ms))
            if not left:
                return

    async def _tell(self, children: Iterable[str], parent: str, ending: flow.Ending) -> set[str]:
        """Tell some children how a parent ended; those that go on waiting for a replay."""
        by_lane: dict[Lane, list[flow.Told]] = {}
        for child in children:
            by_lane.setdefault(self._keys.lane_of(child), []).append(
                flow.Told(child, parent, ending.status, ending.copied)
            )
        waits: set[str] = set()
        for lane, told in by_lane.items():
            letters = await self._store.run(flow.unblock(lane, told, ttl_ms=self._ttl_ms))
            waits |= {one.child for one, letter in zip(told, letters, strict=True) if letter == "w"}
            doomed = [one.child for one, letter in zip(told, letters, strict=True) if letter == "x"]
            if doomed:
                await self._cancel(lane, doomed, parent)
        return waits

    async def _cancel(self, lane: Lane, ids: list[str], parent: str) -> None:
        """End those whose parent did not complete."""
        log.info("job.cancelled parent=%s jobs=%d", parent, len(ids))
        call = control.cancel(self._keys, lane, ids, by=f"parent:{parent}", ttl_ms=TOMBSTONE_MS)
        await self._store.run(call)
        self._touched.add(lane)

    async def _sweep(self, lane: Lane, now_us: int) -> None:
        """Look at jobs that wait: an ending may never have been told to one whose producer died."""
        for band in range(4):
            place, begin = (lane, band), self._places.pop((lane, band), 0)
            for skip in range(begin, begin + SWEPT_AT_ONCE, inspect.CHUNK):
                page = inspect.waiting(lane, band + inspect.UNBLOCKED, skip=skip)
                _, rows = await self._store.run(page)
                for row in rows:
                    await self._look_after(lane, row, now_us)
                if len(rows) < inspect.CHUNK:
                    break
            else:
                self._places[place] = begin + SWEPT_AT_ONCE  # the next sweep goes on there

    async def _look_after(self, lane: Lane, row: Waiting, now_us: int) -> None:
        for edge in await self._store.run(flow.parents(lane, row.id)):
            if edge.status:
                continue
            there = self._keys.lane_of(edge.parent)
            ending = await self._store.run(flow.watch(there, edge.parent, [row.id]))
            if ending.state != "watched":
                await self._tell([row.id], edge.parent, ending)
        await self._look_at_guard(lane, row, now_us)

    async def _look_at_guard(self, lane: Lane, row: Waiting, now_us: int) -> None:
        """Lift the guard of a job whose flow is whole; let go of one whose producer died before it was."""
        flow_id = _flow_of(row.envelope)
        if flow_id is not None and is_whole(await self._store.run(flow.read_flow(self._keys, flow_id))):
            guard = flow.Told(row.id, flow.GUARD, "completed", b"")
            await self._store.run(flow.unblock(lane, [guard], ttl_ms=self._ttl_ms))
            return
        born = suffix_time_us(row.id.split(".", 2)[2])
        if born is not None and now_us - born > GUARD_US:
            guard = flow.Told(row.id, flow.GUARD, "gone", b"")
            if await self._store.run(flow.unblock(lane, [guard], ttl_ms=self._ttl_ms)) == "x":
                await self._cancel(lane, [row.id], "its producer died")


def _flow_of(envelope: bytes) -> str | None:
    try:
        flow_id = read_header(envelope).get("flow")
    except EncodingError:
        return None
    return flow_id if isinstance(flow_id, str) else None
