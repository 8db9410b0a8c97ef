"""Calls for rescues: groups of dead letters that are replayed in steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jobfleet.errors import JobNotFound
from jobfleet.model import split_id
from jobfleet.model.who import NOBODY
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.control import who
from jobfleet.store.damage import ENTRY, sound_fields
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.rows import number_of, report, shown, text_of
from jobfleet.store.script import load

CHUNK = 50
PAGE = 200
RESCUES_MOST = 100
KEPT_MS = 30 * 86_400_000
COPY_MS = 7 * 86_400_000
"""How long the letter of a replayed job is kept if no reaper sees that the job has started."""


class Planned(NamedTuple):
    """A job of a rescue.

    Attributes:
        id: Its id.
        entry: The entry of its dead letter before the replay.
        raw: The member that was read, if it is not that of a job: nobody of ours has written it.
    """

    id: str
    entry: str
    raw: bytes = b""

    @property
    def member(self) -> str | bytes:
        """The job as a member of the set of jobs in flight."""
        return self.raw or f"{self.id} {self.entry}"


class OldLetter(NamedTuple):
    """A dead letter that may be replayed.

    Attributes:
        entry: Its entry.
        id: Its job.
        tries: What the job has spent, with its history.
    """

    entry: str
    id: str
    tries: str


class StoredRescue(NamedTuple):
    """A rescue as it is stored.

    Attributes:
        id: Its id.
        now: Redis's time in µs.
        flying: The number of its jobs in flight.
        fields: Its fields; empty if there is no such rescue.
        wrong: The names of fields that cannot be read, and were left out.
        jobs: Some of its jobs in flight, each with the time of the last look at it, 0 for none.
    """

    id: str
    now: int
    flying: int
    fields: Mapping[str, str]
    jobs: Sequence[tuple[Planned, int]] = ()
    wrong: tuple[str, ...] = ()


class NotedRescue(NamedTuple):
    """The reply to a note.

    Attributes:
        before: The state before; empty if there is no such rescue.
        state: The state.
        flying: The number of jobs in flight.
        outcomes: The outcomes that were counted.
    """

    before: str
    state: str = ""
    flying: int = 0
    outcomes: Sequence[str] = ()


def oldest_letters(lane: Lane, name: str, *, after: str, upto_ms: int, limit: int) -> Call[list[OldLetter]]:
    """Return the oldest dead letters of a name after an entry, up to a time; at most 200."""
    return Call(load("oldest_letters"), (lane.dlq, lane.filed), (name, after, upto_ms, limit), _old)


def _old(reply: Reply) -> list[OldLetter]:
    return [OldLetter(*(text_of(part) for part in row)) for row in reply[1:]]


def keep_letters(lane: Lane, jobs: Sequence[Planned]) -> Call[int]:
    """Copy at most 50 dead letters, unless a job has another letter now; return how many were copied."""
    args: list[Argument] = [part for job in jobs for part in (job.id, job.entry)]
    keys = (lane.dlq, lane.dead, *(lane.rescued(job.id) for job in jobs))
    return Call(load("keep_letters"), keys, (COPY_MS, *args), lambda reply: int(reply[1]))


def drop_letters(lane: Lane, ids: Sequence[str]) -> Call[int]:
    """Delete the copies of the letters of at most 50 jobs."""
    keys = tuple(lane.rescued(job_id) for job_id in ids)
    return Call(load("drop_letters"), keys, (lane.tag,), lambda reply: int(reply[1]))


def undo_replay(lane: Lane, ids: Sequence[str], *, ttl_ms: int) -> Call[str]:
    """Make dead letters again of at most 50 jobs; return one letter each: u undone, k it has started or has no copy."""
    places = [
        place
        for job_id in ids
        for place in (
            lane.job(job_id), lane.result(job_id), lane.rescued(job_id), lane.steps(job_id), lane.log(job_id),
            lane.chunks(job_id), lane.parents(job_id),
        )
    ]  # fmt: skip
    fixed = (
        *lane.ready, lane.tries, lane.meta, lane.unique, lane.expiry, lane.dlq, lane.dead, lane.totals, lane.watched,
        lane.journal, lane.grouped, lane.ring, lane.gdue,
    )  # fmt: skip
    return Call(load("undo_replay"), (*fixed, *places), (lane.tag, ttl_ms, *ids), lambda reply: reply[1].decode())


def open_rescue(
    keys: Keyspace,
    rescue: str,
    *,
    fingerprint: str,
    by: str | None,
    every_us: int,
    canary: Sequence[int],
    stop_after: int,
    total: int,
) -> Call[tuple[str, str]]:
    """Begin a rescue; return opened, unknown or running, and the id of the rescue that runs."""
    return Call(
        load("open_rescue"),
        (keys.rescues, keys.rescuing, keys.dead_group(fingerprint), keys.rescue(rescue)),
        (
            keys.tag, fingerprint, rescue, who(by), every_us, ",".join(map(str, canary)), stop_after, total, KEPT_MS,
            RESCUES_MOST,
        ),
        lambda reply: (reply[0].decode(), text_of(reply[1]) if reply[0] == b"running" else ""),
    )  # fmt: skip


def rescues(keys: Keyspace, *, is_open: bool = False, limit: int = RESCUES_MOST) -> Call[list[StoredRescue]]:
    """Return the rescues, the newest first; with `is_open` those that are not over."""
    return Call(load("rescues"), (keys.rescues, keys.rescuing), (keys.tag, int(is_open), limit), _rescues)


def _rescues(reply: Reply) -> list[StoredRescue]:
    now = int(reply[1])
    return [_stored(text_of(row[0]), now, int(row[1]), row[2]) for row in reply[2:]]


def _stored(rescue: str, now: int, flying: int, parts: Reply, jobs: Sequence[tuple[Planned, int]] = ()) -> StoredRescue:
    fields, wrong = sound_fields(parts, f"rescue:{rescue:.100}")
    return StoredRescue(rescue, now, flying, fields, jobs, wrong)


def rescue(keys: Keyspace, rescue: str, *, limit: int = 0) -> Call[StoredRescue]:
    """Return one rescue, and at most 200 of its jobs in flight, those that were looked at longest ago."""

    def read(reply: Reply) -> StoredRescue:
        rows = zip(reply[3][::2], reply[3][1::2], strict=True)
        jobs = [(_planned(job), number_of(at)) for job, at in rows]
        report(f"rescue-jobs:{rescue} has {shown(job.raw)}" for job, _ in jobs if job.raw)
        return _stored(rescue, int(reply[1]), int(reply[2]), reply[4], jobs)

    return Call(load("rescue"), (keys.rescue(rescue), keys.rescue_jobs(rescue)), (limit,), read)


def _planned(raw: bytes) -> Planned:
    job_id, _, entry = text_of(raw).partition(" ")
    try:
        split_id(job_id)
    except JobNotFound:
        return Planned("", "", raw)
    return Planned(job_id, entry) if ENTRY.fullmatch(entry.encode()) else Planned("", "", raw)


def plan_rescue(
    keys: Keyspace,
    rescue: str,
    jobs: Sequence[Planned],
    *,
    step: int,
    stage: int,
    cursor: str,
    last: int,
    is_read: bool,
) -> Call[int | None]:
    """Record the next jobs of a rescue, at most 200; None, without effect, if another caller has planned meanwhile."""
    return Call(
        load("plan_rescue"),
        (keys.rescue(rescue), keys.rescue_jobs(rescue)),
        (step, stage, cursor, last, int(is_read), KEPT_MS, *(job.member for job in jobs)),
        lambda reply: int(reply[1]) if reply[0] == b"planned" else None,
    )


def note_rescue(
    keys: Keyspace,
    rescue: str,
    outcomes: Sequence[tuple[Planned, str]] = (),
    *,
    wish: str = "",
    by: str | None = None,
) -> Call[NotedRescue]:
    """Count outcomes of at most 200 jobs, and stop or undo a rescue.

    Args:
        keys: The fleet's keys.
        rescue: The rescue.
        outcomes: The outcome of each job: s in flight, or completed, failed, ended, left, undone, started.
        wish: ``stop``, ``undo``, or empty.
        by: Who wishes it.
    """
    args: list[Argument] = [part for job, outcome in outcomes for part in (job.member, outcome)]
    return Call(
        load("note_rescue"),
        (keys.rescuing, keys.rescue(rescue), keys.rescue_jobs(rescue)),
        (rescue, wish, who(by) if wish else NOBODY, *args),
        _noted,
    )


def _noted(reply: Reply) -> NotedRescue:
    if reply[0] == b"unknown":
        return NotedRescue("")
    return NotedRescue(text_of(reply[1]), text_of(reply[2]), int(reply[3]), [text_of(one) for one in reply[4]])
