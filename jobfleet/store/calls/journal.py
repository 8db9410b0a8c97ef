"""Calls for the records of a fleet: the journal, the audit, and notifications."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.model.audit import Position
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import NOTICES_MS, ChannelKeys, Keyspace, Lane
from jobfleet.store.rows import NOT_READ, Unreadable, counter_of, fields, kept, number_of, report, shown, sound
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals


# Calls for the records of a fleet: the journal with the events of jobs, and the audit with the actions of operators.
#
# The journal is read without a script; see `store/journal.py`.


AUDIT_PAGE = 200
AUDIT_ID_MOST = 64
AUDIT = "audit"


class AuditRecord(NamedTuple):
    """A record of the audit.

    Attributes:
        position: Its place in the stream.
        id: The id of the action. The records of its beginning and of its end have the same.
        head: Who did what to what, and how it ended, as JSON.
        body: The values before and after, encoded.
        stored: The body as it is stored, maybe sealed.
    """

    position: Position
    id: str
    head: str
    body: bytes
    stored: bytes


@dataclass(frozen=True, slots=True)
class Kept:
    """The state of a lane's journal.

    Attributes:
        last: The number of its last event.
        low: The highest number up to which all events were acknowledged or deleted.
        dropped: Total number of events that were deleted before all groups had acknowledged them.
        oldest: Time of the oldest stored event in µs; 0 for none.
    """

    last: int
    low: int
    dropped: int
    oldest: int

    @property
    def backlog(self) -> int:
        """Number of events that are stored for at least one group."""
        return self.last - self.low


def enlist(keys: Keyspace, group: str, *, most: int) -> Call[None]:
    """Let a group read the journals of the fleet; new lanes register it from now on."""
    return Call(load("enlist"), (keys.consumers,), (group, most), lambda _reply: None)


def dismiss(keys: Keyspace, group: str) -> Call[bool]:
    """Remove a group from the fleet's list; False if it was not there."""
    return Call(load("dismiss"), (keys.consumers,), (group,), lambda reply: bool(reply[1]))


def consumers(keys: Keyspace) -> Call[Mapping[str, int]]:
    """Return the groups that read the fleet's journals, and the maximum number of events per lane for each."""
    return Call(load("consumers"), (keys.consumers,), (), _consumers)


def _consumers(reply: Reply) -> Mapping[str, int]:
    return fields(reply[1], counter_of, "consumers")[0]


def unreadable(keys: Keyspace) -> Call[list[str]]:
    """Return descriptions of the list's entries that cannot be read."""
    return Call(
        load("consumers"), (keys.consumers,), (), lambda reply: list(fields(reply[1], counter_of, "consumers")[1])
    )


def register(lane: Lane, group: str, *, most: int) -> Call[bool]:
    """Let a group read a lane's journal, which is written from now on; False if it did already.

    Args:
        lane: The lane.
        group: Its name.
        most: Maximum number of events in the journal.
    """
    keys = (lane.conf, lane.journal, lane.totals)
    return Call(load("register"), keys, (group, most), lambda reply: bool(reply[1]))


def unregister(lane: Lane, group: str) -> Call[bool]:
    """Remove a group from a lane; the journal is deleted with its last group. False if there was no such group."""
    return Call(load("unregister"), (lane.conf, lane.journal, lane.totals), (group,), lambda reply: bool(reply[1]))


def trim_journal(lane: Lane, *, longest_us: int, gone_ms: int) -> Call[Kept]:
    """Delete events that all groups have acknowledged or that are too old, and dead readers. Limited; repeat it.

    Args:
        lane: The lane.
        longest_us: Maximum age of events in µs; older ones are deleted and counted.
        gone_ms: Maximum silence in ms of a reader without unacknowledged events.
    """
    return Call(
        load("trim_journal"),
        (lane.journal, lane.totals),
        (longest_us, gone_ms),
        lambda reply: Kept(*(int(part) for part in reply[1:])),
    )


def write_audit(keys: Keyspace, id: str, head: str, body: bytes, *, most: int, began: str = "") -> Call[str]:
    """Record an action; return the position of the record.

    Args:
        keys: The fleet's keys.
        id: The id of the action.
        head: Who did what to what, and how it ended, as JSON; it is not encrypted.
        body: The values before and after, encoded.
        most: Maximum number of records; older ones are deleted.
        began: The position of the record of the beginning, which this one replaces; empty if there is none.
    """
    if keys.seals is not None:
        body = keys.seals.value(body, AUDIT, id, head)
    return Call(load("write_audit"), (keys.audit,), (most, began, id, head, body), lambda reply: reply[1].decode())


def read_audit(
    keys: Keyspace, *, first: str = "+", last: str = "-", is_newest_first: bool = True, limit: int = AUDIT_PAGE
) -> Call[tuple[list[AuditRecord], str]]:
    """Return a page of the audit, and the position of its last record, readable or not; that is empty at the end.

    Args:
        keys: The fleet's keys.
        first: Where the page begins, as XRANGE takes it: ``+``, ``-``, or ``(`` and the last position that was read.
        last: Where the records end.
        is_newest_first: Whether the newest record comes first; otherwise `first` is the older end.
        limit: The most records.
    """
    read = partial(_audit, keys.seals, limit)
    return Call(load("read_audit"), (keys.audit,), (int(is_newest_first), first, last, limit), read)


def _audit(seals: Seals | None, limit: int, reply: Reply) -> tuple[list[AuditRecord], str]:
    records, bad = sound(reply[1], partial(open_audit, seals))
    report(f"audit has {shown(position)}" for position, _ in bad)
    return records, reply[1][-1][0].decode() if len(reply[1]) == limit else ""


def open_audit(seals: Seals | None, row: Sequence[Any]) -> AuditRecord:
    """Open one record."""
    found = dict(zip(row[1][::2], row[1][1::2], strict=True))
    entry_id, head, stored = found[b"id"].decode(), found[b"head"].decode(), found[b"body"]
    if len(entry_id) > AUDIT_ID_MOST:
        raise Unreadable(f"its id is {shown(found[b'id'])}")
    return sealed_audit(seals, Position.parse(row[0].decode()), entry_id, head, stored)


def sealed_audit(seals: Seals | None, position: Position, entry_id: str, head: str, stored: bytes) -> AuditRecord:
    """Open a record from its parts."""
    body = stored if seals is None else seals.open_value(stored, AUDIT, entry_id, head)
    return AuditRecord(position, entry_id, head, body, stored)


# Calls for notifications: gather, take, deliver and deliveries; all reapers share the stored deliveries.


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
