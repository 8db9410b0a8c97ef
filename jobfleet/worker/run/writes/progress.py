"""Progress reports: the last report of each job is sent ten times per second, and always before the job ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping

from jobfleet.codec import encode
from jobfleet.errors import JobfleetError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.run import Report, progress
from jobfleet.store.keys import Lane
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writes.periodic_sender import PeriodicSender

CHUNK = 50
DETAIL_WORDS = 500


class ProgressWriter:
    """Sends the progress of a child's jobs.

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
        by_lane: dict[Lane, list[tuple[Run, Report]]] = {}
        for run, n, record in latest.values():
            by_lane.setdefault(run.lane, []).append((run, Report(run.id, run.token, n, record)))
        parts = [(lane, rows[i : i + CHUNK]) for lane, rows in by_lane.items() for i in range(0, len(rows), CHUNK)]
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
