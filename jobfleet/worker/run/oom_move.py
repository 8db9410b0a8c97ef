"""A job that ran out of memory goes on in another queue, where its function's `on_oom` sends it.

Another queue means another id, so it is a new job with a budget of its own: the same envelope, under an
id that derives from the old one, and the old one is closed as cancelled. The new one is put down first
and its id is always the same, so whatever dies in between, there is exactly one.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import zlib
from collections.abc import Callable
from typing import Any

from jobfleet.codec import amended
from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.model import split_id, suffix_time_us
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import control, settle
from jobfleet.store.calls.enqueue import enqueue, open_queue
from jobfleet.store.calls.index import indexes_of, marked
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Entry
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
Finish = Callable[["Run", Any], None]
KEPT_OF_SUFFIX = 48
DIGEST_BYTES = 4
MOVED_MS = 86_400_000
"""How long the old job tells where it went; its record may say longer."""


def moved_suffix(job_id: str, enqueued_at: int) -> str:
    """The suffix under which a job goes on: the same whenever it is asked, another for another life of the id."""
    suffix = split_id(job_id).suffix
    digest = hashlib.blake2b(f"{job_id} {enqueued_at}".encode(), digest_size=DIGEST_BYTES).hexdigest()
    return f"{suffix[:KEPT_OF_SUFFIX]}.oom{digest}"


class OomMover:
    """Moves jobs to other queues.

    Args:
        store: How.
        config: Where the namespace and the lanes of new queues stand.
        finish: Takes a run and the item that settles it.
    """

    def __init__(self, store: AsyncStore, config: JobConfig, *, finish: Finish) -> None:
        self._store = store
        self._config = config
        self._keys = Keyspace(config.namespace)
        self._finish = finish
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def move(self, run: Run, queue: str, otherwise: Callable[[], Any]) -> None:
        """Put a run's job into another queue, then settle the run.

        Args:
            run: The run, which is over.
            queue: Where the job goes on.
            otherwise: What settles the run when the queue does not take the job.
        """
        self._keep(self._move(run, queue, otherwise))

    async def _move(self, run: Run, queue: str, otherwise: Callable[[], Any]) -> None:
        try:
            lane, entry = await self._entry(run, queue)
            await self._store.run(enqueue(lane, [entry]))
        except (JobfleetError, OSError) as error:
            log.error("job.not_moved job_id=%s queue=%s %s", run.id, queue, error)
            self._finish(run, otherwise())
            return
        run.ending.moved_to = entry.id
        log.warning("job.moved job_id=%s to=%s it ran out of memory", run.id, entry.id)
        self._finish(run, settle.move(run.id, run.token, to=entry.id, ttl_ms=MOVED_MS))

    async def _entry(self, run: Run, queue: str) -> tuple[Lane, Entry]:
        header = run.header
        enqueued_at = header.get("enqueued_at") or suffix_time_us(split_id(run.id).suffix) or 0
        suffix = moved_suffix(run.id, enqueued_at)
        home, _ = await self._store.run(
            open_queue(self._keys, queue, self._config.lanes.get(queue, 1), most=self._config.max_queues)
        )
        lines = run.grant.meta.split("\n")
        group = next((line[2:] for line in lines if line.startswith("g ")), None)
        lane = self._keys.lane(queue, zlib.crc32((group or suffix).encode()) % home)
        envelope = amended(run.grant.envelope, {"moved_from": run.id, "enqueued_at": enqueued_at})
        kept = "\n".join(line for line in lines if line.startswith(("r ", "g ")))
        meta = marked(kept, indexes_of(header))
        return lane, Entry(lane.id_prefix + suffix, run.grant.band, "", meta, envelope)

    def settled(self, run: Run, letter: str) -> None:
        """Take back what was put down for a run that was cancelled meanwhile, or is somebody else's by now."""
        if letter in "cl":
            self._keep(self._take_back(run))

    async def _take_back(self, run: Run) -> None:
        lane = self._keys.lane_of(run.ending.moved_to)
        await self._store.run(
            control.cancel(self._keys, lane, [run.ending.moved_to], by=run.stop.cancel_by, ttl_ms=MOVED_MS)
        )

    def _keep(self, doing: Any) -> None:
        task = self._loop.create_task(doing)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def drained(self, timeout: float) -> None:
        """Wait until nothing is under way, but at most so many seconds."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=timeout)
