"""The journal: who reads it, and what goes of it. Reading itself is no script; see `store/journal.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jobfleet.store.call import Call, Reply
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.rows import fields
from jobfleet.store.script import load


@dataclass(frozen=True, slots=True)
class Kept:
    """What stands in a lane's journal.

    Attributes:
        last: The number of its last event.
        low: Up to which number all is acknowledged, or was let go.
        dropped: How many events were let go that somebody had not acknowledged, in all.
        oldest: When the oldest event that is kept happened, µs; 0 for none.
    """

    last: int
    low: int
    dropped: int
    oldest: int

    @property
    def backlog(self) -> int:
        """How many events are kept for somebody."""
        return self.last - self.low


def enlist(keys: Keyspace, group: str, *, most: int) -> Call[None]:
    """Have a group read the journals of the fleet: whoever opens a lane from now on registers it there."""
    return Call(load("enlist"), (keys.consumers,), (group, most), lambda _reply: None)


def dismiss(keys: Keyspace, group: str) -> Call[bool]:
    """Take a group off the list; False when it was not there."""
    return Call(load("dismiss"), (keys.consumers,), (group,), lambda reply: bool(reply[1]))


def consumers(keys: Keyspace) -> Call[Mapping[str, int]]:
    """The groups that read the journals of the fleet, and how many events each lane keeps at most for them."""
    return Call(load("consumers"), (keys.consumers,), (), _consumers)


def _consumers(reply: Reply) -> Mapping[str, int]:
    return fields(reply[1], int, "consumers")[0]


def unreadable(keys: Keyspace) -> Call[list[str]]:
    """What stands among these groups and is none."""
    return Call(load("consumers"), (keys.consumers,), (), lambda reply: list(fields(reply[1], int, "consumers")[1]))


def register(lane: Lane, group: str, *, most: int) -> Call[bool]:
    """Have a group read a lane's journal, which is written from now on; False when it did already.

    Args:
        lane: Which.
        group: Its name.
        most: How many events the journal keeps at most.
    """
    keys = (lane.conf, lane.journal, lane.totals)
    return Call(load("register"), keys, (group, most), lambda reply: bool(reply[1]))


def unregister(lane: Lane, group: str) -> Call[bool]:
    """Let a group go; without any, the journal goes, too. False when there was no such group."""
    return Call(load("unregister"), (lane.conf, lane.journal, lane.totals), (group,), lambda reply: bool(reply[1]))


def trim_journal(lane: Lane, *, longest_us: int, gone_ms: int) -> Call[Kept]:
    """Let go what all groups have acknowledged, what is too old, and readers that are gone. Bounded; repeat it.

    Args:
        lane: Which.
        longest_us: Events older than that go, read or not, and are counted.
        gone_ms: How long a reader with nothing unacknowledged may be silent.
    """
    return Call(
        load("trim_journal"),
        (lane.journal, lane.totals),
        (longest_us, gone_ms),
        lambda reply: Kept(*(int(part) for part in reply[1:])),
    )
