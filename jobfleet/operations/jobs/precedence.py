"""Keep strict sequences free of deadlocks: a job has its place before the jobs of its sequence that wait for it.

Usually it has, because a job is enqueued after those that it waits for. But a job may come to wait for a later one: a
running job adds jobs with `join`, or a job with dependants is moved into their sequence. Such a job gets a place before
its dependants. A sweep finds what is left, for example dependants that were registered at the same moment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from jobfleet.errors import JobNotFound
from jobfleet.model import split_id
from jobfleet.operations.operation import Operation, batches, by_lane, run_all, value
from jobfleet.store.call import Call
from jobfleet.store.calls import flow, inspect, limits
from jobfleet.store.keys import Keyspace, Lane, is_blocked
from jobfleet.store.records import InWait

WALKED_MOST = 10_000
"""Maximum number of jobs that one search visits."""
WALKED_AT_ONCE = 1000
"""Number of jobs after which a page of the sweep ends."""
PLACE = re.compile(r"^n (\d{1,16})$", re.MULTILINE)
AT_ONCE = 50
"""Maximum number of calls in one trip."""


def is_ordered(meta: str) -> bool:
    """Whether the clear record of a job says that it is in a strict sequence."""
    return "\no " in meta


def waiting_for(keys: Keyspace, ids: Iterable[str]) -> Operation[list[str]]:
    """Return some jobs, and all jobs that wait for them, directly or through others."""
    found = dict.fromkeys(ids)
    frontier = list(found)
    while frontier and len(found) < WALKED_MOST:
        pages = yield from run_all([flow.children(keys.lane_of(job_id), job_id) for job_id in frontier], AT_ONCE)
        following: list[str] = []
        for job_id, first in zip(frontier, pages, strict=True):
            names = list(first)
            while names and len(names) % flow.CHUNK == 0 and len(found) + len(following) + len(names) < WALKED_MOST:
                page = value((yield (flow.children(keys.lane_of(job_id), job_id, skip=len(names)),)))
                if not page:
                    break
                names += page
            following += names
        frontier = [job_id for job_id in dict.fromkeys(following) if job_id not in found and _is_id(job_id)]
        found |= dict.fromkeys(frontier)
    return list(found)


def precede(keys: Keyspace, dependants: Sequence[str], ids: Sequence[str]) -> Operation[None]:
    """Give jobs of strict sequences places before their dependants in the same sequences.

    Args:
        keys: The keys of the fleet.
        dependants: The ids of the dependants.
        ids: The ids of the jobs, in the order in which they were enqueued.
    """
    there = _by_lane(keys, dependants)
    for lane, rows in _by_lane(keys, ids).items():
        calls: list[Call[int]] = []
        for some in batches(there.get(lane, ()), limits.CHUNK - 1):
            later: list[str] = []
            for part in reversed(list(batches(rows, limits.CHUNK))):
                calls.append(limits.precede(lane, [*some, *later], part, starts=False))
                later = [part[0]]
        if calls:
            calls += [limits.precede(lane, (), part) for part in batches(rows, limits.CHUNK)]
            yield from run_all(calls, AT_ONCE)


def free_sequences(keys: Keyspace, lane: Lane, after: str) -> Operation[tuple[str, bool]]:
    """Let jobs pass the blocked heads of sequences that wait for them.

    Returns:
        The sequence after which the next call continues, empty if there is none; and whether this call has ended early,
        because it has visited many jobs.

    Args:
        keys: The keys of the fleet.
        lane: The lane.
        after: The last sequence of the call before; empty to begin.
    """
    rows: list[limits.SequenceRow] = value((yield (limits.sequences(lane, after=after, limit=limits.CHUNK),)))[1]
    walked = 0
    for row in rows:
        if row.state == "blocked" and row.waiting and _is_id(row.head):
            awaited = yield from _awaited(keys, row.head)
            walked += len(awaited)
            mine = [job_id for job_id in awaited if keys.lane_of(job_id) == lane]
            yield from precede(keys, [row.head], (yield from _by_place(lane, mine)))
        if walked > WALKED_AT_ONCE:
            return row.group, True
    return rows[-1].group if len(rows) == limits.CHUNK else "", False


def _by_place(lane: Lane, ids: Sequence[str]) -> Operation[Sequence[str]]:
    """The jobs in the order of their places. One call of `precede` sorts its jobs itself."""
    if len(ids) <= limits.CHUNK:
        return ids
    seen = yield from run_all([inspect.explain(lane, job_id) for job_id in ids], AT_ONCE)
    places = [int(found[1]) if (found := PLACE.search(one.meta)) else 0 for one in seen]
    return [job_id for _, job_id in sorted(zip(places, ids, strict=True))]


def _awaited(keys: Keyspace, head: str) -> Operation[list[str]]:
    """The jobs for which a head waits: open parents, their parents, and the blocked heads before those."""
    found = {head: None}
    frontier = [head]
    while frontier and len(found) < WALKED_MOST:
        known = yield from run_all([flow.guarded(keys.lane_of(job_id), job_id) for job_id in frontier], AT_ONCE)
        following: list[str] = []
        lone: list[str] = []
        for job_id, (_, parents) in zip(frontier, known, strict=True):
            awaited = [edge.parent for edge in parents if not edge.status]
            following += awaited
            if not awaited and job_id != head:
                lone.append(job_id)
        following += yield from _blocked_heads(keys, lone)
        frontier = [job_id for job_id in dict.fromkeys(following) if job_id not in found and _is_id(job_id)]
        found |= dict.fromkeys(frontier)
    return [job_id for job_id in found if job_id != head]


def _blocked_heads(keys: Keyspace, ids: Sequence[str]) -> Operation[list[str]]:
    """The blocked heads behind which some jobs without open parents wait."""
    parts = by_lane(((keys.lane_of(job_id), job_id) for job_id in ids), limits.CHUNK)
    pages = yield from run_all([inspect.status(lane, part) for lane, part in parts], AT_ONCE)
    behind = [
        (lane, job_id)
        for (lane, part), (_, rows) in zip(parts, pages, strict=True)
        for job_id, found in zip(part, rows, strict=True)
        if isinstance(found, InWait) and is_blocked(found.due)
    ]
    seen = yield from run_all([inspect.explain(lane, job_id) for lane, job_id in behind], AT_ONCE)
    return [one.sequence.head for one in seen if one.sequence is not None and one.sequence.state == "blocked"]


def _is_id(text: str) -> bool:
    """Whether a text has the form of a job id; a foreign entry may have not."""
    try:
        split_id(text)
    except JobNotFound:
        return False
    return True


def _by_lane(keys: Keyspace, ids: Iterable[str]) -> dict[Lane, list[str]]:
    found: dict[Lane, list[str]] = {}
    for job_id in ids:
        found.setdefault(keys.lane_of(job_id), []).append(job_id)
    return found
