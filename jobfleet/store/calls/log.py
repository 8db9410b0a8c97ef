"""log and lines: a job's own log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from jobfleet.store.call import Argument, Call, Reply
from jobfleet.store.keys import Lane
from jobfleet.store.records import Line
from jobfleet.store.script import load

PAGE = 200


class Entry(NamedTuple):
    """A line on its way, or with an empty text only how long the log is kept from now on.

    Attributes:
        id: The job.
        token: The run.
        n: Grows with each line of the run, so that a line that comes twice is known.
        ttl_ms: How long the log is kept.
        text: When (µs), how grave (a number of `logging`), and what, parted by spaces.
    """

    id: str
    token: int
    n: int
    ttl_ms: int
    text: bytes


def log(lane: Lane, entries: Sequence[Entry], *, most_lines: int, most_bytes: int) -> Call[str]:
    """Keep at most 50 lines; a letter each: o kept, k kept before, l lost."""
    args: list[Argument] = [most_lines, most_bytes]
    for entry in entries:
        args.extend(entry)
    keys = (lane.runs, *[lane.log(entry.id) for entry in entries])
    return Call(load("log"), keys, tuple(args), lambda reply: reply[1].decode())


def lines(
    lane: Lane, job_id: str, *, after: tuple[int, int] = (0, 0), tail: int = 1_000_000, limit: int = PAGE
) -> Call[list[Line]]:
    """A page of a job's log, oldest first.

    Args:
        lane: Where.
        job_id: The job.
        after: Token and n of the last line that was seen.
        tail: How many of the last lines are wanted at most.
        limit: 1 to 500.
    """
    return Call(load("lines"), (lane.log(job_id),), (*after, tail, limit), _lines)


def _lines(reply: Reply) -> list[Line]:
    return [_line(part) for part in reply[2:]]


def _line(part: bytes) -> Line:
    token, n, _, at, level, text = part.split(b" ", 5)
    return Line(int(token), int(n), int(at), int(level), text.decode("utf-8", "replace"))
