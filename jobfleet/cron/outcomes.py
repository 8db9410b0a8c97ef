"""What came of the fires of a recurring job, in a few numbers that outlive the results of its jobs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from jobfleet.clock import LATEST_US
from jobfleet.errors import InvalidJob
from jobfleet.model import JobStatus

OPEN_MOST = 100
"""Jobs of one entry whose ends are awaited; of more, the oldest count as unknown."""
FAILURES = frozenset({JobStatus.FAILED, JobStatus.EXPIRED})
"""The ends that count as a failure. A cancelled job is neither a failure nor a success."""


class FiredJob(NamedTuple):
    """The job of a fire.

    Attributes:
        at: The planned time of the fire, µs since 1970.
        id: The id of the job.
    """

    at: int
    id: str


class End(NamedTuple):
    """The end of the job of a fire.

    Attributes:
        at: The planned time of the fire, µs since 1970.
        id: The id of the job.
        status: Its final status.
        ended: When it ended, µs since 1970.
    """

    at: int
    id: str
    status: JobStatus
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FireOutcomes:
    """What came of the fires of a recurring job so far.

    Attributes:
        until: The planned time of the last fire that is counted, µs since 1970; 0 for none.
        fires: The fires that made a job.
        completed: Those of them whose job has completed.
        failures: How many jobs in a row failed or expired, in the order in which they ended.
        unknown: The fires whose job was gone before its end was seen.
        open: The fires whose jobs have not ended, oldest first.
        success: The last job that completed.
        last: The job that ended last.
    """

    until: int = 0
    fires: int = 0
    completed: int = 0
    failures: int = 0
    unknown: int = 0
    open: tuple[FiredJob, ...] = ()
    success: End | None = None
    last: End | None = None

    @property
    def watched(self) -> tuple[FiredJob, ...]:
        """The jobs whose states may change the numbers: open ones, and the last failed one, which may be replayed."""
        if not self.failures or self.last is None or self.last.status not in FAILURES:
            return self.open
        return (*self.open, FiredJob(self.last.at, self.last.id))

    @property
    def has_never_completed(self) -> bool:
        """Whether fires were counted, the end of each is known, and none of them is a completion."""
        return bool(self.fires) and not self.completed and not self.unknown

    def with_fires(self, fires: Iterable[FiredJob], until: int) -> FireOutcomes:
        """Count further fires.

        Args:
            fires: The fires that made a job, in any order; those up to `until` of this object are counted already.
            until: The planned time of the last fire that was looked at.
        """
        fresh = sorted(one for one in fires if one.at > self.until)
        every = (*self.open, *fresh)
        left = len(every) - OPEN_MOST
        return replace(
            self,
            until=max(self.until, until),
            fires=self.fires + len(fresh),
            unknown=self.unknown + max(0, left),
            open=every[left:] if left > 0 else every,
        )

    def with_ends(self, ends: Mapping[str, End | None]) -> FireOutcomes:
        """Count the ends of jobs.

        Args:
            ends: The ends by id; None for a job of which nothing is known any more.
        """
        known, last = self, self.last
        again = ends.get(last.id) if last is not None and last.status in FAILURES else None
        if again is not None and again.status is JobStatus.COMPLETED:  # it was replayed
            known = _counted(known, again)
        waited = {one.id for one in self.open}
        for end in sorted((one for one in ends.values() if one is not None), key=lambda one: one.ended):
            if end.id in waited:
                known = _counted(known, end)
        gone = {job_id for job_id in waited if job_id in ends and ends[job_id] is None}
        left = tuple(one for one in known.open if one.id not in ends)
        return replace(known, open=left, unknown=known.unknown + len(gone))

    def moved(self, ids: Mapping[str, str]) -> FireOutcomes:
        """Await jobs under the ids that they got in other queues."""
        return replace(self, open=tuple(FiredJob(one.at, ids.get(one.id, one.id)) for one in self.open))

    def dump(self) -> dict[str, object]:
        """Return it as plain data."""
        numbers = {name: getattr(self, name) for name in NUMBERS}
        found: dict[str, End | None] = {name: getattr(self, name) for name in ENDS}
        ends = {name: [one.at, one.id, str(one.status), one.ended] for name, one in found.items() if one is not None}
        return {**numbers, **ends, "open": [[*one] for one in self.open]}

    @classmethod
    def load(cls, record: Any) -> FireOutcomes:
        """Build it from the output of `dump`; unknown keys are ignored.

        Raises:
            InvalidJob: The record is not valid.
        """
        try:
            found: dict[str, Any] = {name: _number(record[name]) for name in NUMBERS}
            found |= {name: _end(record[name]) for name in ENDS if name in record}
            return cls(**found, open=tuple(FiredJob(_number(at), str(job)) for at, job in record["open"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidJob(f"The outcomes of this cron entry cannot be read: {error!r}.", field="cron") from None


def _counted(known: FireOutcomes, end: End) -> FireOutcomes:
    if end.status is JobStatus.COMPLETED:
        return replace(known, last=end, success=end, completed=known.completed + 1, failures=0)
    return replace(known, last=end, failures=known.failures + (end.status in FAILURES))


NUMBERS = ("until", "fires", "completed", "failures", "unknown")
ENDS = ("success", "last")


def _number(given: Any) -> int:
    if type(given) is not int or not 0 <= given <= LATEST_US:
        raise ValueError(f"{given!r:.100} is not a number or time")
    return given


def _end(given: Any) -> End:
    at, job_id, status, ended = given
    return End(_number(at), str(job_id), JobStatus(status), _number(ended))
