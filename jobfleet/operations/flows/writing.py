"""Write the jobs of a flow, blocked, and register which of them wait for which.

A job must not start before the whole flow is written. A guard blocks the jobs for which nothing else does: a job that
waits for another job of the same flow is blocked by that one, and is cancelled with it. So a guard is needed only by a
job without such a parent, and by a job that is written in several calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import Dependant
from jobfleet.operations.flows.unblock import unblock_dependants
from jobfleet.operations.operation import Operation, T, batches, value
from jobfleet.store.call import Call
from jobfleet.store.calls import flow as calls
from jobfleet.store.calls.flows.batches import EXISTS, LINKS_MOST, Blocked, block_many
from jobfleet.store.keys import Lane
from jobfleet.store.retention import PARENTS_KEPT_MS

AT_ONCE = 100
"""Maximum number of calls in one trip."""
Children = dict[str, list[str]]


def run_all(every: Sequence[Call[T]]) -> Operation[list[T]]:
    """Run many calls, up to 100 per pipeline; return their values."""
    answers: list[T] = []
    for part in batches(every, AT_ONCE):
        answers += [value([answer]) for answer in (yield part)]
    return answers


def guarded(made: Sequence[Dependant]) -> list[str]:
    """The ids of the jobs that are written with a guard; the others are blocked by jobs of the same flow.

    The parent must be one whose cancellation cancels the job: if the producer dies, the guarded jobs are cancelled.
    """
    ids = {one.entry.id for one in made}
    return [one.entry.id for one in made if not _follows(one, ids) or is_alone(one)]


def is_alone(one: Dependant) -> bool:
    """Whether a job is written by calls of its own: it has a clear record, or many parents."""
    return bool(one.entry.meta) or len(one.edges) > calls.CHUNK


def _follows(one: Dependant, ids: set[str]) -> bool:
    return any(edge.policy == "c" and edge.parent in ids for edge in one.edges)


def put_all(context: FleetContext, made: Sequence[Dependant], guards: Sequence[str]) -> Operation[None]:
    """Write jobs, each after its parents, with their guards, and register their parents.

    Args:
        context: The context of the fleet.
        made: The jobs.
        guards: The ids of those with a guard, as `guarded` returns them.
    """
    children: Children = {}
    for one in made:
        job_id = one.entry.id
        for parent, _, _ in one.edges:
            if parent in children:
                children[parent].append(job_id)
            else:
                children[parent] = [job_id]
    watched = yield from _write(made, children, set(guards))
    for parent in watched:
        del children[parent]
    watches = [(parent, part) for parent, names in children.items() for part in batches(names, calls.CHUNK)]
    endings = yield from run_all([calls.watch(context.keys.lane_of(parent), parent, part) for parent, part in watches])
    for (parent, part), ending in zip(watches, endings, strict=True):
        if ending.state != "watched":  # only when the same flow is enqueued again
            yield from unblock_dependants(context.keys, parent, ending, part, ttl_ms=PARENTS_KEPT_MS)


def _write(made: Sequence[Dependant], children: Children, guards: set[str]) -> Operation[list[str]]:
    """Write jobs; return the ids of those whose dependants are registered."""
    watched: list[str] = []
    for batch in batches(_Parts(children, guards).of(made), AT_ONCE):
        answers = yield [part.call for part in batch]
        for part, answer in zip(batch, answers, strict=True):
            letters = value([answer])
            watched += [
                item.entry.id
                for item, letter in zip(part.items, letters if part.items else (), strict=True)
                if letter != EXISTS and item.children
            ]
    return watched


class _Part(NamedTuple):
    """A call that writes jobs, and the jobs if it is one of `block_many`."""

    call: Call[Any]
    items: Sequence[Blocked] = ()


class _Parts:
    """Collects jobs for the calls that write them.

    No call writes a job before its parents, because a sweep cancels a job whose parents are unknown. Therefore, when a
    job comes, the lists of other lanes that have a parent of it are sent first.

    Args:
        children: The dependants of the jobs.
        guards: The ids of the jobs with a guard.
    """

    def __init__(self, children: Children, guards: set[str]) -> None:
        self._children = children
        self._guards = guards
        self._collected: dict[Lane, list[Blocked]] = {}
        self._links: dict[Lane, int] = {}
        self._where: dict[str, Lane] = {}  # job → lane of the list that has it

    def of(self, made: Sequence[Dependant]) -> Iterator[_Part]:
        """Return the calls that write jobs, each of which is after its parents."""
        where = self._where
        for one in made:
            is_by_itself = is_alone(one)
            if where:
                for edge in one.edges:
                    there = where.get(edge.parent)
                    if there is not None and (is_by_itself or there is not one.lane):
                        yield self._closed(there)
            if is_by_itself:
                for part in batches(one.edges, calls.CHUNK) if one.edges else [()]:
                    yield _Part(calls.block(one.lane, one.entry, part, ttl_ms=PARENTS_KEPT_MS))
            else:
                yield from self._add(one)
        for lane in list(self._collected):
            yield self._closed(lane)

    def _add(self, one: Dependant) -> Iterator[_Part]:
        lane, entry, edges = one.lane, one.entry, one.edges
        job_id = entry.id
        names: Sequence[str] = self._children.get(job_id, ())
        if len(names) > calls.CHUNK:
            names = ()  # they are registered by calls of their own
        count = len(edges) + len(names)
        items = self._collected.get(lane)
        if items is not None and (
            job_id in self._where or len(items) == calls.CHUNK or self._links[lane] + count > LINKS_MOST
        ):
            yield self._closed(lane)
            items = None
        if items is None:
            items = self._collected[lane] = []
            self._links[lane] = 0
        items.append(Blocked(entry, edges, names, job_id in self._guards))
        self._links[lane] += count
        self._where[job_id] = lane

    def _closed(self, lane: Lane) -> _Part:
        items = self._collected.pop(lane)
        for item in items:
            del self._where[item.entry.id]
        return _Part(block_many(lane, items, ttl_ms=PARENTS_KEPT_MS), items)
