"""The counters of lanes and workers at the last sample of a fleet, and what was counted since."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgpack

from jobfleet.samples.point import CANCELLED, COMPLETED, ENQUEUED, EXPIRED, FAILED, RETRIED, Point
from jobfleet.samples.report import Name, Report, difference, read_report
from jobfleet.store.keys import Lane
from jobfleet.store.rows import number_of

TOTALS = {
    "enqueued": ENQUEUED, "completed": COMPLETED, "failed": FAILED, "retried": RETRIED, "cancelled": CANCELLED,
    "expired": EXPIRED,
}  # fmt: skip
"""The counts of a lane, and the fields of a point for them."""
LANE, WORKER, READ_AT = "lane ", "worker ", "read"
FORGOTTEN = 360
"""Samples after which the counters of a worker that is gone, and reports nothing, are deleted."""


class Counters:
    """The counters at the last sample. They are stored with each sample, so that any process can take over.

    Attributes:
        read_at: When the reports of workers were last read, in µs of Redis's clock.
    """

    def __init__(self) -> None:
        self.read_at = 0
        self._lanes: dict[str, list[int]] = {}
        self._reports: dict[str, Report] = {}
        self._silent: dict[str, int] = {}  # worker → samples since its last report
        self._changed: dict[str, bytes] = {}

    def load(self, values: Mapping[str, bytes]) -> None:
        """Take the stored counters in place of those in memory. What cannot be read is left out."""
        self.read_at = number_of(values.get(READ_AT, b"0"))
        for kept in (self._lanes, self._reports, self._silent, self._changed):
            kept.clear()
        for name, value in values.items():
            if name.startswith(WORKER) and (report := read_report(value)) is not None:
                self._reports[name.removeprefix(WORKER)] = report
            elif name.startswith(LANE) and (counts := _counts(value)) is not None:
                self._lanes[name.removeprefix(LANE)] = counts

    def lane(self, lane: Lane, totals: Mapping[str, int]) -> Point:
        """Return what a lane has counted since the last sample, and remember its counters.

        A lane that is new has counted all of it. A counter that fell by less than half has lost its last writes in a
        failover; one that fell further began again, as after the loss of all data.
        """
        name = f"{lane.queue}:{lane.index}"
        now = [max(0, totals.get(word, 0)) for word in TOTALS]
        before = self._lanes.get(name)
        if now != before:
            self._lanes[name] = now
            self._changed[LANE + name] = msgpack.packb(now)
        grown = now if before is None else [_grown(*pair) for pair in zip(now, before, strict=True)]
        return {field: count for field, count in zip(TOTALS.values(), grown, strict=True) if count}

    def report(self, worker: str, encoded: bytes) -> dict[Name, Point]:
        """Return what a worker has counted since the last sample, by queue and function, and remember its report."""
        report, before = read_report(encoded), self._reports.get(worker)
        self._silent[worker] = 0
        if report is None or report == before:
            return {}
        if before is None:
            is_new = report.first == 0 or report.first >= self.read_at
            new = report.rows if is_new else {}  # it was counted before its counters were lost
        else:
            new = {}
            for name, row in report.rows.items():
                if (grown := difference(row, before.rows.get(name, {}))) is None:
                    return {}  # an older report that came late
                if grown:
                    new[name] = grown
        self._reports[worker] = report
        self._changed[WORKER + worker] = encoded
        return new

    def end(self, lanes: Collection[tuple[str, int]], workers: Collection[str]) -> dict[str, bytes]:
        """Return the counters that have changed; an empty value deletes one.

        Args:
            lanes: Queue and index of the lanes that exist.
            workers: The live workers.
        """
        places = {f"{queue}:{index}" for queue, index in lanes}
        for name in [name for name in self._lanes if name not in places]:
            del self._lanes[name]
            self._changed[LANE + name] = b""
        for worker in list(self._reports):
            silent = self._silent[worker] = 0 if worker in workers else self._silent.get(worker, 0) + 1
            if silent > FORGOTTEN:
                del self._reports[worker], self._silent[worker]
                self._changed[WORKER + worker] = b""
        changed, self._changed = self._changed, {}
        return {**changed, READ_AT: b"%d" % self.read_at}


def _grown(now: int, before: int) -> int:
    if now >= before:
        return now - before
    return 0 if before < 2 * now else now


def _counts(value: bytes) -> list[int] | None:
    try:
        given = msgpack.unpackb(value)
    except Exception:  # noqa: BLE001 - msgpack raises many kinds
        return None
    is_whole = isinstance(given, list) and len(given) == len(TOTALS) and all(type(one) is int for one in given)
    return given if is_whole else None
