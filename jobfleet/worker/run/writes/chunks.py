"""The output streams of jobs: chunks are sent in batches, and always before the run's end is settled."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Sequence

from jobfleet.errors import JobCancelled, JobfleetError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.run import CHUNKS, EMITTING_JOBS, Emission, emit_chunks
from jobfleet.store.keys import Lane
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.output import ChunkBuffer
from jobfleet.worker.run.run import Key, Run
from jobfleet.worker.run.writes.job_log import LEAST_MS
from jobfleet.worker.run.writes.periodic_sender import PeriodicSender

log = logging.getLogger("jobfleet.worker")
INTERVAL_S = 0.002
"""Seconds between two sends. The first chunk after a pause is sent at once."""
MOST_WAITING = 1000
MOST_BYTES = 256 * 1024
"""Chunks of a run, and their size in bytes, that wait to be sent before the job must wait."""


class ChunkWriter:
    """Sends the output streams of a child's jobs.

    A run has at most one request in flight, so that no chunk overtakes another. What a request has brought is removed
    when Redis has answered; until then the end of the run sends it again, and Redis skips what it has.

    Args:
        store: The connection, with endless patience: an outage must not lose chunks.
        most: The maximal number of chunks kept per job.
        most_bytes: The maximal number of bytes kept per job.
        ttl_ms: How long a stream is kept while its job has not completed.
        events: Receives runs that have lost their lease.
    """

    def __init__(self, store: AsyncStore, *, most: int, most_bytes: int, ttl_ms: int, events: RunEvents) -> None:
        self._store = store
        self._most = most
        self._most_bytes = most_bytes
        self._ttl_ms = ttl_ms
        self._events = events
        self._lock = threading.Lock()
        self._waiting: dict[Key, Run] = {}
        self._one = asyncio.Lock()
        self._sent = asyncio.Event()
        self._sender = PeriodicSender(
            "output of jobs", self.flush, has_more=lambda: bool(self._waiting), every=INTERVAL_S, pauses_first=False
        )

    def emit(self, run: Run, record: bytes) -> bool:
        """Take a chunk, from any thread, without waiting for Redis; return whether there is room for more.

        Raises:
            JobCancelled: The run has ended.
            JobfleetError: Redis has refused earlier chunks.
        """
        with self._lock:
            buffer = run.output.chunks
            if buffer is None:
                buffer = run.output.chunks = ChunkBuffer()
            if run.ending.is_over:
                raise JobCancelled(f"{run.id} is to stop: this run has ended.", job_id=run.id)
            if buffer.failure is not None:
                raise buffer.failure
            buffer.add(record)
            self._waiting[run.key] = run
            has_room = _has_room(buffer)
        self._sender.wake()
        return has_room

    async def wait_for_room(self, run: Run) -> None:
        """Return once there is room for more chunks of a run, or it is to stop."""
        while (buffer := run.output.chunks) is not None and not _has_room(buffer) and run.must_stop is None:
            self._sent.clear()
            await self._sent.wait()

    async def flush(self) -> None:
        """Send what is waiting, in one trip at a time, so that chunks stay in order."""
        async with self._one:
            with self._lock:
                runs, self._waiting = list(self._waiting.values()), {}
                emissions = [(run, self._emission(run, buffer)) for run in runs if (buffer := run.output.chunks)]
            self._sent.set()
            parts = _parts([(run, emission) for run, emission in emissions if emission.chunks])
            try:
                await self._send(parts)
            except Exception:
                with self._lock:
                    self._waiting.update((run.key, run) for run in runs if not run.ending.is_over)
                raise

    def _emission(self, run: Run, buffer: ChunkBuffer) -> Emission:
        emission = Emission(run.id, run.token, self._ttl_ms, buffer.n, buffer.send(CHUNKS))
        if buffer.waiting:
            self._waiting[run.key] = run
        return emission

    async def _send(self, parts: Sequence[tuple[Lane, Sequence[tuple[Run, Emission]]]]) -> None:
        if not parts:
            return
        calls = [self._call(lane, [emission for _, emission in part]) for lane, part in parts]
        answers = await self._store.run_many(calls)
        for (_, part), letters in zip(parts, answers, strict=True):
            for at, (run, _) in enumerate(part):
                if isinstance(letters, JobfleetError):
                    self._refuse(run, letters)
                elif letters[at] == "l":
                    self._clear(run)
                    self._events.lost(run)
                elif run.output.chunks is not None:
                    with self._lock:
                        run.output.chunks.confirm()
        self._sent.set()

    def _refuse(self, run: Run, error: JobfleetError) -> None:
        """Redis refuses the chunks of a run: the job gets the error when it emits the next one."""
        log.error("job.output_refused job_id=%s %s", run.id, error, extra={"run": run})
        self._clear(run, error)

    def _clear(self, run: Run, failure: Exception | None = None) -> None:
        with self._lock:
            self._waiting.pop(run.key, None)
            if run.output.chunks is not None:
                run.output.chunks.take()
                run.output.chunks.failure = failure

    def end(self, run: Run, ttl_ms: int | None) -> list[Call[str]]:
        """The calls that send the chunks of a run that were not sent or not answered, before its end.

        Args:
            run: The run.
            ttl_ms: How long its stream is kept from now on; None for the time of a job that has not completed.
        """
        ttl = self._ttl_ms if ttl_ms is None else max(LEAST_MS, ttl_ms)
        with self._lock:
            self._waiting.pop(run.key, None)
            buffer = run.output.chunks or ChunkBuffer()
            n, left = buffer.n, buffer.take()
        self._sent.set()
        return [
            self._call(run.lane, [Emission(run.id, run.token, ttl, n + at, left[at : at + CHUNKS])])
            for at in range(0, len(left) or 1, CHUNKS)
        ]

    def _call(self, lane: Lane, emissions: Sequence[Emission]) -> Call[str]:
        return emit_chunks(lane, emissions, most=self._most, most_bytes=self._most_bytes)


def _has_room(buffer: ChunkBuffer) -> bool:
    return buffer.waiting < MOST_WAITING and buffer.bytes < MOST_BYTES


def _parts(emissions: Sequence[tuple[Run, Emission]]) -> list[tuple[Lane, list[tuple[Run, Emission]]]]:
    """Divide emissions into those of a call each, by lane."""
    by_lane: dict[Lane, list[list[tuple[Run, Emission]]]] = {}
    for run, emission in emissions:
        parts = by_lane.setdefault(run.lane, [[]])
        if len(parts[-1]) == EMITTING_JOBS or sum(len(other.chunks) for _, other in parts[-1]) >= CHUNKS:
            parts.append([])
        parts[-1].append((run, emission))
    return [(lane, part) for lane, parts in by_lane.items() for part in parts]
