"""Unblock dependants: record in each of them how a parent ended, or under which id the parent continues.

Each step may run twice. For a moved parent, the dependants first wait for the new job, then watch it; if it has ended
in between, the watch returns its ending at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jobfleet.operations.operation import Operation, batches, is_denied, value
from jobfleet.store.calls import control, flow
from jobfleet.store.keys import TOMBSTONE_MS, Keyspace, Lane

AT_ONCE = 20
"""Maximum number of calls in one trip."""


@dataclass(slots=True)
class Unblocked:
    """The result of unblocking dependants.

    Attributes:
        letters: The state of each dependant, as the script `unblock` returns it, by its id and the id of the parent; f
            for a dependant that now waits for another job, because the parent was moved.
        cancelled: How many dependants were cancelled, per lane. Their own dependants must be unblocked in turn.
    """

    letters: dict[tuple[str, str], str] = field(default_factory=dict)
    cancelled: dict[Lane, int] = field(default_factory=dict)


def unblock(
    keys: Keyspace, ends: Iterable[flow.ParentEnd], *, ttl_ms: int, done: Unblocked | None = None
) -> Operation[Unblocked]:
    """Record endings of parents in their dependants; cancel the dependants whose policy is to cancel.

    Args:
        keys: The keys of the fleet.
        ends: The dependants, and the ending that each of them receives.
        ttl_ms: How long parents are remembered from now on, ms.
        done: The result to add to; None for a new one.
    """
    done = done or Unblocked()
    by_lane: dict[Lane, list[flow.ParentEnd]] = {}
    for one in ends:
        by_lane.setdefault(keys.lane_of(one.child), []).append(one)
    parts = [(lane, part) for lane, rows in by_lane.items() for part in batches(rows, flow.CHUNK)]
    for some in batches(parts, AT_ONCE):
        answers = yield [flow.unblock(lane, part, ttl_ms=ttl_ms) for lane, part in some]
        for (lane, part), answer in zip(some, answers, strict=True):
            letters = value([answer])
            cancelled: dict[str, list[str]] = {}
            for one, letter in zip(part, letters, strict=True):
                done.letters[one.child, one.parent] = letter
                if letter == "x":
                    cancelled.setdefault(one.parent, []).append(one.child)
            for parent, ids in cancelled.items():
                ended = yield (control.cancel(keys, lane, ids, by=f"parent:{parent}", ttl_ms=TOMBSTONE_MS),)
                if is_denied(ended[0]):  # a producer leaves it to the sweep of the relay
                    continue
                value(ended)
                done.cancelled[lane] = done.cancelled.get(lane, 0) + len(ids)
    return done


def unblock_dependants(
    keys: Keyspace, parent: str, ending: flow.Ending, children: Sequence[str], *, ttl_ms: int
) -> Operation[Unblocked]:
    """Record the ending of a parent in at most 50 dependants; if the parent was moved, have them wait for the new job.

    Args:
        keys: The keys of the fleet.
        parent: The id of the parent.
        ending: How it ended.
        children: The ids of the dependants.
        ttl_ms: How long parents are remembered from now on, ms.
    """
    done, left = Unblocked(), list(children)
    while left and (to := ending.moved_to):
        same = yield from _follow(keys, parent, to, left, done)
        ends = [flow.ParentEnd(child, parent, "completed", ending.copied) for child in same]
        yield from unblock(keys, ends, ttl_ms=ttl_ms, done=done)
        left = [child for child in left if child not in same]
        if not left:
            return done
        ending = value((yield (flow.watch(keys.lane_of(to), to, left),)))
        if ending.state == "watched":
            return done
        parent = to
    ends = [flow.ParentEnd(child, parent, ending.described, ending.copied) for child in left]
    return (yield from unblock(keys, ends, ttl_ms=ttl_ms, done=done))


def _follow(keys: Keyspace, parent: str, to: str, children: Iterable[str], done: Unblocked) -> Operation[set[str]]:
    """Have dependants wait for another job; return those that wait for that job already."""
    by_lane: dict[Lane, list[str]] = {}
    for child in children:
        by_lane.setdefault(keys.lane_of(child), []).append(child)
    same: set[str] = set()
    for lane, part in by_lane.items():
        letters = value((yield (flow.follow(lane, part, parent=parent, to=to),)))
        done.letters |= {(child, parent): "f" for child in part}
        same |= {child for child, letter in zip(part, letters, strict=True) if letter == "s"}
    return same
