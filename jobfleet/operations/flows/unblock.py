"""Telling those who wait how a job ended, or under which id it goes on. See `verbs` for the form.

Each step may run twice. Who was moved is followed first, then asked to tell of the end: whatever ends in between
is answered at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jobfleet.operations.operation import Operation, batches, value
from jobfleet.store.calls import control, flow
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.retention import TOMBSTONE_MS


@dataclass(slots=True)
class Unblocked:
    """What came of telling.

    Attributes:
        letters: What became of each that was told, as `unblock` says it, by its id and the parent's; f for those that
            wait for another by now, since that one was moved.
        doomed: How many were cancelled, by lane; their ends are to be told in turn.
    """

    letters: dict[tuple[str, str], str] = field(default_factory=dict)
    doomed: dict[Lane, int] = field(default_factory=dict)


def unblock(
    keys: Keyspace, told: Iterable[flow.ParentEnd], *, ttl_ms: int, heard: Unblocked | None = None
) -> Operation[Unblocked]:
    """Tell jobs that wait, each of one ending; cancel those that are not to run after it.

    Args:
        keys: The fleet's keys.
        told: Whom, and what.
        ttl_ms: How long parents are remembered from now on.
        heard: What was heard before.
    """
    heard = heard or Unblocked()
    by_lane: dict[Lane, list[flow.ParentEnd]] = {}
    for one in told:
        by_lane.setdefault(keys.lane_of(one.child), []).append(one)
    for lane, rows in by_lane.items():
        for part in batches(rows, flow.CHUNK):
            letters = value((yield (flow.unblock(lane, part, ttl_ms=ttl_ms),)))
            doomed: dict[str, list[str]] = {}
            for one, letter in zip(part, letters, strict=True):
                heard.letters[one.child, one.parent] = letter
                if letter == "x":
                    doomed.setdefault(one.parent, []).append(one.child)
            for parent, ids in doomed.items():
                value((yield (control.cancel(keys, lane, ids, by=f"parent:{parent}", ttl_ms=TOMBSTONE_MS),)))
                heard.doomed[lane] = heard.doomed.get(lane, 0) + len(ids)
    return heard


def unblock_dependants(
    keys: Keyspace, parent: str, ending: flow.Ending, children: Sequence[str], *, ttl_ms: int
) -> Operation[Unblocked]:
    """Tell at most 50 jobs how one that they wait for has ended; of a moved one, have them wait for the other."""
    heard, left = Unblocked(), list(children)
    while left and (to := ending.moved_to):
        same = yield from _follow(keys, parent, to, left, heard)
        told = [flow.ParentEnd(child, parent, "completed", ending.copied) for child in same]  # the other edge decides
        yield from unblock(keys, told, ttl_ms=ttl_ms, heard=heard)
        left = [child for child in left if child not in same]
        if not left:
            return heard
        ending = value((yield (flow.watch(keys.lane_of(to), to, left),)))
        if ending.state == "watched":
            return heard
        parent = to
    told = [flow.ParentEnd(child, parent, ending.status, ending.copied) for child in left]
    return (yield from unblock(keys, told, ttl_ms=ttl_ms, heard=heard))


def _follow(keys: Keyspace, parent: str, to: str, children: Iterable[str], heard: Unblocked) -> Operation[set[str]]:
    """Have jobs wait for another; those that wait for that one anyway."""
    by_lane: dict[Lane, list[str]] = {}
    for child in children:
        by_lane.setdefault(keys.lane_of(child), []).append(child)
    same: set[str] = set()
    for lane, part in by_lane.items():
        letters = value((yield (flow.follow(lane, part, parent=parent, to=to),)))
        heard.letters |= {(child, parent): "f" for child in part}
        same |= {child for child, letter in zip(part, letters, strict=True) if letter == "s"}
    return same
