"""Deletes objects of the payload store that no job refers to; a part of the retention duty.

An object is written before its job, and it may be one of several of the job: an edit writes another one, and so does
each attempt to store a result. So an object is deleted if it is older than `payload_grace` and its job, which its key
names, does not refer to it: the job is not known, or refers to others.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

from jobfleet.clock import monotonic, wall_us
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError, JobfleetError, JobNotFound
from jobfleet.event_loop import in_thread
from jobfleet.operations.operation import batches
from jobfleet.payloads.payloads import SHARDS, Payloads, owner_of, payloads_of, unchecked_reference_of
from jobfleet.payloads.store import PARTIAL, StoredObject
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls import inspect
from jobfleet.store.calls.enqueue import payload_store
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Dead, Final, Found, InRun, InWait

log = logging.getLogger("jobfleet.reaper")
MOST = 1000
"""The most objects that one turn looks at. A list of a folder counts as `LIST_COST` of them."""
LIST_COST = 10
PAUSE = 3600.0
"""The longest pause, in seconds, between two passes over the store."""


class PayloadSweep:
    """Deletes objects that no job refers to.

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
