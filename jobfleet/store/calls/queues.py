"""Calls that remove a queue: close_queue and clear_lane."""

from __future__ import annotations

from typing import NamedTuple

from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.enqueue import known_lanes
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.script import load


class Cleared(NamedTuple):
    """The result of clearing a lane.

    Attributes:
        is_done: Whether it was cleared; otherwise the following fields show why not.
        letters: Number of its dead letters.
        waiting: Number of its waiting jobs.
        running: Number of its running jobs.
        unrelayed: Number of endings of which dependants are still to be notified.
    """

    is_done: bool
    letters: int
    waiting: int = 0
    running: int = 0
    unrelayed: int = 0


def close_queue(keys: Keyspace, queue: str) -> Call[tuple[int, int] | None]:
    """Remove a queue from the fleet; return its numbers of home lanes and of lanes, None if it was unknown."""
    return Call(
        load("close_queue"),
        (keys.queues,),
        (queue,),
        lambda reply: known_lanes(queue, reply[1]) if reply[1] else None,
    )


def clear_lane(lane: Lane, *, drops_letters: bool) -> Call[Cleared]:
    """Delete the permanent data of an idle lane.

    Args:
        lane: The lane.
        drops_letters: Whether to delete dead letters too; otherwise they prevent it.
    """
    keys = (
        *lane.ready, lane.lease, lane.outbox, lane.dlq, lane.dead, lane.done, lane.totals, lane.conf, lane.lane,
        lane.journal, lane.fired, lane.unique, lane.locks, lane.indexes, lane.rates, lane.gdue, lane.wake,
        lane.filed, lane.filing,
    )  # fmt: skip
    return Call(load("clear_lane"), keys, (int(drops_letters),), _cleared)


def _cleared(reply: Reply) -> Cleared:
    if reply[0] == b"cleared":
        return Cleared(is_done=True, letters=int(reply[1]))
    waiting, running, unrelayed, letters = map(int, reply[1:])
    return Cleared(is_done=False, letters=letters, waiting=waiting, running=running, unrelayed=unrelayed)
