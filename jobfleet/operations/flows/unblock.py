"""Unblock dependants: record in each of them how a parent ended, or under which id the parent runs again.

Each step may run twice. For a moved parent, the dependants first wait for the new job, then watch it; if it has ended
in between, the watch returns its ending at once. Here is also what a supervisor, which relays endings, needs to know
of the record of a flow: whether it is whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from jobfleet.codec import Limits, decode
from jobfleet.errors import EncodingError
from jobfleet.operations.operation import Operation, batches, by_lane, is_denied, value
from jobfleet.store.calls import control
from jobfleet.store.calls import flow as calls
from jobfleet.store.keys import TOMBSTONE_MS, Keyspace, Lane

AT_ONCE = 20
"""Maximum number of calls in one trip."""
RECORD = Limits(max_bytes=16 << 20, max_containers=1 << 17, setting="")
"""The limits of a record that is read: it may be larger than the arguments of a job."""
LOOK_EVERY = 10.0
"""Seconds between a reaper's searches for flows that are written but not started because their producer died."""
GUARD = 600.0
"""Seconds until a flow that its producer never finished writing is cancelled; no job of it has started."""


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
    keys: Keyspace, ends: Iterable[calls.ParentEnd], *, ttl_ms: int, done: Unblocked | None = None
) -> Operation[Unblocked]:
    """Record endings of parents in their dependants; cancel the dependants whose policy is to cancel.

    Args:
        keys: The keys of the fleet.
        ends: The dependants, and the ending that each of them receives.
        ttl_ms: How long parents are remembered from now on, ms.
        done: The result to add to; None for a new one.
    """
    done = done or Unblocked()
    parts = by_lane(((keys.lane_of(one.child), one) for one in ends), calls.CHUNK)
    for some in batches(parts, AT_ONCE):
        answers = yield [calls.unblock(lane, part, ttl_ms=ttl_ms) for lane, part in some]
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
    keys: Keyspace, parent: str, ending: calls.Ending, children: Sequence[str], *, ttl_ms: int
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
        ends = [calls.ParentEnd(child, parent, "completed", ending.copied) for child in same]
        yield from unblock(keys, ends, ttl_ms=ttl_ms, done=done)
        left = [child for child in left if child not in same]
        if not left:
            return done
        ending = value((yield (calls.watch(keys.lane_of(to), to, left),)))
        if ending.state == "watched":
            return done
        parent = to
    ends = [calls.ParentEnd(child, parent, ending.described, ending.copied) for child in left]
    return (yield from unblock(keys, ends, ttl_ms=ttl_ms, done=done))


def _follow(keys: Keyspace, parent: str, to: str, children: Iterable[str], done: Unblocked) -> Operation[set[str]]:
    """Have dependants wait for another job; return those that wait for that job already."""
    by_lane: dict[Lane, list[str]] = {}
    for child in children:
        by_lane.setdefault(keys.lane_of(child), []).append(child)
    same: set[str] = set()
    for lane, part in by_lane.items():
        letters = value((yield (calls.follow(lane, part, parent=parent, to=to),)))
        done.letters |= {(child, parent): "f" for child in part}
        same |= {child for child, letter in zip(part, letters, strict=True) if letter == "s"}
    return same


def addition_name(adder: str, name: str) -> str:
    """The stored name of an addition: the id of the adding job and the name that it gave."""
    return f"{adder} {name}"


def ids_of(record: bytes) -> list[str]:
    """The ids of the jobs of a stored addition."""
    return [row[0] for row in decode(record, limits=RECORD)["jobs"]]


def is_whole(kept: calls.Kept, addition: str | None = None) -> bool:
    """Whether all jobs of a flow, or of an addition to it, are written."""
    if addition is not None:
        return addition in kept.more and kept.more[addition].stage >= calls.WHOLE
    try:
        fields = decode(kept.record, limits=RECORD) if kept.record else None
    except EncodingError:
        return False
    return isinstance(fields, dict) and fields.get("whole") is True


def ids_of_whole(kept: calls.Kept) -> list[str]:
    """The ids of the jobs of a flow; empty when not all jobs are written, or the record cannot be read.

    Shared jobs are left out: the guard of such a job is lifted by the flow that has written it.

    At the end are those whose guards its producer lifts last, in each lane, as far as its revision noted them.
    """
    if not is_whole(kept):
        return []
    try:
        fields = decode(kept.record, limits=RECORD)
        last = [str(job_id) for job_id in fields.get("last", ())]
        left_out = {*last, *fields.get("shared", ())}
        return [str(job_id) for job_id in ids_of(kept.record) if job_id not in left_out] + last
    except (KeyError, TypeError, IndexError):
        return []
