"""Write the jobs of a flow, blocked, and register which of them wait for which.

A job must not start before the whole flow is written. A guard blocks the jobs for which nothing else does: a job that
waits for another job of the same flow is blocked by that one, and is cancelled with it. So a guard is needed only by a
job without such a parent, and by a job that is written in several calls.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from jobfleet.codec import amended
from jobfleet.errors import DuplicateJob, JobfleetError
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import Dependant, block, held_by, parents_in_header
from jobfleet.operations.flows.unblock import unblock_dependants
from jobfleet.operations.jobs.cancel import cancel_ids
from jobfleet.operations.operation import BulkOperation, Operation, T, batches, run_all, value
from jobfleet.store.call import Call
from jobfleet.store.calls import flow as calls
from jobfleet.store.calls.flow import EXISTS, LINKS_MOST, Blocked, block_many
from jobfleet.store.keys import PARENTS_KEPT_MS, Lane
from jobfleet.store.records import Holder
from jobfleet.store.trip import LazyCalls

AT_ONCE = 100
"""Maximum number of calls in one trip."""
AHEAD = 1_000
"""Maximum number of calls in one trip whose calls are made while it is sent."""
Children = dict[str, Sequence[str]]


def guarded(made: Sequence[Dependant]) -> list[str]:
    """The ids of the jobs that are written with a guard; the others are blocked by jobs of the same flow.

    The parent must be one whose cancellation cancels the job: if the producer dies, the guarded jobs are cancelled.
    """
    ids: set[str] = set()
    found: list[str] = []
    for one in made:  # each is after its parents
        job_id = one.entry.id
        ids.add(job_id)
        if is_alone(one) or not _follows(one, ids):
            found.append(job_id)
    return found


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
    children = _children_of(made)
    for batch in batches(_Parts(children, set(guards)).of(made), AT_ONCE):
        _drop_watched(children, batch, (yield [part.call for part in batch]))
    watches = _watches(children)
    endings = yield from run_all([calls.watch(context.keys.lane_of(parent), parent, part) for parent, part in watches])
    yield from _note_ended(context, watches, endings)


def put_ahead(
    context: FleetContext, made: Sequence[Dependant], guards: Sequence[str], meanwhile: Callable[[], T]
) -> BulkOperation[T]:
    """Write jobs like `put_all`, but make calls while the server works on those before.

    Args:
        context: The context of the fleet.
        made: The jobs.
        guards: The ids of those with a guard.
        meanwhile: What else is to be done before the answers come; its result is returned.
    """
    children = _children_of(made)
    parts: list[_Part] = []
    done: list[T] = []

    def writes() -> Iterator[Call[Any]]:
        for part in _Parts(children, set(guards)).of(made):
            parts.append(part)
            yield part.call
        done.append(meanwhile())

    _drop_watched(children, parts, (yield from _run_ahead(writes())))
    watches = _watches(children)
    registering = (calls.watch(context.keys.lane_of(parent), parent, part) for parent, part in watches)
    endings = yield from _run_ahead(registering)
    yield from _note_ended(context, watches, [value([ending]) for ending in endings])
    return done[0]


def put_unique(context: FleetContext, made: Sequence[Dependant]) -> Operation[dict[str, str]]:
    """Write jobs of which some have unique keys, each after its parents, all with guards.

    Where another job holds a key, the job is not written, and its dependants wait for the holder.

    Returns:
        The holders, by the ids of the jobs that were not written.

    Raises:
        DuplicateJob: Another job holds the key of a job with ``on_conflict="raise"``; the others are cancelled.
    """
    held: dict[str, str] = {}
    written: list[str] = []
    plain: list[Dependant] = []

    def flush() -> Operation[None]:
        yield from put_all(context, plain, [one.entry.id for one in plain])
        written.extend(one.entry.id for one in plain)
        plain.clear()

    for each in made:
        one = _behind_holders(context, each, held)
        if one.unique is None:
            plain.append(one)
            continue
        yield from flush()
        created = yield from block(one)
        if not isinstance(created, Holder):
            written.append(one.entry.id)
            yield from _register(context, one)
            continue
        try:
            held[one.entry.id] = held_by(one, created).id
        except DuplicateJob:
            with suppress(JobfleetError):  # a user that may not cancel leaves it to the sweep of the relay
                yield from cancel_ids(context, reversed(written), None)
            raise
    yield from flush()
    return held


def _register(context: FleetContext, one: Dependant) -> Operation[None]:
    """Register a job that was written alone with its parents."""
    watches = _watches(_children_of([one]))
    endings = yield from run_all([calls.watch(context.keys.lane_of(parent), parent, part) for parent, part in watches])
    yield from _note_ended(context, watches, endings)


def _behind_holders(context: FleetContext, one: Dependant, held: Mapping[str, str]) -> Dependant:
    """The job with edges to the holders in place of jobs that were not written; to each parent one."""
    if held.keys().isdisjoint(edge.parent for edge in one.edges):
        return one
    edges: dict[str, calls.Edge] = {}
    for edge in one.edges:
        parent = held.get(edge.parent, edge.parent)
        edges.setdefault(parent, edge._replace(parent=parent))
    kept = tuple(edges.values())
    envelope = amended(one.entry.envelope, parents_in_header(context.keys, kept))
    return one._replace(entry=one.entry._replace(envelope=envelope), edges=kept)


def _run_ahead(every: Iterator[Call[Any]]) -> BulkOperation[list[Any]]:
    """Run calls in order; make calls while the server works on those before. Return an answer per call.

    The first call of a script goes alone: a server that does not know the script would refuse all that follow too.
    """
    answers: list[Any] = []
    known: set[str] = set()
    held: list[Call[Any]] = []

    def together() -> Iterator[list[Call[Any]]]:
        for count, call in enumerate(every, 1):
            if call.script.name not in known or count > AHEAD:
                held.append(call)
                return
            yield [call]

    held += itertools.islice(every, 1)
    while held:
        known.add(held[0].script.name)
        answers += yield held
        held = []
        answers += yield LazyCalls(together())
    return answers


def _children_of(made: Sequence[Dependant]) -> Children:
    """The dependants of each job that has some; a lone one in a tuple, which the garbage collector does not search."""
    children: Children = {}
    for one in made:
        job_id = one.entry.id
        alone = (job_id,)
        for parent, _, _ in one.edges:
            others = children.get(parent)
            if others is None:
                children[parent] = alone
            elif type(others) is list:
                others.append(job_id)
            else:
                children[parent] = [*others, job_id]
    return children


def _drop_watched(children: Children, parts: Sequence[_Part], answers: Sequence[Any]) -> None:
    """Drop the jobs whose dependants are registered."""
    for part, answer in zip(parts, answers, strict=True):
        letters = value([answer])
        for parent, place in part.watched:
            if letters[place] != EXISTS:
                del children[parent]


def _watches(children: Children) -> list[tuple[str, list[str]]]:
    return [(parent, part) for parent, names in children.items() for part in batches(names, calls.CHUNK)]


def _note_ended(
    context: FleetContext, watches: Sequence[tuple[str, list[str]]], endings: Sequence[calls.Ending]
) -> Operation[None]:
    """Notify dependants of parents that have ended already."""
    for (parent, part), ending in zip(watches, endings, strict=True):
        if ending.state != "watched":  # only when the same flow is enqueued again
            yield from unblock_dependants(context.keys, parent, ending, part, ttl_ms=PARENTS_KEPT_MS)


class _Part(NamedTuple):
    """A call that writes jobs.

    Attributes:
        call: The call.
        watched: The jobs whose dependants it registers, and their places among the letters of its answer.
    """

    call: Call[Any]
    watched: Sequence[tuple[str, int]] = ()


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
        watched = [(item.entry.id, place) for place, item in enumerate(items) if item.children]
        return _Part(block_many(lane, items, ttl_ms=PARENTS_KEPT_MS), watched)
