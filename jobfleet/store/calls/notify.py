"""gather, take, deliver, deliveries: what notification channels have yet to tell, kept once for all reapers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import ChannelKeys
from jobfleet.store.retention import NOTICES_MS
from jobfleet.store.script import load

CHUNK = 40
MARKS_MOST = 100_000
WINDOWS_AT_ONCE = 20


class Item(NamedTuple):
    """A notice for a channel.

    Attributes:
        mark: What tells it from every other; one that is known is not taken in again.
        kind: What it gathers under.
        window_us: How long; 0 tells it by itself.
        delivery: The id of the delivery that it becomes where it is told at once.
        at_us: When it happened.
        notice: The notice itself.
    """

    mark: str
    kind: str
    window_us: int
    delivery: str
    at_us: int
    notice: bytes


class Delivery(NamedTuple):
    """What is to be told.

    Attributes:
        id: Its id.
        attempt: How often it was taken.
        made_us: When it was made, µs.
        events: How many notices it stands for.
        first_us: When the first of them happened.
        last_us: When the last of them happened.
        kind: What they have in common.
        notice: One of them.
        due_us: When it is tried next; 0 where that was not asked.
    """

    id: str
    attempt: int
    made_us: int
    events: int
    first_us: int
    last_us: int
    kind: str
    notice: bytes
    due_us: int = 0


class Taken(NamedTuple):
    """The answer to `take`.

    Attributes:
        now: Redis's time, µs.
        next_us: When something is to be done next, µs; 0 when nothing waits.
        has_others: Whether another reaper goes by other rules.
        delivery: What was taken; None when nothing is due.
    """

    now: int
    next_us: int
    has_others: bool
    delivery: Delivery | None


class Pending(NamedTuple):
    """What a channel has yet to tell.

    Attributes:
        now: Redis's time, µs.
        held: How many deliveries there are.
        open: How many kinds have a window open.
        deliveries: The first of them.
        gathered: How many notices have gathered in the first of the windows.
    """

    now: int
    held: int
    open: int
    deliveries: list[Delivery]
    gathered: int


def gather(keys: ChannelKeys, items: Sequence[Item], *, most: int) -> Call[int]:
    """Take at most 40 notices in; how many were new.

    Args:
        keys: The channel's.
        items: The notices.
        most: Kinds told at once in five minutes; what is beyond gathers under one kind.
    """
    args: list[Argument] = [most, MARKS_MOST]
    for item in items:
        args += item
    places = (keys.gathered, keys.windows, keys.groups, keys.due, keys.held)
    return Call(load("gather"), places, tuple(args), lambda reply: int(reply[1]))


def take(keys: ChannelKeys, *, lease_us: int, rules: str) -> Call[Taken]:
    """End windows that are over, and take a delivery that is due, for as long as the lease.

    Args:
        keys: The channel's.
        lease_us: How long it is taken for.
        rules: A word for all channels and rules that the caller goes by.
    """
    places = (keys.gathered, keys.windows, keys.groups, keys.due, keys.held)
    return Call(load("take"), places, (lease_us, NOTICES_MS, WINDOWS_AT_ONCE, rules), _taken)


def _taken(reply: Reply) -> Taken:
    delivery = _delivery(reply[4], reply[5]) if reply[0] == b"taken" else None
    return Taken(int(reply[1]), int(reply[2]), bool(reply[3]), delivery)


def deliver(keys: ChannelKeys, delivery: Delivery, *, delay_us: int | None = None) -> Call[bool]:
    """Say what became of a delivery: done with, or tried again after `delay_us`; False when it was not there."""
    args = (delivery.id, delivery.attempt, -1 if delay_us is None else delay_us)
    return Call(load("deliver"), (keys.due, keys.held), args, lambda reply: bool(reply[1]))


def deliveries(keys: ChannelKeys, *, limit: int = 50) -> Call[Pending]:
    """What a channel has yet to tell."""
    return Call(load("deliveries"), (keys.windows, keys.groups, keys.due, keys.held), (limit,), _pending)


def _pending(reply: Reply) -> Pending:
    held = [
        _delivery(name, row)._replace(due_us=int(due))
        for name, due, row in zip(reply[4][::3], reply[4][1::3], reply[4][2::3], strict=True)
        if row
    ]
    gathered = sum(int(row.split(b" ", 1)[0]) for row in reply[5][2::3] if row)
    return Pending(int(reply[1]), int(reply[2]), int(reply[3]), held, gathered)


def _delivery(id: bytes, row: bytes) -> Delivery:
    head, _, notice = row.partition(b"\n")
    attempt, made, count, first, last, kind = head.decode().split(" ")
    return Delivery(id.decode(), int(attempt), int(made), int(count), int(first), int(last), kind, notice)
