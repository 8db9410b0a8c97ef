"""Calls for notifications: gather, take, deliver and deliveries; all reapers share the stored deliveries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import ChannelKeys
from jobfleet.store.retention import NOTICES_MS
from jobfleet.store.rows import NOT_READ, kept, number_of
from jobfleet.store.script import load

CHUNK = 40
MARKS_MOST = 100_000
WINDOWS_AT_ONCE = 20


class Item(NamedTuple):
    """A notice for a channel.

    Attributes:
        mark: A unique mark of the event; a known one is not processed again.
        kind: The kind under which notices are collected.
        window_us: Duration of the collection in µs; 0 to send each on its own.
        delivery: The id of the delivery, if it is sent at once.
        at_us: Time of the event in µs.
        notice: The encoded notice.
    """

    mark: str
    kind: str
    window_us: int
    delivery: str
    at_us: int
    notice: bytes


class Delivery(NamedTuple):
    """A notification to send.

    Attributes:
        id: Its id.
        attempt: Number of the attempt.
        made_us: Time of its creation in µs.
        events: Number of notices in it.
        first_us: Time of the first of them in µs.
        last_us: Time of the last of them in µs.
        kind: Their kind.
        notice: One of them.
        due_us: Time of the next attempt in µs; 0 if it was not requested.
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
    """The reply to `take`.

    Attributes:
        now: Redis's time, µs.
        next_us: Time of the next action in µs; 0 if nothing waits.
        has_others: Whether another reaper has different rules.
        delivery: The taken delivery; None if none is due.
        spoiled: The id of a taken delivery that cannot be read, and its content.
    """

    now: int
    next_us: int
    has_others: bool
    delivery: Delivery | None
    spoiled: tuple[bytes, bytes] | None = None


class Pending(NamedTuple):
    """The pending notifications of a channel.

    Attributes:
        now: Redis's time, µs.
        held: Number of deliveries.
        open: Number of kinds with an open window.
        deliveries: The first deliveries.
        gathered: Number of collected notices in the first windows.
    """

    now: int
    held: int
    open: int
    deliveries: list[Delivery]
    gathered: int


def gather(keys: ChannelKeys, items: Sequence[Item], *, most: int) -> Call[int]:
    """Process at most 40 notices; return the number of new ones.

    Args:
        keys: The channel's keys.
        items: The notices.
        most: Maximum number of kinds that are sent at once in five minutes; further ones are collected under one kind.
    """
    args: list[Argument] = [most, MARKS_MOST]
    for item in items:
        args += item
    places = (keys.gathered, keys.windows, keys.groups, keys.due, keys.held)
    return Call(load("gather"), places, tuple(args), lambda reply: int(reply[1]))


def take(keys: ChannelKeys, *, lease_us: int, rules: str) -> Call[Taken]:
    """Close windows that are over, and take a due delivery for the duration of the lease.

    Args:
        keys: The channel's keys.
        lease_us: Duration of the lease in µs.
        rules: A digest of all channels and rules of the caller.
    """
    places = (keys.gathered, keys.windows, keys.groups, keys.due, keys.held)
    return Call(load("take"), places, (lease_us, NOTICES_MS, WINDOWS_AT_ONCE, rules), _taken)


def _taken(reply: Reply) -> Taken:
    taken = Taken(number_of(reply[1]), number_of(reply[2]), bool(reply[3]), None)
    if reply[0] != b"taken":
        return taken
    try:
        return taken._replace(delivery=_delivery(reply[4], reply[5]))
    except NOT_READ:
        return taken._replace(spoiled=(reply[4], reply[5]))


def deliver(keys: ChannelKeys, delivery: Delivery, *, delay_us: int | None = None) -> Call[bool]:
    """Finish a delivery, or delay its next attempt by `delay_us`; False if it was not there."""
    args = (delivery.id, delivery.attempt, -1 if delay_us is None else delay_us)
    return Call(load("deliver"), (keys.due, keys.held), args, lambda reply: bool(reply[1]))


def drop(keys: ChannelKeys, delivery: bytes) -> Call[bool]:
    """Delete a delivery that cannot be read; False if it was not there."""
    return Call(load("deliver"), (keys.due, keys.held), (delivery, 0, -1), lambda reply: bool(reply[1]))


def deliveries(keys: ChannelKeys, *, limit: int = 50) -> Call[Pending]:
    """Return the pending notifications of a channel."""
    return Call(load("deliveries"), (keys.windows, keys.groups, keys.due, keys.held), (limit,), _pending)


def _pending(reply: Reply) -> Pending:
    rows = [row for row in zip(reply[4][::3], reply[4][1::3], reply[4][2::3], strict=True) if row[2]]
    held = kept(rows, lambda row: _delivery(row[0], row[2])._replace(due_us=int(row[1])), "the held notifications")
    gathered = sum(kept(filter(None, reply[5][2::3]), lambda row: int(row.split(b" ", 1)[0]), "gathered notices"))
    return Pending(int(reply[1]), int(reply[2]), int(reply[3]), held, gathered)


def _delivery(id: bytes, row: bytes) -> Delivery:
    head, _, notice = row.partition(b"\n")
    attempt, made, count, first, last, kind = head.decode().split(" ")
    return Delivery(id.decode(), int(attempt), int(made), int(count), int(first), int(last), kind, notice)
