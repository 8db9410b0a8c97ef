"""Count or cancel a selection of open jobs, a page at a time.

With a tag, a user or a session, only the jobs of their index are read. Otherwise every open job of the lanes is read
by its header. Memory is bounded by one page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from jobfleet.errors import ConfigError
from jobfleet.model import JobResult, JobStatus
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.cancel import cancel_ids
from jobfleet.operations.jobs.matching.filters import Filter, Stream, go_through, smallest
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import running_result, waiting_result
from jobfleet.store.calls import control, inspect
from jobfleet.store.keys import TOMBSTONE_MS, Lane
from jobfleet.store.records import has_id

PASSES = 5
"""The most passes over the lanes. Jobs move during a pass, and a further pass finds the jobs that it missed."""
RUNNING = "running"
Act = Callable[[list[str]], Operation[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection(Filter):
    """A filter of open jobs; a field that is not given matches every job.

    Raises:
        ConfigError: No field is given, or the status is one of ended jobs.
        InvalidJob: A field has a wrong value; `field` names it.
    """

    def __post_init__(self) -> None:
        Filter.__post_init__(self)
        named = (self.queue, self.function, self.status, self.group, self.since, self.until)
        if not (self.indexes or any(named)):
            raise ConfigError(
                "Nothing says which jobs are meant; give tags, queue, function, user, session, status, group, since or "
                "until."
            )
        if self.status is not None and self.status.is_final:
            raise ConfigError(f"status is {self.status.value!r}; such jobs have ended: give one of open jobs.")

    def has(self, job: JobResult[Any]) -> bool:
        """Whether a job matches; a job that was asked to stop before does not."""
        return job.cancel_requested_by is None and not job.status.is_final and self.fits(job)

    def sections(self) -> list[str]:
        """The sections of a lane that may hold such jobs."""
        waiting = [str(section) for section in inspect.SECTIONS]
        if self.status is None:
            return [RUNNING, *waiting]
        return [RUNNING] if self.status is JobStatus.RUNNING else waiting


def count_open(context: FleetContext, selection: Selection) -> Operation[int]:
    """Count the open jobs of a selection.

    Raises:
        ConfigError: The queue does not exist.
    """
    total = 0
    every = yield from lanes(context, selection.queue)
    if selection.indexes:
        return (yield from _indexed(context, every, selection, _counted))
    for lane in every:
        for section in selection.sections():
            skip = 0
            while (page := (yield from page_of(lane, section, skip))).number:
                total += sum(selection.has(row) for row in page.jobs)
                skip += page.number
    return total


def cancel_many(context: FleetContext, selection: Selection, by: str | None) -> Operation[int]:
    """Cancel the waiting jobs of a selection, and ask the running jobs to stop, in bounded batches; return how many.

    Raises:
        ConfigError: The queue does not exist.
    """
    total = 0
    every = yield from lanes(context, selection.queue)
    if selection.indexes:

        def act(ids: list[str]) -> Operation[int]:
            return cancel_ids(context, ids, by)

        return (yield from _indexed(context, every, selection, act))
    for _ in range(PASSES):
        found = 0
        for lane in every:
            for section in selection.sections():
                found += yield from _cancel(context, lane, section, selection, by)
        total += found
        if not found:
            break
    return total


def _indexed(context: FleetContext, every: Sequence[Lane], selection: Selection, act: Act) -> Operation[int]:
    """Act on the matching jobs of the smallest index; return the sum of the counts."""
    name = yield from smallest(every, selection.indexes)
    total = 0
    for lane in every:
        total += yield from go_through(context, Stream(lane, name), lambda seen: selection.has(seen.job), act)
    return total


def _counted(ids: list[str]) -> Operation[int]:
    yield from ()
    return len(ids)


def _cancel(context: FleetContext, lane: Lane, section: str, selection: Selection, by: str | None) -> Operation[int]:
    total = skip = 0
    while (page := (yield from page_of(lane, section, skip))).number:
        skip += page.number
        meant = [row.id for row in page.jobs if selection.has(row)]
        if meant:
            letters = value((yield (control.cancel(context.keys, lane, meant, by=by, ttl_ms=TOMBSTONE_MS),)))
            skip -= letters.count("c")  # these are not in this section any more
            total += sum(letter in "cr" for letter in letters)
    return total


class SectionPage(NamedTuple):
    """The number of rows of a page, and the jobs among them."""

    number: int
    jobs: list[JobResult[Any]]


def page_of(lane: Lane, section: str, skip: int) -> Operation[SectionPage]:
    """Read a page of a section of a lane, or of its running jobs."""
    if section == RUNNING:
        now, running = value((yield (inspect.running(lane, skip=skip),)))
        return SectionPage(len(running), [running_result(row, now) for row in running if has_id(row)])
    now, waiting = value((yield (inspect.waiting(lane, int(section), skip=skip),)))
    return SectionPage(len(waiting), [waiting_result(row, now) for row in waiting if has_id(row)])
