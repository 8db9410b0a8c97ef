"""Calls for what a running job reports: its log, its progress and its output."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import Lane
from jobfleet.store.records import Line
from jobfleet.store.rows import kept
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

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
    return Line(int(token), int(n), int(at), int(level), text.decode("utf-8", "replace"))


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
    return StoredChunk(int(token), int(n), int(at.partition(b" ")[0]), record)
