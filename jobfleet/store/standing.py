"""How a job stands among others: the limits it is under, and its group."""

from __future__ import annotations

from typing import NamedTuple


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
        paused_why: Why, as far as that was said.
        limit: What it may do.
        holders: At most five of its running jobs.
        ahead: How many jobs of its own stand before this one.
        turns: How many groups take turns in its band.
    """

    name: str
    paused_by: str
    paused_at: int
    paused_why: str
    limit: Limited
    holders: tuple[str, ...]
    ahead: int
    turns: int
