"""Calls for the records of a fleet: the journal with the events of jobs, and the audit with the actions of operators.

The journal is read without a script; see `store/journal.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.model.audit import Position
from jobfleet.store.call import Call, Reply
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.rows import fields, report, shown, sound
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

AUDIT_PAGE = 200
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
    return fields(reply[1], int, "consumers")[0]


def unreadable(keys: Keyspace) -> Call[list[str]]:
    """Return descriptions of the list's entries that cannot be read."""
    return Call(load("consumers"), (keys.consumers,), (), lambda reply: list(fields(reply[1], int, "consumers")[1]))


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
    return sealed_audit(seals, Position.parse(row[0].decode()), entry_id, head, stored)


def sealed_audit(seals: Seals | None, position: Position, entry_id: str, head: str, stored: bytes) -> AuditRecord:
    """Open a record from its parts."""
    body = stored if seals is None else seals.open_value(stored, AUDIT, entry_id, head)
    return AuditRecord(position, entry_id, head, body, stored)
