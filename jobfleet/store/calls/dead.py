"""Calls for dead letters: their filing by names, their groups, rescues, and rows that are set aside as unreadable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from jobfleet.errors import JobNotFound
from jobfleet.model import split_id
from jobfleet.model.audit import NOBODY
from jobfleet.model.fields import LETTERS
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.control import who
from jobfleet.store.calls.inspect import letter_of
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import DeadLetter
from jobfleet.store.rows import number_of, report, shown, text_of
from jobfleet.store.script import load

CHUNK = 50
NEVER = "0-0"
"""The mark of a lane of which no letter is filed."""
NEWEST = "+"
DIED = 8
"""The place of the time of death in a row, if it differs from that of the entry."""


class Unfiled(NamedTuple):
    """The oldest dead letters of a lane that are not filed yet.

    Attributes:
        mark: The entry after which they come.
        letters: The letters.
        died: When each of them failed, in ms since 1970; an undone replay has written a letter later.
    """

    mark: str
    letters: list[DeadLetter]
    died: list[int]


class FoundLetters(NamedTuple):
    """A part of the dead letters of a lane.

    Attributes:
        letters: The letters, newest first.
        last: The oldest entry that was looked at; empty at the end.
    """

    letters: list[DeadLetter]
    last: str


class Filing(NamedTuple):
    """What to file of a dead letter.

    Attributes:
        id: Its job.
        entry: Its entry in the stream.
        names: Its names; see `names_of`.
    """

    id: str
    entry: str
    names: Sequence[str]


def group_name(fingerprint: str) -> str:
    """The name of the letters of a group."""
    return f"g:{fingerprint}"


def names_of(fingerprint: str, function: str, tags: Sequence[str], texts: Mapping[str, str]) -> list[str]:
    """Return the names under which a letter is filed. A text that cannot be printed is not a name."""
    found = [group_name(fingerprint), f"f:{function}", *(f"t:{tag}" for tag in dict.fromkeys(tags))]
    found += [f"{field.letter}:{texts[field.name]}" for field in LETTERS if texts.get(field.name)]
    return [name for name in found if name.isprintable()]


def unfiled(lane: Lane, *, limit: int = CHUNK) -> Call[Unfiled]:
    """Return the oldest dead letters that are not filed, at most 50."""
    return Call(
        load("unfiled"),
        (lane.dlq, lane.filing),
        (limit,),
        partial(_unfiled, lane),
    )


def _unfiled(lane: Lane, reply: Reply) -> Unfiled:
    letters = [letter_of(lane, row) for row in reply[2:]]
    died = [number_of(row[DIED] if len(row) > DIED else row[0].partition(b"-")[0]) for row in reply[2:]]
    return Unfiled(text_of(reply[1]), letters, died)


def file_letters(lane: Lane, mark: str, to: str, items: Sequence[Filing]) -> Call[bool]:
    """File at most 50 dead letters, and move the mark; False, without effect, if the mark is another one.

    Args:
        lane: The lane.
        mark: The mark that is expected.
        to: The new mark.
        items: What to file; letters that do not exist any more are passed over.
    """
    args: list[Argument] = [part for item in items for part in (item.id, "\n".join((item.entry, *item.names)))]
    keys = (lane.filed, lane.filing)
    return Call(load("file_letters"), keys, (lane.tag, mark, to, *args), lambda reply: bool(reply[0] == b"filed"))


def find_letters(
    lane: Lane, name: str = "", *, before: str = NEWEST, since_ms: int = 0, limit: int = CHUNK
) -> Call[FoundLetters]:
    """Return dead letters, newest first: those filed under a name, and those that are not filed yet.

    Args:
        lane: The lane.
        name: The name; empty for all letters.
        before: Only letters with an older entry.
        since_ms: Only letters from this time on, in ms since 1970.
        limit: 1 to 50.
    """
    keys = (lane.dlq, lane.filed, lane.filing)
    return Call(load("find_letters"), keys, (name, before, since_ms, limit), partial(_found, lane))


def _found(lane: Lane, reply: Reply) -> FoundLetters:
    return FoundLetters([letter_of(lane, row) for row in reply[2:]], text_of(reply[1]))


def count_letters(lane: Lane, names: Sequence[str]) -> Call[list[int]]:
    """Return the numbers of dead letters that are filed under at most 50 names."""
    return Call(load("count_letters"), (lane.filed,), tuple(names), lambda reply: [int(count) for count in reply[1]])


GROUPS_MOST = 1000
KEPT_MS = 90 * 86_400_000
"""How long a group is kept after its last letter, so that a resolved one can regress."""
RETURNED_MOST = 100


class GroupSeen(NamedTuple):
    """What is recorded about the letters of one group in a batch.

    Attributes:
        fingerprint: Its fingerprint.
        first: Time of the first letter in µs.
        last: Time of the last letter in µs.
        function: The function.
        version: The version of the arguments.
        error_class: The class of the error.
        error: The error.
        example: The job of the last letter.
    """

    fingerprint: str
    first: int
    last: int
    function: str
    version: str
    error_class: str
    error: str
    example: str


class StoredGroup(NamedTuple):
    """A group as it is stored.

    Attributes:
        fingerprint: Its fingerprint.
        last: Time of its last letter in µs.
        fields: The other fields.
    """

    fingerprint: str
    last: int
    fields: Mapping[str, str]


class Returned(NamedTuple):
    """A resolved group that came back.

    Attributes:
        fingerprint: Its fingerprint.
        at: When, in µs.
        function: The function.
        error_class: The class of the error.
        error: The error.
        example: The job of its last letter.
    """

    fingerprint: str
    at: int
    function: str
    error_class: str
    error: str
    example: str


class GroupMarks(NamedTuple):
    """Groups that notifications treat in a way of their own.

    Attributes:
        ignored: The fingerprints of the ignored ones.
        returned: Those that came back.
    """

    ignored: frozenset[str]
    returned: list[Returned]


def note_groups(keys: Keyspace, items: Sequence[GroupSeen]) -> Call[str]:
    """Record letters in at most 50 groups; return one letter each: n new, r regressed just now, k known before."""
    args: list[Argument] = [part for item in items for part in item]
    places = (keys.dead_regressed, keys.dead_ignored, *(keys.dead_group(item.fingerprint) for item in items))
    return Call(
        load("note_groups"),
        (keys.dead_groups, *places),
        (keys.tag, GROUPS_MOST, KEPT_MS, *args),
        lambda reply: reply[1].decode(),
    )


def groups(
    keys: Keyspace, *, upto: str = "+inf", skip: int = 0, limit: int = CHUNK, fingerprint: str = ""
) -> Call[tuple[int, list[StoredGroup]]]:
    """Return Redis's time, and groups of dead letters, those with the newest letters first.

    Args:
        keys: The fleet's keys.
        upto: Time of the last letter in µs, as a bound.
        skip: The number of groups with that time to skip.
        limit: 1 to 50.
        fingerprint: Only this group; empty for all.
    """
    args = (keys.tag, upto, skip, limit, fingerprint)
    return Call(load("groups"), (keys.dead_groups,), args, _groups)


def _groups(reply: Reply) -> tuple[int, list[StoredGroup]]:
    from jobfleet.store.damage import sound_fields  # supervisors load this module, and read no letters

    names = [text_of(row[0]) for row in reply[2:]]
    return int(reply[1]), [
        StoredGroup(name, number_of(row[1]), sound_fields(row[2], f"dead-group:{name:.100}")[0])
        for name, row in zip(names, reply[2:], strict=True)
    ]


def mark_group(keys: Keyspace, fingerprint: str, state: str, *, by: str | None) -> Call[bool | None]:
    """Set the state of a group; False if it had that state, None if there is no such group."""
    return Call(
        load("mark_group"),
        (keys.dead_regressed, keys.dead_ignored, keys.dead_group(fingerprint)),
        (fingerprint, state, who(by), KEPT_MS),
        lambda reply: bool(reply[1]) if reply[0] == b"marked" else None,
    )


def group_marks(keys: Keyspace, *, since_us: int) -> Call[GroupMarks]:
    """Return the ignored groups, and those that came back since a time in µs."""
    args = (keys.tag, since_us, RETURNED_MOST)
    return Call(load("group_marks"), (keys.dead_regressed, keys.dead_ignored), args, _marks)


def _marks(reply: Reply) -> GroupMarks:
    rows = [([text_of(part) for part in row], number_of(row[1])) for row in reply[2:]]
    returned = [Returned(parts[0], at, parts[2], parts[3], parts[4], parts[5]) for parts, at in rows]
    return GroupMarks(frozenset(text_of(one) for one in reply[1]), returned)


PAGE = 200
RESCUES_MOST = 100
RESCUES_KEPT_MS = 30 * 86_400_000
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
            keys.tag, fingerprint, rescue, who(by), every_us, ",".join(map(str, canary)), stop_after, total,
            RESCUES_KEPT_MS, RESCUES_MOST,
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
    from jobfleet.store.damage import sound_fields  # supervisors load this module, and read no letters

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
    from jobfleet.store.damage import ENTRY  # supervisors load this module, and read no letters

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
        (step, stage, cursor, last, int(is_read), RESCUES_KEPT_MS, *(job.member for job in jobs)),
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
