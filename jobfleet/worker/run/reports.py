"""What running jobs report, gathered and sent in batches: progress, lines of their logs, and output chunks."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import Context

from jobfleet.codec import encode
from jobfleet.errors import JobCancelled, JobfleetError
from jobfleet.operations.operation import by_lane
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.run import CHUNKS, EMITTING_JOBS, Emission, Entry, Report, emit_chunks, progress
from jobfleet.store.calls.run import log as log_call
from jobfleet.store.keys import Lane
from jobfleet.worker.run.interfaces import RunEvents
from jobfleet.worker.run.run import ChunkBuffer, Key, LogTail, Run

log = logging.getLogger("jobfleet.worker")


class PeriodicSender:
    """Sends in rounds while there is data, with a pause between two rounds.

    Args:
        name: The kind of data, for the log.
        send: Sends the gathered data.
        has_more: Returns whether there is data.
        every: Seconds between two rounds.
        pauses_first: Whether the first round waits too, so that data of the same moment is sent together.
    """

    def __init__(
        self,
        name: str,
        send: Callable[[], Awaitable[None]],
        *,
        has_more: Callable[[], bool],
        every: float,
        pauses_first: bool,
    ) -> None:
        self._name = name
        self._send = send
        self._has_more = has_more
        self._every = every
        self._pauses_first = pauses_first
        self._loop = asyncio.get_running_loop()
        self._context = Context()  # not that of the job that adds data first
        self._lock = threading.Lock()
        self._is_going = False
        self._task: asyncio.Task[None] | None = None

    def wake(self) -> None:
        """Data was added. Any thread may call this, and it never waits."""
        with self._lock:
            if not self._is_going:  # in this order, because the job's code may be interrupted here
                self._loop.call_soon_threadsafe(self._start, context=self._context)
                self._is_going = True

    def _start(self) -> None:
        if self._task is None:
            self._task = self._loop.create_task(self._go())

    async def _go(self) -> None:
        try:
            if self._pauses_first:
                await asyncio.sleep(self._every)
            while True:
                await self._round()
                await asyncio.sleep(self._every)
                with self._lock:  # data is added before this check, or `wake` is called after it
                    if not self._has_more():
                        self._is_going = False
                        return
        finally:
            self._task = None

    async def _round(self) -> None:
        try:
            await self._send()
        except Exception:
            log.exception("worker.unsent %s", self._name)  # one failed round must not stop the following ones


CHUNK = 50
DETAIL_WORDS = 500


class ProgressWriter:
    """Sends the progress of a child's jobs: the last report of each ten times per second, and before the job ends.

    Args:
        store: The connection.
        rate: The maximal number of sends per second.
        ttl_ms: How long progress is kept.
        events: Receives runs that have lost their lease, or are to be cancelled.
    """

    def __init__(
        self,
        store: AsyncStore,
        *,
        rate: float,
        ttl_ms: int,
        events: RunEvents,
    ) -> None:
        self._store = store
        self._ttl_ms = ttl_ms
        self._events = events
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, int], tuple[Run, int, bytes]] = {}
        self._sending: dict[tuple[str, int], tuple[Run, int, bytes]] = {}
        self._one = asyncio.Lock()
        self._sender = PeriodicSender(
            "progress", self.flush, has_more=lambda: bool(self._latest), every=1.0 / rate, pauses_first=False
        )

    def report(self, run: Run, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Take a report, from any thread, without waiting for Redis.

        Raises:
            EncodingError: `details` cannot be encoded.
        """
        record = encode([value, str(message)[:DETAIL_WORDS], dict(details) if details else None], what="progress")
        with self._lock:
            self._latest[run.key] = (run, run.output.next_number(), record)
        self._sender.wake()

    async def flush(self) -> None:
        """Send the gathered reports, in one trip at a time."""
        async with self._one:
            with self._lock:
                latest, self._latest = self._latest, {}
                self._sending = latest
            try:
                await self._send(latest)
            finally:
                self._sending = {}

    async def _send(self, latest: dict[tuple[str, int], tuple[Run, int, bytes]]) -> None:
        made = ((run.lane, (run, Report(run.id, run.token, n, record))) for run, n, record in latest.values())
        parts = by_lane(made, CHUNK)
        if not parts:
            return
        calls = [progress(lane, [report for _, report in part], ttl_ms=self._ttl_ms) for lane, part in parts]
        answers = await self._store.run_many(calls)
        for (_, part), letters in zip(parts, answers, strict=True):
            if isinstance(letters, JobfleetError):
                continue  # reports may be lost
            for (run, _), letter in zip(part, letters, strict=True):
                if letter == "l":
                    self._events.lost(run)
                elif letter == "c":
                    self._events.cancel_requested(run)

    def take(self, run: Run) -> Report | None:
        """Return the report of a run that was not sent or not answered, to be sent with the run's end.

        An ending must not overtake a report that is in flight, because Redis takes no report of a run that has ended.
        """
        if not run.output.number:
            return None
        with self._lock:
            latest = self._latest.pop(run.key, None) or self._sending.get(run.key)
        return Report(run.id, run.token, latest[1], latest[2]) if latest else None


JOBS_PER_CALL = 50
LOG_INTERVAL_S = 0.25
LEAST_MS = 60_000
"""The shortest time that a log is kept after its job has ended, because somebody may follow it."""


class JobLogWriter:
    """Sends the logs of a child's jobs: lines go a few times per second, and always before the job ends.

    Args:
        store: The connection.
        most_lines: The maximal number of lines kept per job; 0 to keep none.
        most_bytes: The maximal number of bytes kept per job.
        ttl_ms: How long a log is kept while its job has not completed.
        events: Receives runs that have lost their lease.
    """

    def __init__(self, store: AsyncStore, *, most_lines: int, most_bytes: int, ttl_ms: int, events: RunEvents) -> None:
        self._store = store
        self._most_lines = most_lines
        self._most_bytes = most_bytes
        self._ttl_ms = ttl_ms
        self._events = events
        self._lock = threading.Lock()
        self._waiting: dict[tuple[str, int], Run] = {}
        self._sending: dict[tuple[str, int], list[Entry]] = {}
        self._one = asyncio.Lock()
        self._sender = PeriodicSender(
            "logs of jobs", self.flush, has_more=lambda: bool(self._waiting), every=LOG_INTERVAL_S, pauses_first=True
        )

    def note(self, run: Run, at_us: int, level: int, text: str) -> None:
        """Take a line, from any thread, without waiting for Redis."""
        if not self._most_lines or not self._most_bytes:
            return
        line = f"{at_us} {level} {text}".encode("utf-8", "replace")
        with self._lock:
            if run.output.log is None:
                run.output.log = LogTail()
            run.output.log.add(line[: self._most_bytes], self._most_lines, self._most_bytes)
            self._waiting[run.key] = run
        self._sender.wake()

    async def flush(self) -> None:
        """Send the gathered lines, in one trip at a time, so that lines stay in order."""
        async with self._one:
            await self._flush()

    async def _flush(self) -> None:
        with self._lock:
            runs, self._waiting = list(self._waiting.values()), {}
            for run in runs:
                if run.output.log is not None and (lines := run.output.log.take()):
                    self._sending[run.key] = self._entries(run, lines, self._ttl_ms)
        entries = ((run.lane, (run, entry)) for run in runs for entry in self._sending.get(run.key, ()))
        parts = by_lane(entries, JOBS_PER_CALL)
        if not parts:
            return
        try:
            answers = await self._store.run_many(
                [self._call(lane, [entry for _, entry in part]) for lane, part in parts]
            )
        finally:
            for run in runs:
                self._sending.pop(run.key, None)
        for (_, part), letters in zip(parts, answers, strict=True):
            if isinstance(letters, JobfleetError):
                continue  # a log must not stop a job
            for (run, _), letter in zip(part, letters, strict=True):
                if letter == "l":
                    self._events.lost(run)

    def take(self, run: Run, ttl_ms: int | None) -> list[Entry]:
        """Remove the lines of a run that were not sent or not answered, and return them, to be sent with the run's end.

        Args:
            run: The run.
            ttl_ms: How long its log is kept from now on; None for the time of a job that has not ended.
        """
        ttl = self._ttl_ms if ttl_ms is None else max(LEAST_MS, ttl_ms)
        with self._lock:
            if run.output.log is None:
                return []
            lines = run.output.log.take()
            self._waiting.pop(run.key, None)
            in_flight = [entry._replace(ttl_ms=ttl) for entry in self._sending.get(run.key, ())]
        return [*in_flight, *self._entries(run, lines, ttl), Entry(run.id, run.token, 0, ttl, b"")]

    def calls(self, lane: Lane, entries: list[Entry]) -> list[Call[str]]:
        """The calls that send lines of a lane."""
        return [self._call(lane, entries[at : at + JOBS_PER_CALL]) for at in range(0, len(entries), JOBS_PER_CALL)]

    def _call(self, lane: Lane, entries: list[Entry]) -> Call[str]:
        return log_call(lane, entries, most_lines=self._most_lines, most_bytes=self._most_bytes)

    @staticmethod
    def _entries(run: Run, lines: list[tuple[int, bytes]], ttl_ms: int) -> list[Entry]:
        return [Entry(run.id, run.token, n, ttl_ms, line) for n, line in lines]


CHUNK_INTERVAL_S = 0.002
"""Seconds between two sends. The first chunk after a pause is sent at once."""
MOST_WAITING = 1000
MOST_BYTES = 256 * 1024
"""Chunks of a run, and their size in bytes, that wait to be sent before the job must wait."""


class ChunkWriter:
    """Sends the output streams of a child's jobs in batches, and always before the run's end is settled.

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
            "output of jobs",
            self.flush,
            has_more=lambda: bool(self._waiting),
            every=CHUNK_INTERVAL_S,
            pauses_first=False,
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
