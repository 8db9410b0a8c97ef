"""The logs of jobs: lines are sent a few times per second, and always before the job ends."""

from __future__ import annotations

import asyncio
import threading

from jobfleet.errors import JobfleetError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.run import Entry, log
from jobfleet.store.keys import Lane
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.output import LogTail
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writes.periodic_sender import PeriodicSender

CHUNK = 50
INTERVAL_S = 0.25
LEAST_MS = 60_000
"""The shortest time that a log is kept after its job has ended, because somebody may follow it."""


class JobLogWriter:
    """Sends the logs of a child's jobs.

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
            "logs of jobs", self.flush, has_more=lambda: bool(self._waiting), every=INTERVAL_S, pauses_first=True
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
        by_lane: dict[Lane, list[tuple[Run, Entry]]] = {}
        for run in runs:
            for entry in self._sending.get(run.key, ()):
                by_lane.setdefault(run.lane, []).append((run, entry))
        parts = [(lane, rows[i : i + CHUNK]) for lane, rows in by_lane.items() for i in range(0, len(rows), CHUNK)]
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
        return [self._call(lane, entries[at : at + CHUNK]) for at in range(0, len(entries), CHUNK)]

    def _call(self, lane: Lane, entries: list[Entry]) -> Call[str]:
        return log(lane, entries, most_lines=self._most_lines, most_bytes=self._most_bytes)

    @staticmethod
    def _entries(run: Run, lines: list[tuple[int, bytes]], ttl_ms: int) -> list[Entry]:
        return [Entry(run.id, run.token, n, ttl_ms, line) for n, line in lines]
