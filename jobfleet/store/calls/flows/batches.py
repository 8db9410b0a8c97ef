"""Calls for many jobs of a lane with dependants: block_many, pending_ends, unwatch_many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.enqueue import sealed
from jobfleet.store.calls.flow import GUARD, Edge, Ending, ending_of
from jobfleet.store.keys import Lane
from jobfleet.store.records import Entry
from jobfleet.store.rows import text_of
from jobfleet.store.script import load

LINKS_MOST: Final = 500
"""Maximum number of parents and dependants in one call of `block_many`, unless one job has more."""
PAGE: Final = 100
"""Maximum number of endings that are read at once. More would keep other clients waiting."""
EXISTS: Final = "e"
"""Answer of the script `block_many` for a job that does not wait; its dependants were not registered."""


class Blocked(NamedTuple):
    """A job to enqueue as blocked.

    Attributes:
        entry: The job. It has no clear record.
        edges: Its parents, at most 50.
        children: The ids of its dependants, at most 50.
        is_guarded: Whether a guard blocks it too, until all is written.
    """

    entry: Entry
    edges: Sequence[Edge]
    children: Sequence[str]
    is_guarded: bool


def block_many(lane: Lane, items: Sequence[Blocked], *, ttl_ms: int) -> Call[str]:
    """Enqueue at most 50 blocked jobs of a lane, no id twice; returns one letter each.

    c created, w it waited already, e it exists and does not wait. Its dependants are registered, but for e.
    """
    prefix, parents, dependants = lane.job_prefix, lane.parents, lane.dependants
    keys: list[str] = [*lane.ready, lane.totals, lane.watched, lane.journal]
    shapes: list[Argument] = []
    args: list[Argument] = []
    last: tuple[object, ...] = ()
    count = 0
    for entry, edges, children, is_guarded in items:
        job_id, band, when, _, envelope = entry if lane.seals is None else sealed(lane, entry)
        keys += (prefix + job_id, parents(job_id), dependants(job_id))
        shape = (band, when, edges, children, is_guarded)
        if shape != last:
            last = shape
            count += 1
            shapes += (band, when, len(edges) + is_guarded, len(children))
            if is_guarded:
                shapes += (GUARD, "?c 0")
            for parent, place, policy in edges:
                shapes += (parent, f"?{policy} {place}")
            for child in children:
                shapes += (0, child)
        args += (count, envelope)
    return Call(
        load("block_many"), tuple(keys), (lane.tag, ttl_ms, count, *shapes, *args), lambda reply: reply[2].decode()
    )


class PendingEnd(NamedTuple):
    """An ending of which dependants are to be notified.

    Attributes:
        entry: Its record in the outbox.
        job_id: The job that ended.
        ending: The ending, with at most 100 of the dependants to notify.
    """

    entry: str
    job_id: str
    ending: Ending

    @property
    def at_ms(self) -> int:
        """The time of the ending, ms since 1970."""
        return int(self.entry.partition("-")[0])


class Notified(NamedTuple):
    """What was done about an ending.

    Attributes:
        entry: Its record in the outbox; deleted with the last dependant to notify.
        job_id: The job that ended.
        ending_ms: The ending, as in `unwatch`.
        children: The dependants that were notified, each with what remains: `NOTIFIED`, `WAITS` or `READS`.
    """

    entry: str
    job_id: str
    ending_ms: int
    children: Sequence[tuple[str, int]]


def pending_ends(lane: Lane, *, limit: int = PAGE) -> Call[list[PendingEnd]]:
    """Return at most `limit` of the oldest endings of which dependants are to be notified, with some of those."""
    return Call(load("pending_ends"), (lane.outbox,), (lane.tag, limit), _pending_ends)


def _pending_ends(reply: Reply) -> list[PendingEnd]:
    return [
        PendingEnd(text_of(entry), text_of(job_id), ending_of(state, result, children))
        for entry, job_id, state, result, children in reply[1:]
    ]


def unwatch_many(lane: Lane, items: Sequence[Notified]) -> Call[list[int]]:
    """Record that dependants of at most 50 endings were notified; return the number of the rest of each."""
    keys: list[str] = [lane.outbox]
    args: list[Argument] = []
    for entry, job_id, ending_ms, children in items:
        keys += (lane.dependants(job_id), lane.result(job_id))
        args += (entry, ending_ms, "".join([f"{child} {rest} " for child, rest in children]))
    return Call(load("unwatch_many"), tuple(keys), tuple(args), lambda reply: list(reply[1]))
