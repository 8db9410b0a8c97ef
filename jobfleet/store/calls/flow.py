"""Calls for dependencies and flows, one job at a time or many jobs of a lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Final, NamedTuple

from jobfleet.errors import JobNotFound
from jobfleet.model import split_id
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.enqueue import keys_of, sealed
from jobfleet.store.calls.inspect import final_of
from jobfleet.store.calls.settle import BESIDE
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Answer, Entry, Holder
from jobfleet.store.rows import Unreadable, ids_of, kept, number_of, sound, text_of
from jobfleet.store.script import load

CHUNK = 50
FLOWS_LISTED = 1000
ADDED_MOST = 20_000
"""Maximum number of jobs that a flow's own jobs may add to it."""
BEGUN, WHOLE, DONE = 1, 2, 3
"""The stages of an addition: recorded; all its jobs are written; the jobs that join it know it."""
NOTIFIED, WAITS, READS = 0, 1, 2
"""What remains for a dependant that was notified of an ending: nothing, a wait for a replay, or the record to read."""
GUARD = ":guard"
"""The guard: an artificial parent that blocks a job until all its parents are recorded."""


class Addition(NamedTuple):
    """The jobs that a job has added to its flow.

    Attributes:
        stage: The stage: 0 not begun, `BEGUN`, `WHOLE` or `DONE`.
        record: The record of the addition.
    """

    stage: int
    record: bytes = b""


class Kept(NamedTuple):
    """The record of a flow.

    Attributes:
        record: Its jobs; empty if the flow is unknown.
        more: The additions of its jobs, by name.
    """

    record: bytes
    more: Mapping[str, Addition]


class Edge(NamedTuple):
    """A dependency on a parent.

    Attributes:
        parent: The id of the parent.
        place: Its number among the parents.
        policy: What happens if it does not complete: c cancel, r run, w wait for a replay. Of a callback ~s (run it if
            the parent completes), ~f (if it fails or expires) or ~u (unless it completes); of that of a flow ~a (if the
            first of its parents fails or expires).
    """

    parent: str
    place: int
    policy: str


class ParentEnd(NamedTuple):
    """The ending of a parent, for a dependant.

    Attributes:
        child: The id of the dependant.
        parent: The id of the parent; `GUARD` when all parents are recorded.
        status: Its final status; ``gone`` if nothing is known of it any more. After ``completed`` may follow the token
            and the proof of the ending, for a record that is read later, when it may be gone.
        record: The record of its ending; empty if it is too large, and must be read from its own key.
    """

    child: str
    parent: str
    status: str
    record: bytes


class Ending(NamedTuple):
    """The ending of a job with dependants.

    Attributes:
        state: watched (it has not ended), ended, dead, open (it was replayed since), or unknown or gone.
        result: The record of its ending, as `status` returns it.
        children: The dependants to notify.
        strangers: Entries among them that are not job ids.
    """

    state: str
    result: bytes = b""
    children: tuple[str, ...] = ()
    strangers: tuple[bytes, ...] = ()

    @property
    def status(self) -> str:
        """The final status as a word."""
        if self.state == "ended":
            return self.result.split(b" ", 1)[0].decode()
        return "failed" if self.state == "dead" else "gone"

    @property
    def described(self) -> str:
        """The status as a `ParentEnd` has it."""
        if not self.is_read_later:
            return self.status
        final = final_of(self.result)
        return f"{self.status} {final.token} {final.proof}" if final.proof else self.status

    @property
    def moved_to(self) -> str:
        """The id of the job in the queue that it was moved to; empty if it was not moved."""
        if self.state != "ended" or not self.result.startswith(b"cancelled "):
            return ""
        return final_of(self.result).moved_to

    @property
    def is_read_later(self) -> bool:
        """Whether dependants read its record when they run, because it was not copied to them."""
        return not self.copied and self.result.startswith(b"completed ")

    @property
    def copied(self) -> bytes:
        """The record that is copied to dependants; empty if it is too large, or has a key of its own."""
        return self.result if len(self.result) <= BESIDE and not self.result.endswith(b"\n") else b""


class ParentState(NamedTuple):
    """The state of a parent, as a dependant knows it.

    Attributes:
        parent: The id of the parent.
        place: Its number among the parents.
        status: Its final status; empty if it has not ended.
        record: The record of its ending; empty if it was too large.
        policy: Before its ending: c, r, w, ~s, ~f, ~u or ~a.
        token: The token of its run, if it has a proof.
        proof: What proves that it has completed, without its record; empty if there is none.
    """

    parent: str
    place: int
    status: str
    record: bytes
    policy: str
    token: int = 0
    proof: str = ""


def block(lane: Lane, entry: Entry, edges: Sequence[Edge], *, ttl_ms: int) -> Call[Answer | None]:
    """Enqueue a blocked job, or record at most 50 more of its parents.

    Returns whether it is new, or the holder of its unique key; None if it is not blocked any more.
    """
    entry = sealed(lane, entry)
    parts = [part for parent, place, policy in edges for part in (parent, f"?{policy} {place}")]
    keys = (
        *lane.ready, lane.meta, lane.expiry, lane.totals, lane.unique, lane.locks, lane.job(entry.id),
        lane.parents(entry.id), lane.journal, lane.grouped, *(keys_of(lane, (entry.meta,)) or (lane.indexes,)),
    )  # fmt: skip
    args: tuple[Argument, ...] = (
        lane.tag, entry.id, entry.band, entry.when, entry.meta, entry.envelope, ttl_ms, *parts,
    )  # fmt: skip
    return Call(load("block"), keys, args, _blocked)


def _blocked(reply: Reply) -> Answer | None:
    if reply[0] == b"held":
        job_id, status = reply[2].decode().split(" ")
        return Holder(job_id, status, has_started=bool(reply[3]))
    return bool(reply[2]) if reply[0] == b"blocked" else None


def _ending(one: ParentEnd) -> tuple[str, str, bytes]:
    return one[1:]


def unblock(lane: Lane, ends: Sequence[ParentEnd], *, ttl_ms: int) -> Call[str]:
    """Notify at most 50 jobs of the ending of one of their parents; returns one letter each.

    u unblocked, b still blocked, x must be cancelled, w waits for a replay, d already notified, g no dependant.
    """
    numbers: dict[str, int] = {}
    places: list[str] = []
    args: list[Argument] = []
    for ending, same in groupby(ends, _ending):
        children = [numbers.setdefault(one.child, len(numbers) + 1) for one in same]
        args += ending
        args += (len(children), *children)
    for child in numbers:
        places += (lane.job(child), lane.parents(child))
    return Call(
        load("unblock"),
        (*lane.ready, lane.wake, lane.grouped, lane.gdue, lane.journal, lane.totals, lane.meta, *places),
        (lane.tag, ttl_ms, *args),
        lambda reply: reply[2].decode(),
    )


def follow(lane: Lane, children: Sequence[str], *, parent: str, to: str) -> Call[str]:
    """Let at most 50 dependants of a moved job depend on its new job; returns one letter each.

    f done, s it depended on the new one anyway, g it does not depend on the old one any more.
    """
    return Call(
        load("follow"),
        tuple(lane.parents(child) for child in children),
        (parent, to),
        lambda reply: reply[1].decode(),
    )


def watch(lane: Lane, job_id: str, children: Sequence[str]) -> Call[Ending]:
    """Register at most 50 dependants of a job, or return its ending."""
    return Call(
        load("watch"),
        (lane.watched, lane.dependants(job_id)),
        (lane.tag, job_id, BESIDE, *children),
        lambda reply: Ending(reply[0].decode(), reply[1] if len(reply) > 1 else b""),
    )


def dependants(lane: Lane, job_id: str, *, ending_ms: int) -> Call[Ending]:
    """Return at most 50 dependants of a job that were not notified of its last ending, and that ending.

    A job that was replayed since has none: its dependants wait for its next ending.
    """
    return Call(load("dependants"), (lane.dependants(job_id),), (lane.tag, job_id, ending_ms), _dependants)


def _dependants(reply: Reply) -> Ending:
    return ending_of(*reply[1:4])


def ending_of(state: bytes, result: bytes, rows: Sequence[bytes]) -> Ending:
    """Return an ending from its parts in a reply."""
    try:
        return Ending(state.decode(), result, tuple(ids_of(rows)))
    except Unreadable:
        children, strangers = sound(rows, _id)
    return Ending(state.decode(), result, tuple(children), tuple(strangers))


def _id(raw: bytes) -> str:
    job_id = raw.decode()
    try:
        split_id(job_id)
    except JobNotFound as error:
        raise ValueError(str(error)) from None
    return job_id


def unwatch(
    lane: Lane, entry: str, job_id: str, notified: Sequence[tuple[str | bytes, int]], *, ending_ms: int
) -> Call[int]:
    """Record that at most 50 dependants were notified, and what remains for each; return the number of the rest.

    Args:
        lane: The lane of the job.
        entry: The record of the ending; deleted with the last dependant to notify.
        job_id: The job.
        notified: The dependants, each with `NOTIFIED`, `WAITS` or `READS`.
        ending_ms: The ending. Dependants that were notified of an earlier one only are still to be notified; 0 if none
            is, because the job was replayed.
    """
    parts = [part for one in notified for part in one]
    return Call(
        load("unwatch"),
        (lane.dependants(job_id), lane.outbox, lane.result(job_id)),
        (entry, ending_ms, *parts),
        lambda reply: int(reply[1]),
    )


def outbox(lane: Lane, *, limit: int = CHUNK) -> Call[list[tuple[str, str]]]:
    """Return endings of which dependants are to be notified: entry and job id."""
    return Call(
        load("outbox"), (lane.outbox,), (limit,), lambda reply: [(text_of(a), text_of(b)) for a, b in reply[1:]]
    )


def parents(lane: Lane, job_id: str) -> Call[list[ParentState]]:
    """Return the parents of a job in order, including ended ones."""
    return Call(load("parents"), (lane.parents(job_id),), (), _parents)


def keep_parents(lane: Lane, children: Sequence[str], *, ttl_ms: int) -> Call[None]:
    """Remember the parents of at most 50 blocked jobs for at least `ttl_ms` from now on; ended jobs are left out."""
    keys = tuple(lane.parents(child) for child in children)
    return Call(load("keep_parents"), keys, (lane.tag, ttl_ms, *children), lambda _: None)


def shorten_parents(lane: Lane, kept_ms: Sequence[tuple[str, int]]) -> Call[int]:
    """Keep the parents of at most 50 ended jobs for at most so many ms; open jobs are left out. Return how many."""
    keys = tuple(lane.parents(job_id) for job_id, _ in kept_ms)
    args = (lane.tag, *[part for row in kept_ms for part in row])
    return Call(load("shorten_parents"), keys, args, lambda reply: int(reply[1]))


def guarded(lane: Lane, job_id: str) -> Call[tuple[bool, list[ParentState]]]:
    """Like `parents`, with whether its guard is still set."""
    return Call(load("parents"), (lane.parents(job_id),), (), lambda reply: (_is_guarded(reply), _sound_parents(reply)))


def _is_guarded(reply: Reply) -> bool:
    fields = zip(reply[1][::2], reply[1][1::2], strict=True)
    return any(name == GUARD.encode() and value[:1] == b"?" for name, value in fields)


def keep_flow(keys: Keyspace, flow_id: str, record: bytes, *, ttl_ms: int) -> Call[int]:
    """Store the record of a flow; return Redis's time."""
    args = (flow_id, ttl_ms, FLOWS_LISTED, _sealed_flow(keys, record, flow_id))
    return Call(load("keep_flow"), (keys.flow(flow_id), keys.flows), args, lambda reply: int(reply[1]))


def read_flow(keys: Keyspace, flow_id: str) -> Call[Kept]:
    """Return the record of a flow."""
    return Call(load("flow"), (keys.flow(flow_id), keys.flow_more(flow_id)), (), partial(_kept, keys, flow_id))


def _kept(keys: Keyspace, flow_id: str, reply: Reply) -> Kept:
    def read(row: tuple[bytes, bytes]) -> tuple[str, Addition]:
        name, stored = row[0].decode(), row[1]
        ids_of([row[0].partition(b" ")[0]])  # of the job that has added them
        return name, Addition(int(stored[:1]), _opened_flow(keys, stored[1:], flow_id, name))

    more = [row for row in zip(reply[2][::2], reply[2][1::2], strict=True) if row[0]]
    additions = dict(kept(more, read, keys.flow_more(flow_id)))
    return Kept(_opened_flow(keys, bytes(reply[1]), flow_id), additions)


def _sealed_flow(keys: Keyspace, record: bytes, flow_id: str, name: str = "") -> bytes:
    return record if keys.seals is None else keys.seals.value(record, "flow", flow_id, name)


def _opened_flow(keys: Keyspace, record: bytes, flow_id: str, name: str = "") -> bytes:
    return record if keys.seals is None else keys.seals.open_value(record, "flow", flow_id, name)


def extend_flow(
    keys: Keyspace, flow_id: str, name: str, *, stage: int, count: int, record: bytes, ttl_ms: int
) -> Call[Addition | int | None]:
    """Record an addition to a flow under a name, and its stage.

    Returns the previous record of this addition; the number of added jobs if there are too many; None if the flow is
    unknown.
    """
    places = (keys.flow(flow_id), keys.flow_more(flow_id))
    kept = _sealed_flow(keys, record, flow_id, name)
    args = (name, stage, count, ADDED_MOST, ttl_ms, kept)
    return Call(load("extend_flow"), places, args, partial(_extended, keys, flow_id, name))


def renew_flow(keys: Keyspace, flow_id: str, *, ttl_ms: int) -> Call[None]:
    """Keep the record of a flow, and its additions, for `ttl_ms` from now on."""
    nothing = ("", 0, 0, ADDED_MOST, ttl_ms, b"")
    return Call(load("extend_flow"), (keys.flow(flow_id), keys.flow_more(flow_id)), nothing, lambda _: None)


def _extended(keys: Keyspace, flow_id: str, name: str, reply: Reply) -> Addition | int | None:
    if reply[0] == b"full":
        return int(reply[1])
    if reply[0] != b"extended":
        return None
    return Addition(int(reply[2]), _opened_flow(keys, bytes(reply[3]), flow_id, name))


def children(lane: Lane, job_id: str, *, skip: int = 0) -> Call[list[str]]:
    """Return a page of a job's dependants."""
    places = (lane.dependants(job_id),)
    return Call(
        load("children"), places, (skip, CHUNK), lambda reply: kept(reply[1], bytes.decode, lane.dependants(job_id))
    )


def join(lane: Lane, child: str, *, via: str, parents: Sequence[str], most: int) -> Call[str]:
    """Let a dependant of a job depend on at most 50 more jobs.

    Returns the policy of its dependencies: c, r, w or ~a; ``late`` if it does not depend on that job any more,
    ``full`` if it would have too many parents.
    """
    args: tuple[Argument, ...] = (lane.tag, child, via, most, *parents)
    return Call(load("join"), (lane.parents(child),), args, lambda reply: reply[-1].decode())


def flows(keys: Keyspace, *, limit: int) -> Call[list[tuple[str, int]]]:
    """Return those of the last `limit` flows that have a record, newest first: id and creation time (µs)."""
    return Call(
        load("flows"),
        (keys.flows,),
        (keys.tag, limit),
        lambda reply: [(text_of(name), number_of(at)) for name, at in zip(reply[1][::2], reply[1][1::2], strict=True)],
    )


def results(lane: Lane, ids: Sequence[str]) -> Call[list[bytes]]:
    """Return the stored endings of at most 50 jobs; empty if there is none."""
    return Call(load("results"), (lane.lane,), (lane.tag, *ids), lambda reply: list(reply[1]))


def _parents(reply: Reply) -> list[ParentState]:
    fields = zip(reply[1][::2], reply[1][1::2], strict=True)
    return sorted(
        (_parent(name.decode(), value) for name, value in fields if name[:1] != b":"), key=lambda row: row.place
    )


def _sound_parents(reply: Reply) -> list[ParentState]:
    """Like `_parents`, but it skips entries that cannot be read, because one must not block a duty."""
    fields = [pair for pair in zip(reply[1][::2], reply[1][1::2], strict=True) if pair[0][:1] != b":"]
    rows = kept(fields, lambda pair: _parent(pair[0].decode(), pair[1]), "the parents of a job")
    return sorted(rows, key=lambda row: row.place)


def _parent(name: str, value: bytes) -> ParentState:
    if value[:1] == b"?":
        policy, _, place = value[1:].decode().partition(" ")
        return ParentState(name, int(place), "", b"", policy)
    line, _, record = value.partition(b"\n")
    place, status, token, proof, *_ = (*line.decode().split(" "), "", "", "")
    return ParentState(name, int(place), status, record, "", int(token or 0), proof)


# Calls for many jobs of a lane with dependants: block_many, pending_ends, unwatch_many.


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
