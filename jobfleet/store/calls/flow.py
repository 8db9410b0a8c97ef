"""block, unblock, follow, join, watch, unwatch, dependants, outbox, and flows: jobs that wait for others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobfleet.errors import JobNotFound
from jobfleet.model import split_id
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.index import keys_of
from jobfleet.store.calls.inspect import final_of
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Answer, Entry, Holder
from jobfleet.store.rows import number_of, sound, text_of
from jobfleet.store.script import load

CHUNK = 50
BESIDE = 64 * 1024
"""Bytes of a parent's end that are copied to the child; a larger one is read where it lies."""
FLOWS_LISTED = 1000
ADDED_MOST = 20_000
"""Jobs that may be added to a flow by its own jobs."""
BEGUN, WHOLE, DONE = 1, 2, 3
"""How far an addition has come: it is noted; all its jobs are written; those that join it know of it."""
GUARD = ":guard"
"""The edge that holds a job until all its parents are named."""


class Addition(NamedTuple):
    """What a job has added to its flow.

    Attributes:
        stage: How far that has come: 0 not begun, `BEGUN`, `WHOLE` or `DONE`.
        record: What it is.
    """

    stage: int
    record: bytes = b""


class Kept(NamedTuple):
    """What a flow is made of.

    Attributes:
        record: Its jobs; empty when nothing is known of it.
        more: What its jobs have added, by name.
    """

    record: bytes
    more: Mapping[str, Addition]


class Edge(NamedTuple):
    """One job that another waits for.

    Attributes:
        parent: Its id.
        place: Its number among the parents.
        policy: What follows when it does not complete: c cancel, r run, w wait for a replay.
    """

    parent: str
    place: int
    policy: str


class ParentEnd(NamedTuple):
    """What a job that waits is told.

    Attributes:
        child: Its id.
        parent: Who ended; `GUARD` when all parents are named.
        status: How; ``gone`` when nothing is known of it any more.
        record: What is kept of its end; empty when that is too large, and to be read where it lies.
    """

    child: str
    parent: str
    status: str
    record: bytes


class Ending(NamedTuple):
    """How a job that others wait for has ended.

    Attributes:
        state: watched (it has not), ended, dead, or unknown or gone.
        result: What is kept of it, as `status` would answer.
        children: Who is to be told.
        strangers: What stands among them and is no job.
    """

    state: str
    result: bytes = b""
    children: tuple[str, ...] = ()
    strangers: tuple[bytes, ...] = ()

    @property
    def status(self) -> str:
        """How, in a word."""
        if self.state == "ended":
            return self.result.split(b" ", 1)[0].decode()
        return "failed" if self.state == "dead" else "gone"

    @property
    def moved_to(self) -> str:
        """Who took its place in another queue; empty where nobody did."""
        if self.state != "ended" or not self.result.startswith(b"cancelled "):
            return ""
        return final_of(self.result).moved_to

    @property
    def copied(self) -> bytes:
        """What is copied to those who wait; empty when it is too large."""
        return self.result if len(self.result) <= BESIDE else b""


class ParentState(NamedTuple):
    """What a job knows of one of its parents.

    Attributes:
        parent: Its id.
        place: Its number among the parents.
        status: How it ended; empty while it has not.
        record: What is kept of its end; empty where that was too large.
        policy: While it has not ended: c, r or w.
    """

    parent: str
    place: int
    status: str
    record: bytes
    policy: str


def block(lane: Lane, entry: Entry, edges: Sequence[Edge], *, ttl_ms: int) -> Call[Answer | None]:
    """Put a job that is to wait into a lane, or name at most 50 more of its parents.

    Answers whether it is new, or who holds its unique key; None when it waits for nobody any more, or has been.
    """
    parts = [part for edge in edges for part in (edge.parent, edge.place, edge.policy)]
    keys = (
        *lane.ready, lane.meta, lane.expiry, lane.totals, lane.unique, lane.locks, lane.job(entry.id),
        lane.parents(entry.id), lane.journal, *(keys_of(lane, (entry.meta,)) or (lane.indexes,)),
    )  # fmt: skip
    args = (lane.tag, entry.id, entry.band, entry.when, entry.meta, entry.envelope, ttl_ms, *parts)
    return Call(load("block"), keys, args, _blocked)


def _blocked(reply: Reply) -> Answer | None:
    if reply[0] == b"held":
        job_id, status = reply[2].decode().split(" ")
        return Holder(job_id, status, has_started=bool(reply[3]))
    return bool(reply[2]) if reply[0] == b"blocked" else None


def unblock(lane: Lane, told: Sequence[ParentEnd], *, ttl_ms: int) -> Call[str]:
    """Tell at most 50 jobs how one of their parents ended; a letter each.

    u unblocked, b still blocked, x to be cancelled, w waits for a replay, d told already, g it does not wait.
    """
    places = [place for one in told for place in (lane.job(one.child), lane.parents(one.child))]
    args: list[Argument] = [part for one in told for part in one]
    return Call(
        load("unblock"),
        (*lane.ready, lane.wake, lane.grouped, lane.gdue, lane.journal, lane.totals, *places),
        (lane.tag, ttl_ms, *args),
        lambda reply: reply[2].decode(),
    )


def follow(lane: Lane, children: Sequence[str], *, parent: str, to: str) -> Call[str]:
    """Let at most 50 jobs that wait for one that was moved wait for the one that took its place; a letter each.

    f it does, s it waits for that one anyway, g it does not wait for it any more.
    """
    return Call(
        load("follow"),
        tuple(lane.parents(child) for child in children),
        (parent, to),
        lambda reply: reply[1].decode(),
    )


def watch(lane: Lane, job_id: str, children: Sequence[str]) -> Call[Ending]:
    """Have at most 50 jobs told when a job ends, or answer how it has ended."""
    return Call(
        load("watch"),
        (lane.watched, lane.dependants(job_id)),
        (lane.tag, job_id, *children),
        lambda reply: Ending(reply[0].decode(), reply[1] if len(reply) > 1 else b""),
    )


def dependants(lane: Lane, job_id: str, *, ending_ms: int) -> Call[Ending]:
    """At most 50 of those that wait for a job and were not told of its last ending, and how it ended."""
    return Call(load("dependants"), (lane.dependants(job_id),), (lane.tag, job_id, ending_ms), _dependants)


def _dependants(reply: Reply) -> Ending:
    children, strangers = sound(reply[3], _id)
    return Ending(reply[1].decode(), reply[2], tuple(children), tuple(strangers))


def _id(raw: bytes) -> str:
    job_id = raw.decode()
    try:
        split_id(job_id)
    except JobNotFound as error:
        raise ValueError(str(error)) from None
    return job_id


def unwatch(
    lane: Lane, entry: str, job_id: str, told: Sequence[tuple[str | bytes, bool]], *, ending_ms: int
) -> Call[int]:
    """Note that at most 50 jobs were told, and whether each goes on waiting; how many are left to be told."""
    parts = [part for child, waits in told for part in (child, int(waits))]
    return Call(
        load("unwatch"),
        (lane.dependants(job_id), lane.outbox),
        (entry, ending_ms, *parts),
        lambda reply: int(reply[1]),
    )


def outbox(lane: Lane, *, limit: int = CHUNK) -> Call[list[tuple[str, str]]]:
    """Endings that are to be told: entry and job id."""
    return Call(
        load("outbox"), (lane.outbox,), (limit,), lambda reply: [(text_of(a), text_of(b)) for a, b in reply[1:]]
    )


def parents(lane: Lane, job_id: str) -> Call[list[ParentState]]:
    """Whom a job waits for, or has waited for, in order."""
    return Call(load("parents"), (lane.parents(job_id),), (), _parents)


def guarded(lane: Lane, job_id: str) -> Call[tuple[bool, list[ParentState]]]:
    """The same, and whether its guard is still there."""
    return Call(load("parents"), (lane.parents(job_id),), (), lambda reply: (_is_guarded(reply), _sound_parents(reply)))


def _is_guarded(reply: Reply) -> bool:
    fields = zip(reply[1][::2], reply[1][1::2], strict=True)
    return any(name == GUARD.encode() and value[:1] == b"?" for name, value in fields)


def keep_flow(keys: Keyspace, flow_id: str, record: bytes, *, ttl_ms: int) -> Call[int]:
    """Keep what a flow is made of; Redis's time."""
    args = (flow_id, ttl_ms, FLOWS_LISTED, record)
    return Call(load("keep_flow"), (keys.flow(flow_id), keys.flows), args, lambda reply: int(reply[1]))


def read_flow(keys: Keyspace, flow_id: str) -> Call[Kept]:
    """What a flow is made of."""
    return Call(load("flow"), (keys.flow(flow_id), keys.flow_more(flow_id)), (), _kept)


def _kept(reply: Reply) -> Kept:
    more = zip(reply[2][::2], reply[2][1::2], strict=True)
    return Kept(bytes(reply[1]), {name.decode(): Addition(int(kept[:1]), kept[1:]) for name, kept in more if name})


def extend_flow(
    keys: Keyspace, flow_id: str, name: str, *, stage: int, count: int, record: bytes, ttl_ms: int
) -> Call[Addition | int | None]:
    """Note what is added to a flow under a name, and how far that has come.

    Answers what was known of it before; how many jobs were added, where these are too many; None where nothing is
    known of the flow.
    """
    places = (keys.flow(flow_id), keys.flow_more(flow_id))
    return Call(load("extend_flow"), places, (name, stage, count, ADDED_MOST, ttl_ms, record), _extended)


def _extended(reply: Reply) -> Addition | int | None:
    if reply[0] == b"full":
        return int(reply[1])
    return Addition(int(reply[2]), bytes(reply[3])) if reply[0] == b"extended" else None


def children(lane: Lane, job_id: str, *, skip: int = 0) -> Call[list[str]]:
    """A page of those that wait for a job."""
    places = (lane.dependants(job_id),)
    return Call(load("children"), places, (skip, CHUNK), lambda reply: sound(reply[1], bytes.decode)[0])


def join(lane: Lane, child: str, *, via: str, parents: Sequence[str], most: int) -> Call[str]:
    """Let a job that waits for another wait for at most 50 more.

    Answers the policy of its edges: c, r or w; ``late`` when it does not wait for that one, ``full`` when it would
    wait for too many.
    """
    args: tuple[Argument, ...] = (lane.tag, child, via, most, *parents)
    return Call(load("join"), (lane.parents(child),), args, lambda reply: reply[-1].decode())


def flows(keys: Keyspace, *, limit: int) -> Call[list[tuple[str, int]]]:
    """The last flows, the newest first: id, and when it was made (µs)."""
    return Call(
        load("flows"),
        (keys.flows,),
        (limit,),
        lambda reply: [(text_of(name), number_of(at)) for name, at in zip(reply[1][::2], reply[1][1::2], strict=True)],
    )


def results(lane: Lane, ids: Sequence[str]) -> Call[list[bytes]]:
    """How at most 50 jobs ended, as it is kept; empty where nothing is."""
    return Call(load("results"), (lane.lane,), (lane.tag, *ids), lambda reply: list(reply[1]))


def _parents(reply: Reply) -> list[ParentState]:
    fields = zip(reply[1][::2], reply[1][1::2], strict=True)
    return sorted(
        (_parent(name.decode(), value) for name, value in fields if name[:1] != b":"), key=lambda row: row.place
    )


def _sound_parents(reply: Reply) -> list[ParentState]:
    """Likewise for whoever looks after many jobs: what cannot be read of one must not keep it from the others."""
    fields = [pair for pair in zip(reply[1][::2], reply[1][1::2], strict=True) if pair[0][:1] != b":"]
    return sorted(sound(fields, lambda pair: _parent(pair[0].decode(), pair[1]))[0], key=lambda row: row.place)


def _parent(name: str, value: bytes) -> ParentState:
    if value[:1] == b"?":
        policy, _, place = value[1:].decode().partition(" ")
        return ParentState(name, int(place), "", b"", policy)
    line, _, record = value.partition(b"\n")
    place, _, status = line.decode().partition(" ")
    return ParentState(name, int(place), status, record, "")
