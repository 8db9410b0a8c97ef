"""`FlowInfo`: a flow at one moment, its status, and whether it is over. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from jobfleet.model import JobStatus
from jobfleet.operations.flows.record import FlowJob

FAILED = "failed"
FAILING = "failing"
_ORDER = ("running", "retrying", "queued", "scheduled", "blocked", "cancelled", "expired", "gone")


@dataclass(frozen=True, slots=True)
class FlowPart:
    """Some jobs of a flow at one moment. A flow may have 20,000 jobs, and to read all of them takes long.

    Attributes:
        id: The id of the flow.
        name: The label of the flow.
        ids: The ids of all its jobs, each after the jobs that it waits for.
        begin: The number of the first job of the part.
        jobs: The jobs of the part with their states, but without results that are in the payload store.
    """

    id: str
    name: str
    ids: tuple[str, ...]
    begin: int
    jobs: tuple[FlowJob, ...]

    @property
    def whole(self) -> FlowInfo | None:
        """The flow, if the part has all of its jobs."""
        return FlowInfo(self.id, self.name, None, self.jobs) if len(self.jobs) == len(self.ids) else None


@dataclass(frozen=True, slots=True)
class FlowInfo:
    """A flow at one moment.

    Attributes:
        id: The id of the flow.
        name: The label of the flow.
        made: When it was enqueued; None when that is not known.
        jobs: Its jobs, each after the jobs that it waits for.
        is_read: Whether the states of the jobs were read; False in the answer to an enqueue.
    """

    id: str
    name: str
    made: datetime | None
    jobs: tuple[FlowJob, ...]
    is_read: bool = True

    @property
    def status(self) -> str:
        """Its status in a word: the worst status of its jobs.

        ``failing`` if a job has failed and others have not ended yet, then ``failed``. ``completed`` if all jobs have
        completed.
        """
        if not self.is_read:
            return str(JobStatus.QUEUED)
        found = {job.status for job in self.jobs}
        if FAILED in found:
            return FAILED if self.is_done else FAILING
        return next((word for word in _ORDER if word in found), "completed")

    @property
    def is_done(self) -> bool:
        """Whether no job will run any more, unless the flow is retried or one of its jobs is replayed.

        A job that waits for the replay of a failed parent does not count as open.
        """
        return next(self.open_places(), None) is None

    def open_places(self) -> Iterator[int]:
        """Yield the numbers of the jobs that have not ended, except those that wait for a replay."""
        held: set[int] = set()
        for place, job in enumerate(self.jobs):
            if self.is_read and (job.result is None or job.result.status.is_final):
                continue
            if job.status == JobStatus.BLOCKED and self._waits_for_replay(job, held):
                held.add(place)
            else:
                yield place

    def _waits_for_replay(self, job: FlowJob, held: set[int]) -> bool:
        for parent, otherwise in zip(job.parents, job.otherwise, strict=True):
            if parent in held or (otherwise == "wait" and self.jobs[parent].has_stopped):
                return True
        return False
