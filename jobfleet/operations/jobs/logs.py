"""Read the lines that a job has logged."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from jobfleet.errors import JobNotFound
from jobfleet.model.logline import LogLine
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import result_of
from jobfleet.store.calls import inspect
from jobfleet.store.calls.log import PAGE, lines
from jobfleet.store.records import Line

EVERYTHING = 1_000_000


@dataclass(slots=True)
class Reading:
    """How far a log has been read.

    Attributes:
        job_id: The job.
        tail: How many of the last lines are wanted at most; None for all.
        after: Token and number of the last line seen.
        is_over: Whether nothing more will come.
        is_more: Whether more is there already.
    """

    job_id: str
    tail: int | None = None
    after: tuple[int, int] = (0, 0)
    is_over: bool = False
    is_more: bool = False

    def take(self, found: Sequence[Line]) -> list[LogLine]:
        """The next lines; where some were let go, a line says how many."""
        told: list[LogLine] = []
        for line in found:
            token, n = self.after
            gap = line.n - (n if line.token == token else 0) - 1
            if gap > 0 and (self.tail is None or token):
                words = f"… {gap:,} {'line' if gap == 1 else 'lines'} dropped"
                told.append(LogLine(_moment(line.at), "WARNING", words, line.token))
            told.append(LogLine(_moment(line.at), logging.getLevelName(line.level), line.text, line.token))
            self.after = (line.token, line.n)
        self.is_more = len(found) == PAGE
        return told


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)


def read(context: FleetContext, reading: Reading) -> Operation[list[LogLine]]:
    """The next page of a job's log, and whether the job has ended.

    Raises:
        JobNotFound: Neither the job nor a log of it is known.
    """
    lane = context.keys.lane_of(reading.job_id)
    tail = EVERYTHING if reading.tail is None or reading.after[0] else reading.tail
    # In this order: what a job logs is written before its end is.
    calls: list[Any] = [
        inspect.status(lane, (reading.job_id,)),
        lines(lane, reading.job_id, after=reading.after, tail=tail),
    ]
    answers = yield calls
    (now, found), page = value(answers[:1]), value(answers[1:])
    told = reading.take(page)
    try:
        reading.is_over = result_of(reading.job_id, found[0], now, limits=context.limits).status.is_final
    except JobNotFound:
        if not reading.after[0]:
            raise
        reading.is_over = True
    return told
