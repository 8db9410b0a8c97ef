"""Act on the waiting jobs of a selection in bounded batches, by their index or by their place in line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from jobfleet.model import JobResult, JobStatus
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.matching.filters import Seen, Stream, go_through
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import waiting_result
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Lane
from jobfleet.store.records import InWait, has_id


class Acted(NamedTuple):
    """The result of an act on some jobs.

    Attributes:
        changed: How many jobs were changed.
        stayed: The ids of the jobs that still are in the range that is searched.
    """

    changed: int
    stayed: set[str]


Act = Callable[[list[str]], Operation[Acted]]
Meant = Callable[[JobResult[Any]], bool]


def is_free(job: JobResult[Any]) -> bool:
    """Whether a job does not wait for other jobs."""
    return job.status is not JobStatus.BLOCKED


def walk_index(
    context: FleetContext,
    stream: Stream,
    is_meant: Meant,
    act: Act | None,
    is_there: Callable[[InWait], bool] = lambda _: False,
) -> Operation[int]:
    """Act on the matching jobs of an index, at most 50 per call; return how many were changed.

    Args:
        context: The context of the fleet.
        stream: The reader of the index.
        is_meant: Whether to act on a job.
        act: The act on the jobs of a page; None to count the jobs only.
        is_there: Whether a job is at its new place already, so that nothing is to be done.
    """

    def meant(seen: Seen) -> bool:
        return isinstance(seen.found, InWait) and is_meant(seen.job) and not is_there(seen.found)

    def acted(ids: list[str]) -> Operation[int]:
        return len(ids) if act is None else (yield from act(ids)).changed

    return (yield from go_through(context, stream, meant, acted))


def walk_section(
    lane: Lane, section: int, is_meant: Meant, act: Act | None, start: str = "-inf", stop: str = "+inf"
) -> Operation[int]:
    """Act on the matching waiting jobs of a section by due time, at most 50 per call; return how many were changed.

    An act moves jobs out of the range, or names the jobs that stayed in it. Without an act, the jobs are counted. A row
    without a job cannot be moved: it is passed over when the next page shows it again.
    """
    count = skip = 0
    gone: set[str] = set()
    while True:
        call = inspect.waiting(lane, section, start=start, stop=stop, skip=skip)
        now, rows = value((yield (call,)))
        fresh = [row for row in rows if row.id not in gone]  # the others were acted on in vain
        meant = [row.id for row in fresh if has_id(row) and is_meant(waiting_result(row, now))]
        acted = Acted(len(meant), set(meant)) if act is None or not meant else (yield from act(meant))
        count += acted.changed
        if len(rows) < inspect.CHUNK:
            return count
        last = rows[-1].due
        gone = set(meant) - acted.stayed
        left = sum(row.due == last and row.id not in gone for row in rows)
        start, skip = str(last), left + (skip if start == str(last) else 0)
