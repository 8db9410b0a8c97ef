"""Calls for the journal: its readers and its trimming. The reading itself is not a script; see `store/journal.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobfleet.store.call import Call, Reply
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.rows import fields
from jobfleet.store.script import load


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
