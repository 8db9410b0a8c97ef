"""Where the lanes of queues are, and how many jobs each has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from jobfleet.errors import StoreUnavailable
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import EachLane, Operation, value
from jobfleet.store.calls import inspect
from jobfleet.store.calls.doctor import Topology, topology
from jobfleet.store.keys import Lane
from jobfleet.store.records import Counts

CROWDED, UNEVEN = 100, 4
"""A lane is hot with so many due jobs, if they are so many times those of each other lane."""


@dataclass(frozen=True, slots=True)
class LaneInfo:
    """A lane at one moment.

    Attributes:
        queue: The name of the queue.
        lane: The number of the lane.
        node: The address of the cluster node that serves it; None for one server, or if no node does.
        queued: Jobs that are due now.
        later: Jobs that are due later, or wait for others.
        running: Running jobs.
        is_hot: Whether it has many more due jobs than the other lanes of its queue.
        is_away: Whether its node does not reply, so that its jobs are not counted.
    """

    queue: str
    lane: int
    node: str | None
    queued: int
    later: int
    running: int
    is_hot: bool
    is_away: bool = False


def spread(context: FleetContext, queue: str | None = None) -> Operation[list[LaneInfo]]:
    """List the lanes of one queue, or of all.

    Raises:
        UnknownQueue: There is no such queue.
    """
    every = yield from lanes(context, queue)
    if not every:
        return []
    nodes, *answers = yield EachLane((topology(context.keys), *(inspect.counts(lane) for lane in every)))
    counts = [one if isinstance(one, StoreUnavailable) else value([one]) for one in answers]
    return lane_infos(every, counts, value([nodes]))


def lane_infos(every: Sequence[Lane], counts: Sequence[Counts | StoreUnavailable], nodes: Topology) -> list[LaneInfo]:
    """Return a row per lane, from its counts or the error about its node. Pure."""
    due = [0 if isinstance(one, StoreUnavailable) else sum(one.due) for one in counts]
    by_queue: dict[str, list[int]] = {}
    for lane, number in zip(every, due, strict=True):
        by_queue.setdefault(lane.queue, []).append(number)
    rows = []
    for lane, one, number in zip(every, counts, due, strict=True):
        node = nodes.node_of(lane)
        if isinstance(one, StoreUnavailable):
            address = node.address if node else one.node or None
            rows.append(LaneInfo(lane.queue, lane.index, address, 0, 0, 0, is_hot=False, is_away=True))
            continue
        later = sum(one.later) + sum(one.blocked)
        hot = is_hot(number, by_queue[lane.queue])
        rows.append(LaneInfo(lane.queue, lane.index, node.address if node else None, number, later, one.running, hot))
    return rows


def is_hot(due: int, lanes: Sequence[int]) -> bool:
    """Whether a lane has many more due jobs than the other lanes of its queue have on average.

    Args:
        due: The due jobs of the lane.
        lanes: The due jobs of each lane of its queue.
    """
    return len(lanes) > 1 and due >= CROWDED and due > UNEVEN * (sum(lanes) - due) / (len(lanes) - 1)
