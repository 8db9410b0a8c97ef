"""The jobs of a flow that were cancelled because of one of them, and that a retry of the flow runs again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jobfleet.errors import JobfleetError, StoreUnavailable
from jobfleet.model import JobStatus
from jobfleet.model.result import JobDetails
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.record import FlowJob, read
from jobfleet.operations.jobs.parents import cancelling_parent, others_of
from jobfleet.operations.operation import Operation

READ_MOST = 200
"""Jobs behind a job that are read."""
REPLAYED = "replayed "
"""How a line of a job's history begins that notes a replay."""


class Stopped(NamedTuple):
    """What has stopped in the flow of a job.

    Attributes:
        flow: The id of the flow.
        name: Its label.
        jobs: How many jobs behind the job were cancelled through a parent; 0 for a job that was so itself.
        is_all: Whether all jobs behind it were read.
    """

    flow: str
    name: str
    jobs: int
    is_all: bool = True


def stopped_by(context: FleetContext, details: JobDetails[object] | None) -> Operation[Stopped | None]:
    """Return what has stopped because of a job; None if nothing has, or if a retry has run it again already.

    Only a job that was cancelled through a parent, that has failed or that was replayed can have such jobs; for any
    other one nothing is read.
    """
    if details is None or details.flow is None:
        return None
    is_dependant = details.root_cause is not None and details.callback is None
    has_failed = details.job.status is JobStatus.FAILED or any(line.startswith(REPLAYED) for line in details.history)
    if not is_dependant and not has_failed:
        return None
    try:
        stored = yield from read(context, details.flow)
    except StoreUnavailable:
        raise
    except JobfleetError:  # it has expired, cannot be read, or may not be by this Redis user
        return None
    ids = [job.id for job in stored.jobs]
    if details.job.id not in ids:
        return None
    if is_dependant:
        return Stopped(details.flow, stored.name, 0)
    behind = [ids[place] for place in _behind(stored.jobs, ids.index(details.job.id))]
    found = yield from others_of(context, behind[:READ_MOST])
    count = sum(job is not None and bool(cancelling_parent(job.error)) for job in found.values())
    return Stopped(details.flow, stored.name, count, len(behind) <= READ_MOST) if count else None


def _behind(jobs: Sequence[FlowJob], first: int) -> Iterable[int]:
    """The places of the jobs that wait for a job, directly or through others; each job is after its parents."""
    reached = {first}
    for place in range(first + 1, len(jobs)):
        if not reached.isdisjoint(jobs[place].parents):
            reached.add(place)
            yield place
