"""What a flow is made of, as it is kept: its jobs, and those that they have added. See `verbs` for the form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from graphlib import TopologicalSorter
from typing import Any

from jobfleet.codec import Limits, decode, encode
from jobfleet.errors import EncodingError, JobNotFound
from jobfleet.model import JobResult
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.store.calls import flow as calls

RECORD = Limits(max_bytes=16 << 20, max_containers=1 << 17)
LOOK_EVERY = 10.0
"""Seconds between looks of a reaper for flows that are written and whose producer died before it had begun them."""
GUARD = 600.0
"""Seconds after which a flow whose producer died before it was written is cancelled; nothing of it has started."""
OTHERWISE = {"c": "cancel", "r": "run", "w": "wait"}


@dataclass(frozen=True, slots=True)
class FlowJob:
    """One job of a flow.

    Attributes:
        id: Its id.
        name: Its label.
        function: What it runs.
        parents: The numbers, in the flow, of those it waits for.
        otherwise: For each of them, what follows when it does not complete.
        band: Its priority, 0 the most urgent.
        result: What is known of it; None when nothing is any more.
        added_by: The job that added it to the flow; None of one that was there from the beginning.
    """

    id: str
    name: str
    function: str
    parents: tuple[int, ...]
    otherwise: tuple[str, ...]
    band: int
    result: JobResult[Any] | None = None
    added_by: str | None = None

    @property
    def status(self) -> str:
        """Its status in a word; ``gone`` when nothing is known of it."""
        return str(self.result.status) if self.result is not None else "gone"


def row_of(job: FlowJob) -> list[object]:
    """A job of a flow as it is kept."""
    return [job.id, job.name, job.function, list(job.parents), list(job.otherwise), job.band]


def job_of(row: Sequence[Any], added_by: str | None = None) -> FlowJob:
    """Read what `row_of` wrote."""
    job_id, name, function, parents, otherwise, band, *more = row
    return FlowJob(job_id, name, function, tuple(parents), tuple(otherwise), band, None, more[0] if more else added_by)


def addition_name(adder: str, name: str) -> str:
    """Under which name an addition is kept: that of whoever adds, and its own."""
    return f"{adder} {name}"


def seal_addition(
    jobs: Sequence[FlowJob], *, after_this: bool, joins: Sequence[str], joined: Mapping[str, str]
) -> bytes:
    """An addition as it is kept.

    Args:
        jobs: Its jobs, each after those it waits for.
        after_this: Whether the first of them wait for whoever adds.
        joins: The ids of those that others wait for.
        joined: Those others, and the policy of their edges.
    """
    told = {"jobs": [row_of(job) for job in jobs], "after": after_this, "joins": list(joins), "joined": dict(joined)}
    return encode(told, limits=RECORD, what="flow")


def ids_of(record: bytes) -> list[str]:
    """The ids of an addition's jobs, as they are kept."""
    return [row[0] for row in decode(record, limits=RECORD)["jobs"]]


def is_whole(kept: calls.Kept, addition: str | None = None) -> bool:
    """Whether all jobs of a flow, or of an addition to it, are written."""
    if addition is not None:
        return addition in kept.more and kept.more[addition].stage >= calls.WHOLE
    try:
        said = decode(kept.record, limits=RECORD) if kept.record else None
    except EncodingError:
        return False
    return isinstance(said, dict) and said.get("whole") is True


def ids_of_whole(kept: calls.Kept) -> list[str]:
    """The ids of a flow's jobs, if all of them are written; else none, and none where the record cannot be read."""
    if not is_whole(kept):
        return []
    try:
        return [str(job_id) for job_id in ids_of(kept.record)]
    except (KeyError, TypeError, IndexError):
        return []


def read(context: FleetContext, flow_id: str) -> Operation[tuple[str, list[FlowJob], list[str]]]:
    """A flow's name, its jobs, each after those it waits for, and the names of what was added to it.

    Raises:
        JobNotFound: Nothing is known of it.
    """
    kept: calls.Kept = value((yield (calls.read_flow(context.keys, flow_id),)))
    try:
        said = decode(kept.record, limits=RECORD) if kept.record else None
        if said is not None:
            jobs = [job_of(row) for row in said["jobs"]]
            folded = said.get("folded", ())
            more = {name: decode(one.record, limits=RECORD) for name, one in kept.more.items() if name not in folded}
            return str(said["name"]), _in_order(_merged(jobs, more)) if more else jobs, sorted(kept.more)
    except (EncodingError, KeyError, TypeError, ValueError):
        pass
    raise JobNotFound(flow_id, f"No flow {flow_id!r}: never enqueued, or let go since.")


def _merged(jobs: list[FlowJob], more: Mapping[str, Any]) -> list[FlowJob]:
    """The jobs of a flow and of what was added to it, the edges among them included."""
    places = {job.id: place for place, job in enumerate(jobs)}
    for name, told in sorted(more.items()):
        begin = len(jobs)
        for row in told["jobs"]:
            job = job_of(row, name.partition(" ")[0])
            parents = tuple(begin + parent for parent in job.parents)
            places[job.id] = len(jobs)
            jobs.append(replace(job, parents=parents))
    for name, told in more.items():
        if told["after"] and (adder := places.get(name.partition(" ")[0])) is not None:
            for row in told["jobs"]:
                if not row[3]:
                    _waits(jobs, places[row[0]], adder, "cancel")
        for child, policy in told["joined"].items():
            for parent in told["joins"]:
                if child in places and parent in places:
                    _waits(jobs, places[child], places[parent], OTHERWISE[policy])
    return jobs


def _waits(jobs: list[FlowJob], child: int, parent: int, otherwise: str) -> None:
    job = jobs[child]
    jobs[child] = replace(job, parents=(*job.parents, parent), otherwise=(*job.otherwise, otherwise))


def _in_order(jobs: Sequence[FlowJob]) -> list[FlowJob]:
    """The same jobs, each after those it waits for."""
    order = list(TopologicalSorter({place: job.parents for place, job in enumerate(jobs)}).static_order())
    places = {place: number for number, place in enumerate(order)}
    return [replace(jobs[place], parents=tuple(places[parent] for parent in jobs[place].parents)) for place in order]
