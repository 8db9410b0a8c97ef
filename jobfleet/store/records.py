"""What goes into calls and comes out of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from jobfleet.store.rows import Spoiled

BLOCKED = 9_000_000_000_000_000
"""The due time, µs, at which jobs stand that wait for others; lib/waiting/blocked.lua says the same."""


class Entry(NamedTuple):
    """One job to enqueue.

    Attributes:
        id: Its id.
        band: Its sorted set, 0 for CRITICAL … 3 for LOW.
        when: ``""`` now, ``"+n"`` n µs from now, ``"n"`` at n µs since 1970.
        meta: Its clear record; see lib/base/meta.lua.
        envelope: Header and body.
    """

    id: str
    band: int
    when: str
    meta: str
    envelope: bytes


class Holder(NamedTuple):
    """Who holds the unique key of a job that was not enqueued.

    Attributes:
        id: The holder's id.
        status: Where it stands, as a word; ``completed`` too of one that has ended and been forgotten.
        has_started: False of one that may still be replaced or put off.
    """

    id: str
    status: str
    has_started: bool


Answer = bool | Holder
"""Of one item of an enqueue: whether it is new, or who holds its unique key."""


class Grant(NamedTuple):
    """One claimed job.

    Attributes:
        id: Its id.
        token: The fence of this run.
        due: When it was due, µs of Redis's clock.
        band: Where it stood.
        envelope: Empty if Redis has lost it.
        tries: What it has spent so far.
        meta: Its clear record.
    """

    id: str
    token: int
    due: int
    band: int
    envelope: bytes
    tries: str
    meta: str


class Edit(NamedTuple):
    """What becomes of a dead letter's envelope when it is replayed.

    Attributes:
        entry: The letter that is meant; empty for whichever there is.
        envelope: The one that takes the place of its own; empty to keep that.
    """

    entry: str = ""
    envelope: bytes = b""


AS_IT_IS = Edit()


class Line(NamedTuple):
    """One line of a job's own log.

    Attributes:
        token: The run that wrote it.
        n: Orders the lines of a run.
        at: When, µs since 1970, by the worker's clock.
        level: A number of `logging`.
        text: What; may have several lines.
    """

    token: int
    n: int
    at: int
    level: int
    text: str


NO_FUNCTIONS: frozenset[str] = frozenset()


class Leave(NamedTuple):
    """What a child leaves to others when it claims in a lane.

    Attributes:
        text: A line a function, as lib/waiting/foreign.lua reads it; empty for none.
        kinds: The kinds of workers that know them, to be woken for what is left.
    """

    text: str
    kinds: tuple[str, ...] = ()


NOTHING = Leave("")


class Claimed(NamedTuple):
    """The answer to a claim.

    Attributes:
        word: ``claimed``, ``empty``, ``paused``, ``buried`` or ``stale``.
        now: Redis's time, µs.
        next_due: When the next job of the lane is due; 0 for none, or when more is due now.
        grants: What was claimed.
        functions: Those that are paused: their jobs are not to be started.
        past: How far a claim came that leaves jobs to others; None of one that leaves none.
        unreadable: What was claimed and is no job that can be read.
        garbled_from: The first token of a claim whose ids are such that the reply does not say which they are: what it
            has brought is read again, by `granted`; 0 otherwise.
    """

    word: str
    now: int = 0
    next_due: int = 0
    grants: tuple[Grant, ...] = ()
    functions: frozenset[str] = NO_FUNCTIONS
    past: str | None = None
    unreadable: tuple[Spoiled, ...] = ()
    garbled_from: int = 0


class RunRecord(NamedTuple):
    """The record of a run.

    Attributes:
        token: Its fence.
        child: Who runs it.
        claimed: Since when, µs of Redis's clock.
        lease: For how long it was claimed, µs.
        band: Where it stood.
        cancel_by: Who asked for its cancellation; empty for nobody.
        cancel_at: When, µs.
        stage: How far its stopping has come; empty when nothing was heard of that.
    """

    token: int
    child: str
    claimed: int
    lease: int
    band: int
    cancel_by: str
    cancel_at: int
    stage: str = ""

    @classmethod
    def parse(cls, text: str) -> RunRecord:
        """Read what the scripts write (lib/job/run.lua)."""
        token, child, claimed, lease, band, cancel = text.split("|", 5)
        by, at, stage = (*cancel.split("@"), "", "")[:3]
        return cls(int(token), child, int(claimed), int(lease), int(band), by, int(at or 0), stage)


class Held(NamedTuple):
    """A run that somebody else has to decide about: overdue, or its child has died."""

    id: str
    token: int
    run: RunRecord
    envelope: bytes
    tries: str
    meta: str


class Buried(NamedTuple):
    """The answer to a burial.

    Attributes:
        now: Redis's time, µs.
        held: What the child still held.
        unreadable: What of that cannot be read.
    """

    now: int
    held: tuple[Held, ...]
    unreadable: tuple[Spoiled, ...] = ()


class Cancelling(NamedTuple):
    """A running job that is to stop."""

    id: str
    token: int
    by: str


@dataclass(frozen=True, slots=True)
class Renewed:
    """The answer to a renewal."""

    now: int
    lost: tuple[tuple[str, int], ...]
    cancelled: tuple[Cancelling, ...]


@dataclass(frozen=True, slots=True)
class Ticked:
    """The answer to a tick.

    Attributes:
        now: Redis's time, µs.
        next_due: When the next job of the lane is due; 0 for none.
        hold: Until when leases are not judged; 0 when they are.
        overdue: Runs whose lease has expired.
        expired: Waiting jobs past their `expires_at`.
        functions: Those that are paused, or being resumed, a line each.
        watched: For how many jobs of the lane others wait.
        unrelayed: How many endings are still to be told to those who wait for them.
        unreadable: Of both, what cannot be read.
    """

    now: int
    next_due: int
    hold: int
    overdue: tuple[Held, ...]
    expired: tuple[str, ...]
    functions: str = ""
    watched: int = 0
    unrelayed: int = 0
    unreadable: tuple[Spoiled, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """The answer to a finishing trip's chunk.

    Attributes:
        is_stale: A later trip of the same child was there first; nothing was done.
        letters: One an item: s settled, d done already, l lost, c cancelled instead, a alive, h held.
        watched: For how many of them other jobs wait, and have to be told.
    """

    is_stale: bool
    letters: str = ""
    watched: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """How much stands where in a lane.

    Attributes:
        now: Redis's time, µs.
        due: Jobs that can be claimed, or could if their function was not paused, a number a band.
        later: Jobs due later, likewise.
        blocked: Jobs that wait for others, likewise.
        running: Runs.
        dead: Dead letters.
        oldest_due: When the longest waiting was due, µs; 0 for none.
        paused: Who paused it; None when it is not.
        totals: Counts since the lane's beginning, and ``retrying``.
        expiring: Waiting jobs that have an expiry.
        outbox: Endings that dependants are still to be told of.
        unrelayed: When the oldest of them was written, µs; 0 for none.
        reason: Why it is paused.
        functions: The functions that are paused, or being resumed, a line each.
    """

    now: int
    due: tuple[int, ...]
    later: tuple[int, ...]
    blocked: tuple[int, ...]
    running: int
    dead: int
    oldest_due: int
    paused: str | None
    totals: Mapping[str, int]
    expiring: int = 0
    outbox: int = 0
    unrelayed: int = 0
    reason: str = ""
    functions: str = ""


@dataclass(frozen=True, slots=True)
class Present:
    """The answer to a beat.

    Attributes:
        now: Redis's time, µs.
        workers: How many workers are there.
        queues: Home lanes and lanes of the queues that it serves.
        before: The account that stood until now; empty where none did.
    """

    now: int
    workers: int
    queues: Mapping[str, tuple[int, int]]
    before: bytes


class Known(NamedTuple):
    """The answer to a worker that tells its kind.

    Attributes:
        is_new: Nobody has told yet what this kind knows.
        kinds: The kinds that live.
        mended: How many keys held something else, which was deleted.
    """

    is_new: bool
    kinds: frozenset[str]
    mended: int


class KindSeen(NamedTuple):
    """A kind of worker: those that know the same functions and serve the same queues.

    Attributes:
        kind: Its id.
        worker: One that lives.
        functions: What it knows, each with its queue, and under "" the queues that it serves; empty where that was not
            asked for.
    """

    kind: str
    worker: str
    functions: Mapping[str, str]


class KindsSeen(NamedTuple):
    """The kinds that live.

    Attributes:
        others: How many live workers, of an earlier version, may know the function that was asked about.
        kinds: The kinds.
    """

    others: int
    kinds: tuple[KindSeen, ...]


@dataclass(frozen=True, slots=True)
class WorkerSeen:
    """A worker's account of itself, and when it was given."""

    id: str
    beat: int
    account: bytes


@dataclass(frozen=True, slots=True)
class FleetSeen:
    """A fleet at one moment.

    Attributes:
        now: Redis's time, µs.
        queues: Each queue's home lanes and lanes; empty where there are more than were to be listed.
        workers: The workers heard of lately.
        functions: What workers have published, by function.
        paused: The functions that are paused in every queue.
        count: How many queues there are.
        unreadable: What was left out since it cannot be read.
    """

    now: int
    queues: Mapping[str, tuple[int, int]]
    workers: tuple[WorkerSeen, ...]
    functions: Mapping[str, bytes]
    paused: str = ""
    count: int = 0
    unreadable: tuple[str, ...] = ()
