"""The lateness of recurring jobs, as seen by a process that does not fire them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from jobfleet.cron import Times, from_us
from jobfleet.errors import EncodingError, InvalidJob, JobfleetError
from jobfleet.metrics.exporter import Values
from jobfleet.operations.cron.entries import lane_at, times_of
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.store.call import Call
from jobfleet.store.calls import cron as calls
from jobfleet.store.keys import Lane


class CronLateness:
    """Computes the last fire and the lateness of each entry.

    Args:
        context: The fleet's names and settings.

    Attributes:
        names: The entries of the last reading.
    """

    def __init__(self, context: FleetContext) -> None:
        self._context = context
        self._read: dict[str, tuple[bytes, Times]] = {}
        self._next: dict[tuple[str, bytes, int], datetime | None] = {}
        self._asked: list[tuple[Lane, list[calls.Scheduled]]] = []
        self.names: list[str] = []

    def questions(
        self, kept: Iterable[calls.Scheduled], queues: Mapping[str, tuple[int, int]]
    ) -> list[Call[list[tuple[int, str]]]]:
        """Return the calls that read the progress mark of each entry; pass their replies to `gauges`.

        Args:
            kept: The times of the entries.
            queues: Numbers of home lanes and of lanes by queue.
        """
        by_lane: dict[Lane, list[calls.Scheduled]] = {}
        for row in kept:
            entry = self._entry(row)
            if entry is not None:
                home = queues.get(entry.queue, (self._context.config.lanes.get(entry.queue, 1), 1))[0]
                by_lane.setdefault(lane_at(self._context.keys, entry, home), []).append(row)
        self._asked = [
            (lane, rows[at : at + calls.CHUNK])
            for lane, rows in by_lane.items()
            for at in range(0, len(rows), calls.CHUNK)
        ]
        self.names = [row.name for _, rows in self._asked for row in rows]
        for name in self._read.keys() - set(self.names):
            del self._read[name]
        return [calls.marks(lane, [row.name for row in rows]) for lane, rows in self._asked]

    def gauges(self, answers: Sequence[Any], now_us: int) -> dict[str, Values]:
        """Return the time of the last fire, and the seconds for which a fire has been due, by entry.

        Args:
            answers: The replies to `questions`, in the same order.
            now_us: Redis's time in µs.
        """
        last: Values = {}
        late: Values = {}
        following: dict[tuple[str, bytes, int], datetime | None] = {}
        for (_, rows), answer in zip(self._asked, answers, strict=True):
            if isinstance(answer, JobfleetError):
                continue
            for row, (mark, _) in zip(rows, answer, strict=True):
                if mark:
                    last[row.name,] = mark / 1e6
                begin = max(mark, row.since)
                key = (row.name, row.record, begin)
                due = following[key] = self._next[key] if key in self._next else self._following(row, begin)
                is_due = due is not None and row.paused is None
                late[row.name,] = max(0.0, now_us / 1e6 - due.timestamp()) if is_due and due is not None else 0.0
        self._next = following
        return {"cron_last_fire_timestamp_seconds": last, "cron_lateness_seconds": late}

    def _entry(self, row: calls.Scheduled) -> Times | None:
        known = self._read.get(row.name)
        if known is None or known[0] != row.record:
            try:
                known = (row.record, times_of(row.record))
            except (InvalidJob, EncodingError):
                return None  # a later version wrote it; the cron duty logs this
            self._read[row.name] = known
        return known[1]

    def _following(self, row: calls.Scheduled, begin_us: int) -> datetime | None:
        fire = self._read[row.name][1].cron.next(from_us(begin_us))
        return None if fire is None else fire.at
