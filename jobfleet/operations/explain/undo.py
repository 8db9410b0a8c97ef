"""Find the job that undoes the steps of an ended job."""

from __future__ import annotations

from typing import Any, NamedTuple

from jobfleet.codec import decode
from jobfleet.errors import EncodingError
from jobfleet.functions.steps import UNDO
from jobfleet.model import JobResult, JobStatus
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.poll import poll_many
from jobfleet.operations.operation import Operation
from jobfleet.operations.unreadable import read_or
from jobfleet.store.calls import run
from jobfleet.store.records import FleetSeen

GONE = "gone"
MOST_LANES = 64
"""In how many lanes of the queue the job is looked for."""


class Undo(NamedTuple):
    """The job that undoes the steps of another one.

    Attributes:
        id: Its id.
        status: Its status in a word; ``gone`` when it is not known.
    """

    id: str
    status: str


def undo_of(context: FleetContext, job: JobResult[Any] | None, fleet: FleetSeen) -> Operation[Undo | None]:
    """Return the job that undoes the steps of a job; None if nothing is left to undo.

    Its lane follows from the number of lanes at the time of its enqueue, so it is looked for in each lane of the queue.

    Args:
        context: The context of the fleet.
        job: The job whose steps are undone.
        fleet: The queues of the fleet.
    """
    if job is None or not job.status.is_final or job.status is JobStatus.COMPLETED or job.moved_to:
        return None
    lane = context.keys.lane_of(job.id)
    (answer,) = yield (run.steps(lane, job.id, UNDO)._replace(mends=False),)
    kept = read_or(answer, {}, [])
    if UNDO not in kept:
        return None
    try:
        suffix = str(decode(kept[UNDO], what="undo"))
    except EncodingError:
        return None
    lanes = context.lanes_of(lane.queue, fleet.queues.get(lane.queue, (1, 1))[1])[:MOST_LANES]
    ids = [one.id_prefix + suffix for one in lanes]
    found = [row for row in (yield from poll_many(context, ids)) if row is not None]
    return Undo(found[0].id, str(found[0].status)) if found else Undo(lane.id_prefix + suffix, GONE)
