"""Progress: reports gather, the last of each job is sent ten times a second, and always before its end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from jobfleet.codec import encode
from jobfleet.errors import JobfleetError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.progress import Report, progress
from jobfleet.store.keys import Lane
from jobfleet.worker.run.periodic_sender import Rounds
from jobfleet.worker.run.run import Run

CHUNK = 50
DETAIL_WORDS = 500


class ProgressWriter:
    """Sends the progress of a child's jobs.

    Args:
        store: How.
        rate: Sendings a second at most.
        ttl_ms: How long progress is kept.
        on_lost: Is told of a run whose lease is lost.
        on_cancel: Is told of a run that is to be cancelled.
    """

    def __init__(
        self,
        store: AsyncStore,
        *,
        rate: float,
        ttl_ms: int,
        on_lost: Callable[[Run], None],
        on_cancel: Callable[[Run], None],
    ) -> None:
        self._store = store
        self._ttl_ms = ttl_ms
        self._on_lost = on_lost
        self._on_cancel = on_cancel
        self._lock = threading.Lock()
        self._latest: dict[tuple[str, int], tuple[Run, int, bytes]] = {}
        self._rounds = Rounds(
            "progress", self.flush, has_more=lambda: bool(self._latest), every=1.0 / rate, pauses_first=False
        )

    def report(self, run: Run, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Take a report, from any thread, without waiting for Redis.

        Raises:
            EncodingError: `details` cannot travel.
        """
        record = encode([value, str(message)[:DETAIL_WORDS], dict(details) if details else None], what="progress")
        run.output.number += 1
        with self._lock:
            self._latest[run.key] = (run, run.output.number, record)
        self._rounds.wake()

    async def flush(self) -> None:
        """Send what has gathered."""
        with self._lock:
            latest, self._latest = self._latest, {}
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
                continue  # a report is a hint; the next one comes
            for (run, _), letter in zip(part, letters, strict=True):
                if letter == "l":
                    self._on_lost(run)
                elif letter == "c":
                    self._on_cancel(run)

    def take(self, run: Run) -> Report | None:
        """The report of a run that has not been sent yet, to go with its end."""
        if not run.output.number:
            return None
        with self._lock:
            kept = self._latest.pop(run.key, None)
        return Report(run.id, run.token, kept[1], kept[2]) if kept else None
