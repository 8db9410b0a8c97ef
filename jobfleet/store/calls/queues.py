"""close_queue and clear_lane: how a queue is removed."""

from __future__ import annotations

from typing import NamedTuple

from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.enqueue import lanes_of
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.script import load


class Cleared(NamedTuple):
    """What became of a lane that was to be cleared.

    Attributes:
        is_done: Whether it was; else what follows stands in its way.
        letters: Its dead letters.
        waiting: Jobs that wait.
        running: Jobs that run.
        unrelayed: Endings that dependants are still to be told of.
    """

    is_done: bool
    letters: int
    waiting: int = 0
    running: int = 0
    unrelayed: int = 0


def close_queue(keys: Keyspace, queue: str) -> Call[tuple[int, int] | None]:
    """Make a queue unknown; its home lanes and lanes, None when it was not known."""
    return Call(load("close_queue"), (keys.queues,), (queue,), lambda reply: lanes_of(reply[1]) if reply[1] else None)


def clear_lane(lane: Lane, *, drops_letters: bool) -> Call[Cleared]:
    """Let go what an idle lane keeps for ever.

    Args:
        lane: Which.
        drops_letters: Whether dead letters go with it; else they keep it.
    """
    keys = (
        *lane.ready, lane.lease, lane.outbox, lane.dlq, lane.dead, lane.done, lane.totals, lane.conf, lane.lane,
        lane.journal, lane.fired, lane.unique, lane.locks, lane.indexes, lane.rates, lane.gdue, lane.wake,
    )  # fmt: skip
    return Call(load("clear_lane"), keys, (int(drops_letters),), _cleared)


def _cleared(reply: Reply) -> Cleared:
    if reply[0] == b"cleared":
        return Cleared(is_done=True, letters=int(reply[1]))
    waiting, running, unrelayed, letters = map(int, reply[1:])
    return Cleared(is_done=False, letters=letters, waiting=waiting, running=running, unrelayed=unrelayed)
