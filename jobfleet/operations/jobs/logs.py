"""Read the log of a job."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobfleet.errors import JobNotFound
from jobfleet.model.result import LogLine
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import result_of
from jobfleet.store.calls import inspect
from jobfleet.store.calls.run import PAGE, lines
from jobfleet.store.records import Line

EVERYTHING = 1_000_000


@dataclass(slots=True)
class Reading:
    """How far a log has been read.

    Attributes:
        job_id: The job.
        tail: The most stored lines to return by the first read; None for all, and after the first read.
        after: The fencing token and the number of the last line that was read.
        is_over: Whether the job has ended, so that no more lines will come.
        is_more: Whether more lines are stored already.
    """

    job_id: str
    tail: int | None = None
    after: tuple[int, int] = (0, 0)
    is_over: bool = False
    is_more: bool = False

    def take(self, found: Sequence[Line]) -> list[LogLine]:
        """Convert the next lines; where lines were dropped, a line states how many."""
        only_new, is_first = self.tail == 0, self.tail is not None
        rows: list[LogLine] = []
        for line in found:
            token, n = self.after
            gap = line.n - (n if line.token == token else 0) - 1
            if gap > 0 and (token or not is_first):
                words = f"… {gap:,} {'line' if gap == 1 else 'lines'} dropped"
                rows.append(LogLine(_moment(line.at), "WARNING", words, line.token))
            rows.append(LogLine(_moment(line.at), logging.getLevelName(line.level), line.text, line.token))
            self.after = (line.token, line.n)
        self.is_more = len(found) == PAGE
        self.tail = None
        return [] if only_new else rows


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)


def read(context: FleetContext, reading: Reading) -> Operation[list[LogLine]]:
    """Read the next page of the log of a job, and note in `reading` whether the job has ended.

    Raises:
        JobNotFound: Neither the job nor its log is known.
    """
    lane = context.keys.lane_of(reading.job_id)
    # With a tail of 0, the last stored line is read too: it marks where the new lines begin.
    tail = EVERYTHING if reading.tail is None else max(1, reading.tail)
    # The status is read first, because a job writes its lines before its end.
    calls: list[Any] = [
        inspect.status(lane, (reading.job_id,)),
        lines(lane, reading.job_id, after=reading.after, tail=tail),
    ]
    answers = yield calls
    (now, found), page = value(answers[:1]), value(answers[1:])
    rows = reading.take(page)
    try:
        reading.is_over = result_of(reading.job_id, found[0], now, limits=context.limits).status.is_final
    except JobNotFound:
        if not reading.after[0]:
            raise
        reading.is_over = True
    return rows
