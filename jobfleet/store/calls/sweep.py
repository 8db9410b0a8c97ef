"""Calls with which the retention duty cleans the indexes of jobs: indexes and sweep."""

from __future__ import annotations

from jobfleet.store.call import Call
from jobfleet.store.calls.index import KEEP
from jobfleet.store.keys import Lane
from jobfleet.store.rows import sound
from jobfleet.store.script import load

SWEPT_AT_ONCE = 50
DAY_US, LOOK_US = 86_400_000_000, 600_000_000
"""By how long a cleaning is delayed at most because an index has no new entry: usually, and if results are counted."""


def function_of(name: str) -> str | None:
    """Return the function of such an index; None for another index."""
    return name.removeprefix(KEEP) if name.startswith(KEEP) else None


def indexes(lane: Lane) -> Call[list[str]]:
    """Return at most 50 indexes that are due for cleaning."""
    return Call(load("indexes"), (lane.indexes,), (SWEPT_AT_ONCE,), lambda reply: sound(reply[1], bytes.decode)[0])


def sweep(lane: Lane, name: str, *, skip: int = 0) -> Call[tuple[int, int, bool]]:
    """Remove entries of deleted jobs from an index; return counts of removed and kept ones, and whether more follow."""
    return Call(
        load("sweep"),
        (lane.index_of(name), lane.indexes),
        (lane.tag, name, skip, DAY_US if function_of(name) is None else LOOK_US),
        lambda reply: (int(reply[1]), int(reply[2]), bool(reply[3])),
    )
