"""The retention duty: deletes data that is too old or exceeds a limit, and logs the loss of dead letters.

It also moves damage aside (docs/adr/0012), which others may not be permitted to move, or meet too late.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from heapq import heappush, heapreplace
from typing import Any

from jobfleet.clock import monotonic, wall_us
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError, JobfleetError, JobNotFound
from jobfleet.event_loop import in_thread
from jobfleet.functions.manifest import read_function
from jobfleet.functions.options import keep_last_in
from jobfleet.metrics.tally import Tally
from jobfleet.model import split_id, suffix_time_us
from jobfleet.operations.operation import batches
from jobfleet.payloads.payloads import SHARDS, Payloads, owner_of, payloads_of, unchecked_reference_of
from jobfleet.payloads.store import PARTIAL, StoredObject
from jobfleet.services.duties.lanes import Lanes
from jobfleet.services.places import free_places
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls import inspect
from jobfleet.store.calls.control import trim
from jobfleet.store.calls.ended import CHUNK, endings, function_of, indexes, retire, sweep
from jobfleet.store.calls.enqueue import payload_store
from jobfleet.store.damage import judge, mend, places, survey, tell
from jobfleet.store.keys import KEPT, LAST_KEPT_MS, Keyspace, Lane
from jobfleet.store.records import Dead, Final, FleetSeen, Found, InRun, InWait

log = logging.getLogger("jobfleet.reaper")
EVERY = 60.0
NODE_PATIENCE = 2.0
"""Seconds to wait for a node of a cluster. The turn then fails, and the next one leaves its lanes out."""


class Retention(Service):
    """Trims the streams and indexes of every lane, and the payload store.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings, for the retention times.
        tally: Counts the metrics.
    """

    name = "retention"

    def __init__(self, store: AsyncStore, keys: Keyspace, config: JobConfig, tally: Tally) -> None:
        super().__init__(tally)
        self._store = store = store.within(NODE_PATIENCE)
        self._keys = keys
        self._config = config
        self._lanes = Lanes(store, keys, signs=KEPT)
        self._last = LastResults(store, config)
        self._payloads = PayloadSweep(store, keys, config)

    async def turn(self) -> float:
        """Trim every lane, its results that functions keep by number, and its indexes; then payloads and limits."""
        seen = await self._lanes.look()
        done_before = (seen.now - round(self._config.result_ttl * 1e6)) // 1000
        dead_before = (seen.now - round(self._config.dead_ttl * 1e6)) // 1000
        await self._mend(self._keys.tag)
        async for lane in self._lanes.occupied():
            if self._store.is_away(lane):
                continue
            await self._mend(lane.tag)
            call = trim(
                lane, done_before_ms=done_before, dead_before_ms=dead_before, dead_max=self._config.dead_max
            )  # fmt: skip
            gone, more = 0, True
            while more:
                _, letters, more = await self._store.run(call)
                gone += letters
            if gone:
                log.warning("dead_letters.let_go queue=%s lane=%d letters=%d", lane.queue, lane.index, gone)
            await self._sweep(lane, seen)
        await self._payloads.turn()
        if freed := await free_places(self._store, self._keys):
            log.info("places.freed places=%d their processes died", freed)
        return EVERY

    async def _mend(self, tag: str) -> None:
        """Move damage aside that those who meet it may not move, such as producers, or that nobody meets."""
        looked = places(tag)
        seen = await self._store.run(survey(tag, looked))
        found = judge(looked, seen.rows, seen.now)
        letters = await self._store.run_many([mend(tag, [one]) for one in found]) if found else []
        tell(tag, found, [letter if isinstance(letter, str) else None for letter in letters])

    async def _sweep(self, lane: Lane, seen: FleetSeen) -> None:
        """Clean the due indexes of a lane, page by page."""
        while names := await self._store.run(indexes(lane)):
            for name in names:
                if (function := function_of(name)) is not None and (record := seen.functions.get(function)):
                    most = keep_last_in(read_function(record))
                    if most is not None:
                        await self._last.trim(lane, name, most)
                skip, more = 0, True
                while more:
                    _, remaining, more = await self._store.run(sweep(lane, name, skip=skip))
                    skip += remaining


class LastResults:
    """Removes all results of a function but the last ones, before their TTL, lane by lane.

    Args:
        store: The connection to Redis.
        config: The settings, for the times for which ids are remembered.
    """

    def __init__(self, store: AsyncStore, config: JobConfig) -> None:
        self._store = store
        self._generated_ms = round(config.dedupe_window * 1000)
        self._own_ms = round(config.own_id_window * 1000)

    async def trim(self, lane: Lane, name: str, most: int) -> None:
        """Remove the results of all jobs of an index but the `most` that ended last.

        The first pass finds the time before which jobs are removed. The second one removes them. Jobs that end in
        between are later than that time.
        """
        newest: list[tuple[int, str]] = []  # a heap, so the first one is the oldest
        now, ended, skip, more = 0, 0, 0, True
        while more:
            page = await self._store.run(endings(lane, name, skip=skip))
            if page.size <= most:
                return
            now, ended, skip, more = page.now, ended + len(page.ended), skip + CHUNK, page.more
            for job_id, at in page.ended:
                if len(newest) < most:
                    heappush(newest, (at, job_id))
                elif (at, job_id) > newest[0]:
                    heapreplace(newest, (at, job_id))
        if ended > most:
            await self._remove(lane, name, newest[0], now - LAST_KEPT_MS * 1000)

    async def _remove(self, lane: Lane, name: str, oldest_kept: tuple[int, str], old_us: int) -> None:
        before_us = min(oldest_kept[0] + 1, old_us)
        skip, more = 0, True
        while more:
            page = await self._store.run(endings(lane, name, skip=skip))
            skip, more = skip + CHUNK, page.more
            early = [job_id for job_id, at in page.ended if (at, job_id) < oldest_kept and at < before_us]
            if early:
                jobs = [(job_id, self._remembered_ms(job_id)) for job_id in early]
                letters = await self._store.run(retire(lane, name, jobs, before_us=before_us))
                skip -= len(letters) - letters.count("s")  # the others have left the index

    def _remembered_ms(self, job_id: str) -> int:
        """For how long an id must be refused after the end of its job, because it may come again."""
        try:
            is_generated = suffix_time_us(split_id(job_id).suffix) is not None
        except JobNotFound:
            is_generated = False
        return self._generated_ms if is_generated else self._own_ms


MOST = 1000
"""The most objects that one turn looks at. A list of a folder counts as `LIST_COST` of them."""
LIST_COST = 10
PAUSE = 3600.0
"""The longest pause, in seconds, between two passes over the store."""


class PayloadSweep:
    """Deletes objects of the payload store that no job refers to.

    An object is written before its job, and it may be one of several of the job: an edit writes another one, and so
    does each attempt to store a result. So an object is deleted if it is older than `payload_grace` and its job, which
    its key names, does not refer to it: the job is not known, or refers to others.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, config: JobConfig) -> None:
        self._store = store
        self._keys = keys
        self._grace = config.payload_grace
        self._payloads = payloads_of(config)
        self._shard = 0
        self._left: deque[StoredObject] = deque()
        self._next_pass = 0.0

    async def turn(self) -> int:
        """Look at the next objects; return how many were deleted. A store that is away is tried again later."""
        if self._payloads is None or monotonic() < self._next_pass:
            return 0
        try:
            return await self._sweep(self._payloads)
        except Exception as error:  # noqa: BLE001 - a store may raise anything, and the duty has more to do
            log.warning("payloads.unswept %s: %s", type(error).__name__, error)
            return 0

    async def _sweep(self, payloads: Payloads) -> int:
        recorded, here = await self._store.run(payload_store(self._keys)), await in_thread(payloads.identity)
        if recorded not in ("", here):  # its jobs are those of another fleet
            log.warning("payloads.unswept the store is %s, and that of the fleet is %s", here or "empty", recorded)
            return 0
        old = await self._next_old(payloads)
        by_lane: dict[Lane, dict[str, list[str]]] = {}
        dead: list[str] = []
        for found in old:
            owner = owner_of(found.key)
            if owner is None:
                if found.key.rpartition("/")[2].startswith(PARTIAL):
                    dead.append(found.key)
                continue
            try:
                lane = self._keys.lane_of(owner.job_id)
            except JobNotFound:
                continue  # not written by jobfleet
            by_lane.setdefault(lane, {}).setdefault(owner.job_id, []).append(found.key)
        for lane, jobs in by_lane.items():
            for part in batches(jobs, inspect.CHUNK):
                live = await self._live(lane, part)
                dead += [key for job_id in part for key in jobs[job_id] if live is not None and key not in live]
        if dead:
            await in_thread(_delete, payloads, dead)
            log.info("payloads.deleted objects=%d no job refers to them", len(dead))
        return len(dead)

    async def _next_old(self, payloads: Payloads) -> list[StoredObject]:
        """The next objects that are old enough, at most `MOST`."""
        before, budget = wall_us() / 1e6 - self._grace, MOST
        old: list[StoredObject] = []
        while budget > 0:
            if self._left:
                budget -= 1
                found = self._left.popleft()
                if found.modified < before:
                    old.append(found)
            elif self._shard < SHARDS:
                budget -= LIST_COST
                self._left.extend(await in_thread(_listed, payloads, self._shard))
                self._shard += 1
            else:
                self._shard = 0
                self._next_pass = monotonic() + min(PAUSE, self._grace / 4)
                break
        return old

    async def _live(self, lane: Lane, ids: Sequence[str]) -> set[str] | None:
        """The keys that some jobs refer to; None if that cannot be read, so that nothing may be deleted."""
        status: Call[Any] = inspect.status(lane, ids)
        # A job that dies before its letter is read had its payload before; one that is replayed then has it after.
        before, *letters, after = await self._store.run_many(
            [status, *(inspect.letter(lane, job_id) for job_id in ids), status]
        )
        if any(isinstance(answer, JobfleetError) for answer in (before, *letters, after)):
            return None
        frames = [frame for one in (*before[1], *after[1]) for frame in _frames_of(one)]
        frames += [frame for letter in letters if letter is not None for frame in (letter.envelope, letter.record)]
        return _keys_in(frames)


def _listed(payloads: Payloads, shard: int) -> list[StoredObject]:
    return list(payloads.shard(shard))


def _delete(payloads: Payloads, keys: Iterable[str]) -> None:
    for key in keys:
        payloads.store.delete(key)


def _frames_of(found: Found) -> tuple[bytes, ...]:
    """The envelope or the record of a job."""
    match found:
        case InWait() | InRun():
            return (found.envelope,)
        case Final():
            return (found.body,)
        case Dead():
            return (found.record,)
        case _:
            return ()


def _keys_in(frames: Iterable[bytes]) -> set[str] | None:
    keys = set()
    for frame in frames:
        if frame:
            try:
                reference = unchecked_reference_of(frame)
            except EncodingError:
                return None
            if reference is not None:
                keys.add(reference.key)
    return keys
