"""Calls for what a running job reports: log, lines and progress."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import Lane
from jobfleet.store.records import Line
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

PAGE = 200


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
    return [_line(lane, job_id, part) for part in reply[2:]]


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
