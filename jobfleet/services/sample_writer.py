"""Writes the points of a fleet's samples: steps of ten seconds, and minutes as soon as they are over.

With thousands of series, packing and merging takes longer than other duties of the process can wait, so it is done in
threads.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from jobfleet.errors import JobfleetError
from jobfleet.event_loop import in_thread
from jobfleet.operations.operation import batches
from jobfleet.samples.point import TOTAL, Point, Points, follow, pack, pack_mark, unpack, unpack_marks
from jobfleet.samples.resolution import COARSE, FINE, Resolution
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import samples as calls
from jobfleet.store.keys import Keyspace

log = logging.getLogger("jobfleet.reaper")
MOST_SERIES = 10_000
"""Maximum number of series in a chunk. A series that has something in each step takes about 200 kB."""
AT_ONCE = 20
"""Writes per round trip."""
STEPS = COARSE.step // FINE.step
"""Steps of ten seconds in a minute."""
NOTHING = (b"", 1)


class SampleWriter:
    """Writes points, and remembers those of the last chunk.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        process: The id of the process that has the duty.
        most: Maximum number of series.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, process: str, *, most: int = MOST_SERIES) -> None:
        self._store, self._keys, self._process, self._most = store, keys, process, most
        self._part = ""
        self._points: dict[str, Points] = {}
        self._marks: dict[int, int] = {}
        self._is_full = False

    async def load(self, last: int | None) -> None:
        """Read the chunk of the last step, which another process may have written."""
        self._part, self._points, self._marks = "" if last is None else FINE.place(last)[0], {}, {}
        if self._part:
            values = await whole(self._store, self._keys, self._part)
            self._marks = unpack_marks(values.pop("", b""))
            marks = self._marks
            self._points = await in_thread(
                lambda: {name: points for name, value in values.items() if (points := unpack(value, marks))}
            )

    async def write(self, index: int, epoch: int, series: Mapping[str, Point]) -> bool:
        """Write the points of a step; False if another process has the duty by now."""
        part, step = FINE.place(index)
        if part != self._part:
            self._part, self._points, self._marks = part, {}, {}
        if step in self._marks:  # the clock of Redis was set back
            for points in self._points.values():
                points.pop(step, None)
        for name, point in series.items():
            if point and self._has_room(name):
                self._points.setdefault(name, {})[step] = point
        self._marks[step] = epoch
        rows = [(name, points[step]) for name, points in self._points.items() if step in points]
        return await self._write(FINE, part, await in_thread(_packed, rows, step, epoch))

    def mark(self, index: int, epoch: int) -> tuple[str, bytes, int]:
        """Return the chunk of a step, its mark, and the lifetime of the chunk, for the commit."""
        part, step = FINE.place(index)
        return part, pack_mark(step, epoch), FINE.ttl_ms

    async def write_minute(self, last: int | None, index: int, epoch: int) -> tuple[str, bytes, int] | None:
        """Write the points of the minute of the last step, if the minute is over.

        Returns its chunk, its mark and the lifetime of the chunk, for the commit; None if another process has the duty.
        """
        if last is None or last // STEPS >= index // STEPS:
            return (COARSE.place(index // STEPS)[0], *NOTHING)
        part, minute = COARSE.place(last // STEPS)
        _, step = FINE.place(last)
        steps = range(step - step % STEPS, step - step % STEPS + STEPS)
        if not any(one in self._marks for one in steps):
            return (part, *NOTHING)
        rows = await in_thread(lambda: _packed(self._merged(steps), minute, epoch))
        if not await self._write(COARSE, part, rows):
            return None
        return part, pack_mark(minute, epoch), COARSE.ttl_ms

    def _merged(self, steps: Iterable[int]) -> Iterable[tuple[str, Point]]:
        for name, points in self._points.items():
            merged: Point = {}
            for step in steps:
                if step in self._marks:  # a step without a point is one in which nothing was counted or seen
                    follow(merged, points.get(step, {}))
            if merged:
                yield name, merged

    async def _write(self, resolution: Resolution, part: str, rows: list[tuple[str, bytes]]) -> bool:
        made = [
            calls.write_samples(self._keys, self._process, part, page, ttl_ms=resolution.ttl_ms)
            for page in batches(rows, calls.SERIES)
        ]
        for some in batches(made, AT_ONCE):
            answers: list[Any] = await self._store.run_many(some)
            for answer in answers:
                if isinstance(answer, JobfleetError):
                    raise answer
            if not all(answers):
                return False
        return True

    def _has_room(self, name: str) -> bool:
        if name == TOTAL or name in self._points or len(self._points) < self._most:
            return True
        if not self._is_full:
            self._is_full = True
            log.warning("samples.full series=%d: further queues and functions have no history", self._most)
        return False


def _packed(rows: Iterable[tuple[str, Point]], step: int, epoch: int) -> list[tuple[str, bytes]]:
    return [(name, pack(step, epoch, point)) for name, point in rows]


async def whole(store: AsyncStore, keys: Keyspace, part: str) -> dict[str, bytes]:
    """Read all series of a chunk, or all counters."""
    values: dict[str, bytes] = {}
    cursor = b"0"
    while True:
        page = await store.run(calls.sampled(keys, part, cursor))
        values |= page.values
        cursor = page.cursor
        if cursor == b"0":
            return values
