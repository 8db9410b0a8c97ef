"""What a job's start depends on: how it stands, the limits it is under, and its group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from jobfleet.store.job_rows import Found


class Limited(NamedTuple):
    """Limits, and how much of them is used.

    Attributes:
        most: How many may run at once; 0 for any number.
        running: How many do.
        token: When the rate lets the next one start, µs; 0 when it does.
    """

    most: int
    running: int
    token: int


class Grouped(NamedTuple):
    """A job's group in its lane.

    Attributes:
        name: Its name.
        paused_by: Who paused it; empty when it is not.
        paused_at: When, µs.
        paused_reason: Why, as far as that was said.
        limit: What it may do.
        holders: At most five of its running jobs.
        ahead: How many jobs of its own stand before this one.
        turns: How many groups take turns in its band.
    """

    name: str
    paused_by: str
    paused_at: int
    paused_reason: str
    limit: Limited
    holders: tuple[str, ...]
    ahead: int
    turns: int


@dataclass(frozen=True, slots=True)
class Explained:
    """What one job's start depends on in its lane, read at one moment.

    Attributes:
        now: Redis's time, µs.
        found: Where the job stands.
        meta: Its clear record.
        paused_by: Who paused the lane; None when it is not.
        paused_at: When, µs.
        reason: Why.
        functions: The functions that are paused, or being resumed, a line each.
        deadline: When the lease of its run ends, µs; 0 outside of a run.
        hold: Until when the lane's leases are not judged, µs; 0 when they are.
        due: Jobs of the lane that can be claimed, a number a band.
        rank: How many stand before it in its band, while it waits.
        watched: Whether other jobs wait for its end.
        limit: The lane's own limits; None when it has none.
        group: Its group; None when it has none.
    """

    now: int
    found: Found
    meta: str = ""
    paused_by: str | None = None
    paused_at: int = 0
    reason: str = ""
    functions: str = ""
    deadline: int = 0
    hold: int = 0
    due: tuple[int, ...] = (0, 0, 0, 0)
    rank: int = 0
    watched: bool = False
    limit: Limited | None = None
    group: Grouped | None = None
