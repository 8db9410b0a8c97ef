"""Count the jobs that an action on many jobs would change, by reading a bounded number of jobs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from jobfleet.model import JobResult, JobStatus, Priority, check_queue
from jobfleet.model.option_types import Seconds
from jobfleet.model.status import check_number
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.matching.filters import Seen, Stream, read, smallest
from jobfleet.operations.jobs.matching.selection import RUNNING, Selection, page_of
from jobfleet.operations.jobs.reschedule import change_of
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation
from jobfleet.store.keys import BANDS, Lane
from jobfleet.store.records import InWait

LEAST_PER_PAGE = 10
"""What a page of an index counts for at least: it may have many entries of jobs that were removed."""


class Matching(NamedTuple):
    """The jobs that an action would change.

    Attributes:
        number: How many of the jobs that were read.
        read: How many jobs were read.
        is_all: Whether all jobs were read that could match; otherwise there may be more than `number`.
    """

    number: int
    read: int
    is_all: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """An action on many jobs.

    Attributes:
        act: What would be done.
        to: The queue that jobs would move to.
        band: The priority band that jobs would get; None to keep it.
        is_timed: Whether jobs would get another due time.
    """

    act: Literal["cancel", "reschedule", "move"]
    to: str | None = None
    band: int | None = None
    is_timed: bool = False

    def concerns(self, job: JobResult[Any], band: int | None) -> bool:
        """Whether the action would change an open job.

        Args:
            job: The job.
            band: Its priority band; None if it runs.
        """
        if self.act == "cancel":
            return True
        is_free = job.status is not JobStatus.BLOCKED
        if band is None or not (is_free or (self.act == "reschedule" and not self.is_timed)):
            return False
        return job.queue != self.to if self.act == "move" else self.is_timed or band != self.band


def planned(
    act: Literal["cancel", "reschedule", "move"],
    *,
    to: str | None = None,
    delay: Seconds | None = None,
    priority: Priority | None = None,
) -> Planned:
    """Check the values of an action on many jobs.

    Raises:
        InvalidJob: A value is missing or wrong.
    """
    if act == "move":
        check_queue(to or "")
        return Planned(act=act, to=to)
    if act == "cancel":
        return Planned(act=act)
    change = change_of(None, delay, priority)
    return Planned(act=act, band=change.band, is_timed=change.delay is not None)


@dataclass(slots=True)
class _Tally:
    """What was counted so far."""

    most: int
    count: int = 0
    read: int = 0
    spent: int = 0

    def add(self, jobs: int, meant: int) -> None:
        """Count a page."""
        self.count += meant
        self.read += jobs
        self.spent += jobs

    @property
    def is_full(self) -> bool:
        """Whether no further page is read."""
        return self.spent >= self.most


def count_matching(context: FleetContext, chosen: Selection, planned: Planned, *, most: int) -> Operation[Matching]:
    """Count the jobs of a selection that an action would change; stop when about `most` jobs were read.

    Raises:
        ConfigError: The queue does not exist.
        InvalidJob: `most` is not a whole number from 1.
    """
    check_number(most, field="most")
    every = yield from lanes(context, chosen.queue)
    tally = _Tally(most)
    if chosen.indexes:
        is_all = yield from _of_index(context, every, chosen, planned, tally)
    else:
        is_all = yield from _of_sections(every, chosen, planned, tally)
    return Matching(tally.count, tally.read, is_all)


def _of_index(
    context: FleetContext, every: Sequence[Lane], chosen: Selection, planned: Planned, tally: _Tally
) -> Operation[bool]:
    """Count in the smallest index; return whether all of it was read."""
    name = yield from smallest(every, chosen.indexes)
    for lane in every:
        stream = Stream(lane, name)
        while not tally.is_full and (rows := (yield from read(context, stream))) is not None:
            meant = [row for row in rows if chosen.has(row.job) and planned.concerns(row.job, _band(row))]
            tally.add(len(rows), len(meant))
            tally.spent += max(0, LEAST_PER_PAGE - len(rows))
        if tally.is_full and (stream.ready or not stream.is_over):
            return False
    return True


def _band(row: Seen) -> int | None:
    return row.found.band if isinstance(row.found, InWait) else None


def _of_sections(every: Sequence[Lane], chosen: Selection, planned: Planned, tally: _Tally) -> Operation[bool]:
    """Count in all sections of the lanes; return whether all of them were read."""
    for lane in every:
        for section in chosen.sections():
            band = None if section == RUNNING else int(section) % BANDS
            skip = 0
            while (page := (yield from page_of(lane, section, skip))).number:
                if tally.is_full:
                    return False
                meant = [job for job in page.jobs if chosen.has(job) and planned.concerns(job, band)]
                tally.add(page.number, len(meant))
                skip += page.number
    return True
