"""Calls of running jobs: locks, steps, signals, their log, progress and output."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.codec.extensions import is_refused_value, refusal_of, refused_value
from jobfleet.errors import BadSignature, EncodingError
from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.calls.control import who
from jobfleet.store.calls.settle import WAIT_END
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Line
from jobfleet.store.rows import counter_of, kept, number_of, text_of, time_of
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals


# Calls for the locks of running jobs: acquire_lock, release_lock, ended_runs, note_wait and awaited_lock.


LOCK_TTL_MS = 30 * 86_400_000
"""How long the keys of a lock are kept after their last use."""
CHUNK = 50
NOTE_MS = 6000
"""How long a note that a job waits for a lock is kept. The job renews it."""
SHOWN = 5
"""Maximum number of holders of an awaited lock that are read."""


class Holder(NamedTuple):
    """Who holds one of the places of a lock.

    Attributes:
        token: The fencing token of the run.
        number: The number of the lock among those that the run takes.
        job_id: The id of the job.
    """

    token: int
    number: int
    job_id: str

    def text(self) -> str:
        """The holder as it is stored."""
        return f"{self.token} {self.number} {self.job_id}"

    @classmethod
    def parse(cls, text: str) -> Holder:
        """Read a holder as it is stored.

        Raises:
            ValueError: The text is not a holder.
        """
        token, number, job_id = text.split(" ", 2)
        return cls(int(token), int(number), job_id)


class Acquired(NamedTuple):
    """The reply to an attempt to take a lock.

    Attributes:
        fence: The fencing token; 0 if the lock was not taken.
        holders: The holders as they are stored, if the lock was not taken.
        limit: The number of places with which others hold it, if it differs; otherwise 0.
    """

    fence: int = 0
    holders: tuple[str, ...] = ()
    limit: int = 0


class Awaited(NamedTuple):
    """The lock for which a running job waits.

    Attributes:
        token: The fencing token of the run.
        since: Time at which it began to wait, in µs.
        limit: The number of its places.
        name: Its name.
        holders: The ids of some jobs that hold it.
    """

    token: int
    since: int
    limit: int
    name: str
    holders: tuple[str, ...]


def acquire(keys: Keyspace, name: str, holder: Holder, limit: int, *, ended: Sequence[str] = ()) -> Call[Acquired]:
    """Take one of the places of a lock.

    Args:
        keys: The fleet's keys.
        name: The name of the lock.
        holder: Who takes it.
        limit: The number of its places.
        ended: Holders whose runs have ended.
    """
    args: tuple[str | int, ...] = (holder.text(), limit, LOCK_TTL_MS, *ended)
    return Call(load("acquire_lock"), (keys.lock(name), keys.lock_state(name)), args, _acquired)


def _acquired(reply: Reply) -> Acquired:
    match reply[0]:
        case b"acquired":
            return Acquired(fence=int(reply[1]))
        case b"differs":
            return Acquired(limit=number_of(reply[2]), holders=_texts(reply[1]))
    return Acquired(holders=_texts(reply[1]))


def _texts(reply: Reply) -> tuple[str, ...]:
    return tuple(text_of(text) for text in reply)


def release(keys: Keyspace, name: str, holder: Holder) -> Call[bool]:
    """Free the place of a holder; False if it held none."""
    args = (holder.text(), keys.lock_freed(name))
    return Call(load("release_lock"), (keys.lock(name),), args, lambda reply: bool(reply[1]))


def ended_runs(lane: Lane, runs: Sequence[tuple[str, int]]) -> Call[list[tuple[str, int]]]:
    """Return which of at most 50 runs of a lane, as id and token, do not own their jobs any more."""
    args: tuple[str | int, ...] = tuple(part for run in runs for part in run)
    return Call(load("ended_runs"), (lane.runs,), args, _ended)


def _ended(reply: Reply) -> list[tuple[str, int]]:
    return [(reply[1][i].decode(), int(reply[1][i + 1])) for i in range(0, len(reply[1]), 2)]


def note_wait(keys: Keyspace, name: str, holder: Holder, limit: int, *, waited_us: int) -> Call[None]:
    """Note for `NOTE_MS` that a running job waits for a lock.

    Args:
        keys: The fleet's keys.
        name: The name of the lock.
        holder: Who waits.
        limit: The number of its places.
        waited_us: Microseconds since it began to wait.
    """
    return _note(keys, holder, waited_us, limit, name, NOTE_MS)


def end_wait(keys: Keyspace, holder: Holder) -> Call[None]:
    """Delete the note that a running job waits for a lock."""
    return _note(keys, holder, 0, 0, "", 0)


def _note(keys: Keyspace, holder: Holder, waited_us: int, limit: int, name: str, ttl_ms: int) -> Call[None]:
    args: tuple[str | int, ...] = (holder.text(), waited_us, limit, name, ttl_ms)
    return Call(load("note_wait"), (keys.lock_wait(holder.job_id),), args, lambda _reply: None)


def awaited(keys: Keyspace, job_id: str) -> Call[Awaited | None]:
    """Return the lock for which a running job has waited for some seconds; None if it does not wait."""
    return Call(load("awaited_lock"), (keys.lock_wait(job_id),), (keys.tag, SHOWN), _awaited)


def _awaited(reply: Reply) -> Awaited | None:
    if reply[0] == b"none":
        return None
    holders = kept(reply[5], lambda raw: Holder.parse(raw.decode()).job_id, "the holders of a lock")
    token = number_of(reply[1].split(b" ")[0])
    return Awaited(token, int(reply[2]), int(reply[3]), text_of(reply[4]), tuple(holders))


# Calls for the steps and signals of a job: keep, steps, signal, drop_steps and forget_steps.


MOST_STEPS = 1000
"""Maximum number of steps and checkpoints of a job."""

WAIT, SIGNAL, SEAL = "w:", "x:", "e:"
"""Prefixes of names that scripts read or write: the end of a wait, a signal, and the seal of the end of a wait."""
UNSEALED, REFUSED = "?w:", "!x:"
"""Prefixes of names that readers get: the end of a wait of revision f933da4f; a signal that is not accepted."""

BY_TOKEN = "\x1f"
"""What begins the name of a signal that only tokens send. No name that a caller gives has it."""

MOST_STEP_BYTES = 4 * 1024 * 1024
"""Maximum total size in bytes of a job's steps and checkpoints."""


def keep(lane: Lane, job_id: str, token: int, *, ttl_ms: int, step: str, record: bytes) -> Call[str]:
    """Store the result of a step; returns kept, full or lost.

    Args:
        lane: The lane of the job.
        job_id: The job.
        token: The token of its run.
        ttl_ms: How long the steps are kept after the end of the job, unless it completes.
        step: The name of the step.
        record: The encoded result.
    """
    if lane.seals is not None:
        record = lane.seals.value(record, "step", job_id, step)
    return Call(
        load("keep"),
        (lane.runs, lane.steps(job_id), lane.meta),
        (job_id, token, ttl_ms, MOST_STEPS, MOST_STEP_BYTES, step, record),
        lambda reply: reply[0].decode(),
    )


def steps(lane: Lane, job_id: str, name: str = "") -> Call[dict[str, bytes]]:
    """Return the stored results of a job's steps, and under the empty name Redis's time in µs.

    The record of a signal is the time at which it came, in µs, a line break, and its value. With keys, an end of
    a wait and a signal that are not accepted are missing, but see `UNSEALED` and `refused_signal`.

    Args:
        lane: The lane of the job.
        job_id: The job.
        name: Only the record of this name; empty for all.
    """
    return Call(load("steps"), (lane.steps(job_id),), (name,), partial(_steps, lane, job_id))


def signal(
    lane: Lane,
    job_id: str,
    name: str,
    record: bytes,
    *,
    by: str | None,
    nonce: str,
    ttl_ms: int,
    has_token: bool = False,
) -> Call[str]:
    """Send a signal to an open job.

    Returns one letter: s sent, a repetition included, k another one of that name came first, f final, u unknown, m the
    job keeps too much.

    Args:
        lane: The lane of the job.
        job_id: The job.
        name: The name of the signal.
        record: The encoded value.
        by: Who sends it.
        nonce: The same in each repetition.
        ttl_ms: How long it is kept after the end of the job, unless the job completes.
        has_token: Whether it is the signal of a token, which is stored a second time for waits that take no other one.
    """
    proven = record if has_token else b""
    if lane.seals is not None:
        if has_token:
            proven = lane.seals.value(record, "signal", job_id, BY_TOKEN + name)
        record = lane.seals.value(record, "signal", job_id, name)
    return Call(
        load("signal"),
        (
            *lane.ready,
            lane.steps(job_id),
            lane.wake,
            lane.grouped,
            lane.ring,
            lane.gdue,
            lane.journal,
            lane.totals,
            lane.meta,
        ),
        (lane.tag, job_id, name, record, who(by), nonce, ttl_ms, MOST_STEPS, MOST_STEP_BYTES, proven),
        lambda reply: reply[2].decode(),
    )


def _steps(lane: Lane, job_id: str, reply: Reply) -> dict[str, bytes]:
    rows = zip(reply[2::2], reply[3::2], strict=True)
    found = dict(kept(rows, lambda row: (row[0].decode(), row[1]), lane.steps(job_id)))
    if lane.seals is not None:
        found = _opened(lane.seals, job_id, found)
    for name, record in found.items():
        if name.startswith(SIGNAL):
            head, _, value = record.partition(b"\n")
            found[name] = head.split(b" ")[0] + b"\n" + value
    return {"": reply[1], **found}


def _opened(seals: Seals, job_id: str, stored: dict[str, bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, record in stored.items():
        if name.startswith(SIGNAL):
            head, _, value = record.partition(b"\n")
            value = seals.open_value(value, "signal", job_id, name.removeprefix(SIGNAL))
            if seals.requires and not (value and head.split(b" ")[0].isdigit()):
                value = refused_value(BadSignature("signal: it is not signed.", what="signal"))
            if is_refused_value(value):
                found[REFUSED + name.removeprefix(SIGNAL)] = b"%d %b%b" % (len(value), value, record)
            else:
                found[name] = head + b"\n" + value
        elif name.startswith(WAIT):
            key = name.removeprefix(WAIT)
            seal = stored.get(SEAL + key, b"")
            if not seals.requires or (seal and seals.open_value(seal, WAIT_END, job_id, key) == record):
                found[name] = record
            elif not seal and not seals.sealer.is_bound:
                found[UNSEALED + key] = record
        elif not name.startswith(SEAL):
            found[name] = seals.open_value(record, "step", job_id, name)
    return found


def refused_signal(record: bytes) -> tuple[EncodingError | None, bytes]:
    """Return why a signal is not accepted, and what is stored, from a record under a name with the prefix `REFUSED`."""
    length, _, rest = record.partition(b" ")
    return refusal_of(rest[: int(length)], "signal"), rest[int(length) :]


def drop_steps(lane: Lane, job_id: str, names: Sequence[str]) -> Call[bool]:
    """Delete records of an ended job by name; returns False without effect if the job is open."""
    return Call(
        load("drop_steps"),
        (lane.steps(job_id),),
        (lane.tag, job_id, *names),
        lambda reply: bool(reply[0] == b"dropped"),
    )


def forget_steps(lane: Lane, job_id: str) -> Call[bool]:
    """Delete the steps of a dead job; returns False without effect if it is not dead."""
    return Call(
        load("forget_steps"), (lane.steps(job_id),), (lane.tag, job_id), lambda reply: bool(reply[0] == b"forgotten")
    )


# Calls for what a running job reports: its log, its progress and its output.


PAGE = 200
EMITTING_JOBS = 50
"""Maximum number of jobs of an emit_chunks."""
CHUNKS = 500
"""Number of chunks after which an emit_chunks takes no further job. A job has at most so many in a call."""
CHUNK_PAGE = 500
CHUNK_PAGE_BYTES = 1024 * 1024


class Entry(NamedTuple):
    """A line to store, or with an empty text only a new lifetime of the log.

    Attributes:
        id: The job's id.
        token: The fencing token of the run.
        n: It increases with each line of the run, so that a repeated line is recognized.
        ttl_ms: Lifetime of the log in ms.
        text: Time (µs), level (a number of `logging`) and text, separated by spaces.
    """

    id: str
    token: int
    n: int
    ttl_ms: int
    text: bytes


def log(lane: Lane, entries: Sequence[Entry], *, most_lines: int, most_bytes: int) -> Call[str]:
    """Store at most 50 lines; returns one letter each: o stored, k stored before, l lost."""
    args: list[Argument] = [most_lines, most_bytes]
    if lane.seals is not None:
        entries = [_sealed(lane.seals, entry) for entry in entries]
    for entry in entries:
        args.extend(entry)
    keys = (lane.runs, *[lane.log(entry.id) for entry in entries])
    return Call(load("log"), keys, tuple(args), lambda reply: reply[1].decode())


def _sealed(seals: Seals, entry: Entry) -> Entry:
    if not entry.text:
        return entry
    at, level, text = entry.text.split(b" ", 2)
    return entry._replace(text=b"%b %b %b" % (at, level, seals.text(text, "log", entry.id, str(entry.token))))


def lines(
    lane: Lane, job_id: str, *, after: tuple[int, int] = (0, 0), tail: int = 1_000_000, limit: int = PAGE
) -> Call[list[Line]]:
    """Return a page of a job's log, oldest first.

    Args:
        lane: The lane.
        job_id: The job's id.
        after: Token and n of the last line that was read.
        tail: Maximum number of last lines.
        limit: 1 to 500.
    """
    return Call(load("lines"), (lane.log(job_id),), (*after, tail, limit), partial(_lines, lane, job_id))


def _lines(lane: Lane, job_id: str, reply: Reply) -> list[Line]:
    return kept(reply[2:], partial(_line, lane, job_id), lane.log(job_id))


def _line(lane: Lane, job_id: str, part: bytes) -> Line:
    token, n, _, at, level, text = part.split(b" ", 5)
    if lane.seals is not None:
        text = lane.seals.open_text(text, "log", job_id, token.decode())
    return Line(counter_of(token), counter_of(n), time_of(at), counter_of(level), text_of(text))


class Report(NamedTuple):
    """The last progress report of a job.

    Attributes:
        id: The job's id.
        token: The fencing token of the run.
        n: It increases with each report of the run, so that listeners can order them.
        record: Encoded value, message and details.
    """

    id: str
    token: int
    n: int
    record: bytes


def progress(lane: Lane, reports: Sequence[Report], *, ttl_ms: int) -> Call[str]:
    """Store and publish at most 50 reports unless newer ones exist; returns one letter each: o ok, l lost, c cancel."""
    if (seals := lane.seals) is not None:
        reports = [one._replace(record=seals.value(one.record, "progress", one.id)) for one in reports]
    places = [place for report in reports for place in (lane.progress(report.id), lane.reported(report.id))]
    args: list[Argument] = [lane.tag, ttl_ms]
    for report in reports:
        args.extend(report)
    return Call(load("progress"), (lane.runs, *places), tuple(args), lambda reply: reply[1].decode())


class Emission(NamedTuple):
    """Chunks of a job that follow each other.

    Attributes:
        id: The job's id.
        token: The fencing token of the run.
        ttl_ms: Lifetime of the stream in ms.
        n: The number of the first chunk, from 1 in each run, so that a repeated chunk is recognized.
        chunks: The encoded chunks, at most `CHUNKS`; none to set only the lifetime.
    """

    id: str
    token: int
    ttl_ms: int
    n: int
    chunks: Sequence[bytes]


class StoredChunk(NamedTuple):
    """A chunk of an output stream.

    Attributes:
        token: The fencing token of the run that has emitted it.
        n: Its number in that run, from 1.
        number: Its number in the whole stream, from 1.
        record: The encoded chunk.
    """

    token: int
    n: int
    number: int
    record: bytes


def emit_chunks(lane: Lane, emissions: Sequence[Emission], *, most: int, most_bytes: int) -> Call[str]:
    """Add chunks to the streams of at most 50 jobs; returns one letter for each job: o stored, l lost.

    Args:
        lane: The lane.
        emissions: One per job.
        most: Maximum number of chunks that are kept per job.
        most_bytes: Maximum size in bytes of the chunks that are kept per job.
    """
    args: list[Argument] = [lane.tag, most, most_bytes]
    for one in emissions:
        args += (one.id, one.token, one.ttl_ms, one.n, len(one.chunks))
        args += one.chunks if lane.seals is None else _sealed_chunks(lane.seals, one)
    keys = (lane.runs, *[lane.chunks(one.id) for one in emissions])
    return Call(load("emit_chunks"), keys, tuple(args), lambda reply: reply[1].decode())


def _sealed_chunks(seals: Seals, one: Emission) -> list[bytes]:
    return [seals.value(chunk, "chunk", one.id, f"{one.token}-{n}") for n, chunk in enumerate(one.chunks, start=one.n)]


def chunks(
    lane: Lane, job_id: str, *, after: tuple[int, int] = (0, 0), tail: int = 0, limit: int = CHUNK_PAGE
) -> Call[tuple[list[StoredChunk], bool]]:
    """Return a page of a job's output stream, oldest first, and whether there is a next page.

    Args:
        lane: The lane.
        job_id: The job's id.
        after: Token and n of the last chunk that was read.
        tail: Maximum number of last chunks; 0 for all.
        limit: 1 to 500.
    """
    args = (*after, tail, limit, CHUNK_PAGE_BYTES)
    return Call(load("chunks"), (lane.chunks(job_id),), args, partial(_page, lane, job_id))


def _page(lane: Lane, job_id: str, reply: Reply) -> tuple[list[StoredChunk], bool]:
    return kept(reply[2], partial(_chunk, lane.seals, job_id), lane.chunks(job_id)), bool(reply[1])


def _chunk(seals: Seals | None, job_id: str, row: tuple[bytes, list[bytes]]) -> StoredChunk:
    entry, fields = row
    place, at, record = entry.decode(), fields[1], fields[3]
    token, _, n = place.partition("-")
    if seals is not None:
        record = seals.open_value(record, "chunk", job_id, place)
    return StoredChunk(int(token), int(n), time_of(at.partition(b" ")[0]), record)
