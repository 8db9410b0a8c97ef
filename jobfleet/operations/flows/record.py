"""The record of a flow: its jobs, the jobs that they have added, and `FlowInfo`, the flow at one moment."""

from __future__ import annotations

import re
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

from jobfleet.codec import decode, encode
from jobfleet.codec.values import encode_row, list_of, map_of
from jobfleet.errors import EncodingError, JobNotFound
from jobfleet.model import Job, JobResult, JobStatus
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.unblock import RECORD
from jobfleet.operations.operation import Operation, value
from jobfleet.store.calls import flow as calls
from jobfleet.store.rows import NOT_READ, ids_of, report

Row = tuple[str, str, str, tuple[int, ...], tuple[str, ...], int]
"""A job of a flow: its id, label, function, parents, policies and band, as in `FlowJob`."""
OTHERWISE = {"c": "cancel", "r": "run", "w": "wait"}


@dataclass(frozen=True, slots=True)
class FlowJob:
    """One job of a flow.

    Attributes:
        id: The id of the job.
        name: The label of the job.
        function: The name of its function.
        parents: The numbers, in the flow, of the jobs that it waits for.
        otherwise: For each of these, the policy if it does not complete: ``cancel``, ``run`` or ``wait``.
        band: The priority band; 0 is the most urgent.
        result: The result of the job; None when it is not known any more.
        added_by: The id of the job that added it to the flow; None for a job of the original flow.
        label: Its arguments in a few words if other jobs of the flow have its name; otherwise empty.
        is_shared: Whether it is not the flow's own: it held the unique key of a job of the flow, whose place it takes.
    """

    id: str
    name: str
    function: str
    parents: tuple[int, ...]
    otherwise: tuple[str, ...]
    band: int
    result: JobResult[Any] | None = None
    added_by: str | None = None
    label: str = ""
    is_shared: bool = False

    @property
    def status(self) -> str:
        """Its status in a word; ``gone`` when its result is not known."""
        return str(self.result.status) if self.result is not None else "gone"

    @property
    def has_stopped(self) -> bool:
        """Whether it has ended and did not complete."""
        return self.result is not None and self.result.status.is_final and self.result.status is not JobStatus.COMPLETED


class FlowRecords(NamedTuple):
    """The two records of a flow.

    Attributes:
        begun: The record while the jobs are written.
        whole: The record when all of them are written.
    """

    begun: bytes
    whole: bytes


def seal_flow(
    name: str,
    rows: Iterable[Sequence[Any]],
    labels: Mapping[str, str],
    last: Sequence[str],
    folded: Sequence[str] = (),
    on_failure: str | None = None,
    shared: Sequence[str] = (),
) -> FlowRecords:
    """Encode the records of a flow.

    Args:
        name: The label of the flow.
        rows: All its jobs: of each its row, and the id of the job that added it if one did.
        labels: The labels of jobs, by id.
        last: The ids of the jobs whose guards are lifted last, in each lane.
        folded: The stored names of the additions whose jobs are among `rows`.
        on_failure: The id of its callback; None if it has none.
        shared: The ids of the jobs that are not its own.

    Raises:
        EncodingError: The record is too large.
    """
    parts = [
        encode_row([job_id, label, function, list(parents), list(otherwise), *more], what="flow")
        for job_id, label, function, parents, otherwise, *more in rows
    ]
    fields = {"name": encode(name, what="flow"), "jobs": list_of(parts)}
    more_fields: dict[str, object] = {"labels": dict(labels)} if labels else {}
    more_fields["last"] = list(last)
    if folded:
        more_fields["folded"] = list(folded)
    if on_failure is not None:
        more_fields["on_failure"] = on_failure
    if shared:
        more_fields["shared"] = list(shared)
    for field, found in more_fields.items():
        fields[field] = encode(found, limits=RECORD, what="flow")
    begun, whole = (
        map_of({**fields, "whole": encode(is_whole)}, limits=RECORD, what="flow") for is_whole in (False, True)
    )
    return FlowRecords(begun, whole)


def row_of(job: FlowJob) -> list[object]:
    """Convert a job of a flow to its stored row."""
    return [job.id, job.name, job.function, list(job.parents), list(job.otherwise), job.band]


def job_of(row: Sequence[Any], added_by: str | None = None) -> FlowJob:
    """Convert a stored row to a job of a flow.

    Raises:
        ValueError: It is not a row that jobfleet writes.
    """
    job_id, name, function, parents, otherwise, band, *more = row
    texts, numbers = (job_id, name, function, *otherwise, *(one for one in more if one is not None)), (*parents, band)
    if not (all(isinstance(one, str) for one in texts) and all(isinstance(one, int) for one in numbers)):
        raise ValueError(f"{reprlib.repr(row)} is not a job of a flow")
    return FlowJob(job_id, name, function, tuple(parents), tuple(otherwise), band, None, more[0] if more else added_by)


def labels_of(jobs: Sequence[FlowJob]) -> dict[str, object]:
    """Return the field of a record with the labels of its jobs, by id; nothing if no job has one."""
    labels = {job.id: job.label for job in jobs if job.label}
    return {"labels": labels} if labels else {}


def jobs_of(fields: Mapping[str, Any], added_by: str | None = None) -> list[FlowJob]:
    """Convert the fields of a record to its jobs."""
    labels = fields.get("labels") or {}
    jobs = [job_of(row, added_by) for row in fields["jobs"]]
    ids_of([job.id.encode() for job in jobs])
    if shared := set(fields.get("shared", ())):
        jobs = [replace(job, is_shared=job.id in shared) for job in jobs]
    return [replace(job, label=str(labels[job.id])) if job.id in labels else job for job in jobs]


def seal_addition(
    jobs: Sequence[FlowJob], *, after_this: bool, joins: Sequence[str], joined: Mapping[str, str]
) -> bytes:
    """Encode an addition to a flow.

    Args:
        jobs: The added jobs, each after the jobs that it waits for.
        after_this: Whether the first of them wait for the adding job.
        joins: The ids of the added jobs that children of the adding job wait for.
        joined: The ids of these children, and the policy of their edges.

    Raises:
        EncodingError: The record is too large.
    """
    rows = [row_of(job) for job in jobs]
    fields = {"jobs": rows, "after": after_this, "joins": list(joins), "joined": dict(joined)}
    return encode({**fields, **labels_of(jobs)}, limits=RECORD, what="flow")


class StoredFlow(NamedTuple):
    """A flow as it is stored.

    Attributes:
        name: Its label.
        jobs: Its jobs, with added jobs, each after the jobs that it waits for.
        additions: The stored names of what was added to it.
        on_failure: The id of its callback; None if it has none.
        is_whole: Whether all its jobs were written; otherwise its producer writes them, or died meanwhile.
    """

    name: str
    jobs: list[FlowJob]
    additions: list[str]
    on_failure: str | None = None
    is_whole: bool = True


def read(context: FleetContext, flow_id: str) -> Operation[StoredFlow]:
    """Read a flow.

    Raises:
        JobNotFound: The flow is not known.
    """
    kept: calls.Kept = value((yield (calls.read_flow(context.keys, flow_id),)))
    if not kept.record:
        raise JobNotFound(flow_id, f"No flow {flow_id!r}: never enqueued, or deleted since.")
    try:
        return _stored(kept)
    except (EncodingError, *NOT_READ) as error:
        key = context.keys.flow(flow_id)
        report([f"{key} cannot be read: {error}"])
        raise JobNotFound(
            flow_id,
            f"Flow {flow_id!r} cannot be read: something beside jobfleet has written to {key!r}. Find out what. "
            "Its jobs are not changed.",
        ) from None


def _stored(kept: calls.Kept) -> StoredFlow:
    fields = decode(kept.record, limits=RECORD)
    jobs = jobs_of(fields)
    folded = fields.get("folded", ())
    more = {name: decode(one.record, limits=RECORD) for name, one in kept.more.items() if name not in folded}
    on_failure = fields.get("on_failure")
    if on_failure is not None:
        ids_of([on_failure.encode()])
    every = _in_order(_merged(jobs, more)) if more else jobs
    return StoredFlow(str(fields["name"]), every, sorted(kept.more), on_failure, bool(fields.get("whole", True)))


def _merged(jobs: list[FlowJob], more: Mapping[str, Any]) -> list[FlowJob]:
    """Merge the added jobs, and the edges of these additions, into the jobs of a flow."""
    places = {job.id: place for place, job in enumerate(jobs)}
    for name, fields in sorted(more.items()):
        begin = len(jobs)
        for job in jobs_of(fields, name.partition(" ")[0]):
            parents = tuple(begin + parent for parent in job.parents)
            places[job.id] = len(jobs)
            jobs.append(replace(job, parents=parents))
    for name, fields in more.items():
        if fields["after"] and (adder := places.get(name.partition(" ")[0])) is not None:
            for row in fields["jobs"]:
                if not row[3]:
                    _waits(jobs, places[row[0]], adder, "cancel")
        for child, policy in fields["joined"].items():
            for parent in fields["joins"]:
                if child in places and parent in places:
                    _waits(jobs, places[child], places[parent], OTHERWISE[policy])
    return jobs


def _waits(jobs: list[FlowJob], child: int, parent: int, otherwise: str) -> None:
    job = jobs[child]
    jobs[child] = replace(job, parents=(*job.parents, parent), otherwise=(*job.otherwise, otherwise))


def _in_order(jobs: Sequence[FlowJob]) -> list[FlowJob]:
    """Sort jobs so that each is after the jobs that it waits for."""
    order = list(TopologicalSorter({place: job.parents for place, job in enumerate(jobs)}).static_order())
    places = {place: number for number, place in enumerate(order)}
    return [replace(jobs[place], parents=tuple(places[parent] for parent in jobs[place].parents)) for place in order]


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
        on_failure: The id of its callback; None if it has none.
    """

    id: str
    name: str
    ids: tuple[str, ...]
    begin: int
    jobs: tuple[FlowJob, ...]
    on_failure: str | None = None

    @property
    def whole(self) -> FlowInfo | None:
        """The flow, if the part has all of its jobs."""
        if len(self.jobs) != len(self.ids):
            return None
        return FlowInfo(self.id, self.name, None, self.jobs, on_failure=self.on_failure)


@dataclass(frozen=True, slots=True)
class FlowInfo:
    """A flow at one moment.

    Attributes:
        id: The id of the flow.
        name: The label of the flow.
        made: When it was enqueued; None when that is not known.
        jobs: Its jobs, each after the jobs that it waits for.
        is_read: Whether the states of the jobs were read; False in the answer to an enqueue.
        on_failure: The id of its callback, which is not among the jobs; None if it has none.
    """

    id: str
    name: str
    made: datetime | None
    jobs: tuple[FlowJob, ...]
    is_read: bool = True
    on_failure: str | None = None

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


LONGEST = 60
VALUE_LONGEST = 24
_SECRET = re.compile(r"pass|secret|token|key|credential|auth", re.IGNORECASE)
_PLAIN = (str, int, float, bool, type(None))


def labelled(rows: Sequence[FlowJob], jobs: Sequence[Job]) -> list[FlowJob]:
    """Return the rows of a flow; those that share a name have their arguments as their label.

    Args:
        rows: The rows.
        jobs: The job of each row.
    """
    shared = Counter(row.name for row in rows)
    return [
        replace(row, label=label_of(job)) if shared[row.name] > 1 else row for row, job in zip(rows, jobs, strict=True)
    ]


def label_of(job: Job) -> str:
    """Return the arguments of a job as a short text; values under names of secrets are left out."""
    parts = [_shown(value) for value in job.args]
    parts += [f"{name}={'***' if _SECRET.search(name) else _shown(value)}" for name, value in job.kwargs.items()]
    return _cut(", ".join(parts), LONGEST)


def _shown(value: object) -> str:
    """A plain value as it is; of another value only the type, because its text may be long or costly."""
    if isinstance(value, str):
        return _cut(repr(value[: VALUE_LONGEST + 1]), VALUE_LONGEST)
    return repr(value) if type(value) in _PLAIN else type(value).__name__


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def frontier(info: FlowInfo) -> list[str]:
    """Return the ids of the open jobs after whose end a flow may be over.

    These are the jobs that no open job waits for, and those whose failure makes another job wait for a replay. For
    the other jobs it need not be known when they end.
    """
    places = list(info.open_places())
    awaited = {parent for place in places for parent in info.jobs[place].parents}
    decisive = {
        parent
        for job in info.jobs
        for parent, otherwise in zip(job.parents, job.otherwise, strict=True)
        if otherwise == "wait"
    }
    return [info.jobs[place].id for place in places if place not in awaited or place in decisive]
