"""Reading a job's own log: a page at a time, and on while the job runs. See `verbs` for the form."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from jobfleet.client import verbs
from jobfleet.client.base import Patience
from jobfleet.client.report import result_of
from jobfleet.client.space import Space
from jobfleet.client.verbs import Verb, value
from jobfleet.errors import JobNotFound
from jobfleet.store.calls import inspect
from jobfleet.store.calls.log import PAGE, lines
from jobfleet.store.pubsub import AsyncListener, Listener
from jobfleet.store.values import Line

if TYPE_CHECKING:
    from jobfleet.client.aio import AsyncFleet
    from jobfleet.client.sync import Fleet

EVERYTHING = 1_000_000
POLL_S = 0.5
"""Seconds between looks while a job is followed; its end is noticed at once."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of a job's own log.

    Attributes:
        at: When, by the worker's clock.
        level: ``INFO``, ``WARNING`` …
        text: What was logged, with its traceback; may have several lines.
        token: The run that logged it.
    """

    at: datetime
    level: str
    text: str
    token: int


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


def read(space: Space, reading: Reading) -> Verb[list[LogLine]]:
    """The next page of a job's log, and whether the job has ended.

    Raises:
        JobNotFound: Neither the job nor a log of it is known.
    """
    lane = space.keys.lane_of(reading.job_id)
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
        reading.is_over = result_of(reading.job_id, found[0], now, limits=space.limits).status.is_final
    except JobNotFound:
        if not reading.after[0]:
            raise
        reading.is_over = True
    return told


def reading(fleet: Fleet, how_far: Reading, *, follow: bool) -> Iterator[LogLine]:
    """The lines of a log one after the other; the events of the job hint that there may be more."""
    channel = fleet.space.keys.lane_of(how_far.job_id).job_events(how_far.job_id)
    listener = Listener(fleet.store.at, (channel,)).subscribed() if follow else None
    patience = Patience(fleet.config, None)
    try:
        while True:
            if follow and patience.should_mark:
                fleet._do(verbs.listen(fleet.space, how_far.job_id))  # noqa: SLF001 - a part of it
            yield from fleet._do(read(fleet.space, how_far))  # noqa: SLF001 - a part of it
            if how_far.is_more:
                continue
            if listener is None or how_far.is_over:
                return
            listener.get(POLL_S)
    finally:
        if listener is not None:
            listener.close()


async def areading(fleet: AsyncFleet, how_far: Reading, *, follow: bool) -> AsyncIterator[LogLine]:
    """The same, awaited."""
    channel = fleet.space.keys.lane_of(how_far.job_id).job_events(how_far.job_id)
    listener = AsyncListener(fleet.store.at, (channel,)) if follow else None
    patience = Patience(fleet.config, None)
    try:
        if listener is not None:
            await listener.subscribed()
        while True:
            if follow and patience.should_mark:
                await fleet._do(verbs.listen(fleet.space, how_far.job_id))  # noqa: SLF001 - a part of it
            for line in await fleet._do(read(fleet.space, how_far)):  # noqa: SLF001 - a part of it
                yield line
            if how_far.is_more:
                continue
            if listener is None or how_far.is_over:
                return
            await listener.get(POLL_S)
    finally:
        if listener is not None:
            await listener.close()
