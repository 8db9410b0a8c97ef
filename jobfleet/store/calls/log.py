"""Calls for a job's log: log and lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import Lane
from jobfleet.store.records import Line
from jobfleet.store.script import load

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
    for entry in entries:
        args.extend(entry)
    keys = (lane.runs, *[lane.log(entry.id) for entry in entries])
    return Call(load("log"), keys, tuple(args), lambda reply: reply[1].decode())


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
    return Call(load("lines"), (lane.log(job_id),), (*after, tail, limit), _lines)


def _lines(reply: Reply) -> list[Line]:
    return [_line(part) for part in reply[2:]]


def _line(part: bytes) -> Line:
    token, n, _, at, level, text = part.split(b" ", 5)
    return Line(int(token), int(n), int(at), int(level), text.decode("utf-8", "replace"))
