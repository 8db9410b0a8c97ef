"""enqueue, and opening a queue."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.script import load
from jobfleet.store.values import Entry

CHUNK = 50


def enqueue(lane: Lane, entries: Sequence[Entry]) -> Call[list[bool]]:
    """Put at most 50 jobs into a lane; True for each that is new. Safe to repeat."""
    keys = (
        *lane.ready,
        lane.wake,
        lane.meta,
        lane.expiry,
        lane.totals,
        *[lane.job_prefix + entry[0] for entry in entries],
    )
    args: list[Argument] = [lane.tag]
    for entry in entries:
        args.extend(entry)
    return Call(load("enqueue"), keys, tuple(args), _created)


def _created(reply: Reply) -> list[bool]:
    return [letter == 99 for letter in reply[2]]  # 99 is "c"


def open_queue(keys: Keyspace, queue: str, lanes: int) -> Call[tuple[int, int]]:
    """Make a queue known with so many home lanes, unless it is; answer its home lanes and lanes."""
    return Call(load("open_queue"), (keys.queues,), (queue, lanes), lambda reply: lanes_of(reply[1]))


def lanes_of(text: bytes) -> tuple[int, int]:
    """Read ``home:lanes``."""
    home, _, lanes = text.partition(b":")
    return int(home), int(lanes)
