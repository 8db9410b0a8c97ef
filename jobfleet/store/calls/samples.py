"""Calls for samples: hold_samples, write_samples, commit_samples, run_reports, sampled, samples, points.

One process at a time samples the fleet. It appends the points of a step to the hashes of chunks, some hundred series
per call. The commit at the end marks the step and stores the counters in one script. Points without a mark do not
count, so a process that dies in between leaves nothing that counts twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from jobfleet.store.call import Call, Reply
from jobfleet.store.keys import Keyspace
from jobfleet.store.rows import kept, number_of, text_of, time_of
from jobfleet.store.script import load

COUNTERS = "counters"
"""The part that has the counters at the last sample."""
COUNTERS_TTL_MS = 4 * 3600 * 1000
SERIES = 200
"""Series per write, so that none holds the server for a millisecond."""
PAGE = 500
REPORTS = 50
"""Reports per read; each has up to some kilobytes."""


class Hold(NamedTuple):
    """The state of the samples for the process that has the duty.

    Attributes:
        now: Redis's time, µs.
        last: The number of the last sampled step; None before the first one.
        epoch: How often the clock of Redis was set back.
        hour: The last archived hour, counted since 1970; None if there is none.
    """

    now: int
    last: int | None
    epoch: int
    hour: int | None


class Head(NamedTuple):
    """How far a fleet was sampled.

    Attributes:
        now: Redis's time, µs.
        last: The number of the last sampled step; None before the first one.
        versions: Versions of workers, and when each was first seen, in µs.
    """

    now: int
    last: int | None
    versions: Mapping[str, int]


class Page(NamedTuple):
    """A page of a hash.

    Attributes:
        cursor: Where the next page begins; ``b"0"`` after the last one.
        values: Values by name; a name may come twice.
    """

    cursor: bytes
    values: Mapping[str, bytes]


class Reports(NamedTuple):
    """A page of the reports of workers.

    Attributes:
        now: Redis's time, µs.
        reports: Encoded reports by worker.
        more: Whether there may be further pages.
    """

    now: int
    reports: Mapping[str, bytes]
    more: bool


class Commit(NamedTuple):
    """The end of a step.

    Attributes:
        last: The number of the step.
        epoch: How often the clock of Redis was set back.
        hour: The last archived hour; None if there is none.
        chunk: The chunk of the step, its mark, and the ms for which the chunk is stored.
        minute: The same for the minute that has ended before the step; with an empty mark if none has.
        versions: Versions of workers that may be new.
        counters: The counters that have changed; an empty value deletes one.
    """

    last: int
    epoch: int
    hour: int | None
    chunk: tuple[str, bytes, int]
    minute: tuple[str, bytes, int]
    versions: Sequence[str]
    counters: Mapping[str, bytes]


def hold_samples(keys: Keyspace, process: str, *, lease_us: int) -> Call[Hold | int]:
    """Take the duty of sampling, or renew it; 0 µs give it up.

    Returns its state, or the time in µs for which another process has it.
    """
    return Call(load("hold_samples"), (keys.samples,), (process, lease_us), _held)


def _held(reply: Reply) -> Hold | int:
    if reply[0] == b"other":
        return max(0, int(reply[2]) - int(reply[1]))
    return Hold(int(reply[1]), _optional(reply[2]), number_of(reply[3]), _optional(reply[4]))


def _optional(raw: bytes) -> int | None:
    return number_of(raw, -1) if raw and number_of(raw, -1) >= 0 else None


def write_samples(
    keys: Keyspace, process: str, part: str, points: Iterable[tuple[str, bytes]], *, ttl_ms: int
) -> Call[bool]:
    """Append encoded points to at most `SERIES` series of a chunk; False if another process has the duty by now."""
    flat = [word for pair in points for word in pair]
    return Call(
        load("write_samples"),
        (keys.samples, keys.samples_of(part)),
        (process, ttl_ms, *flat),
        lambda reply: bool(reply[0] == b"written"),
    )


def commit_samples(keys: Keyspace, process: str, commit: Commit) -> Call[bool]:
    """Mark a step as sampled, and store the counters; False if another process has the duty by now."""
    chunk, mark, chunk_ttl = commit.chunk
    minute, minute_mark, minute_ttl = commit.minute
    flat = [word for pair in commit.counters.items() for word in pair]
    return Call(
        load("commit_samples"),
        (
            keys.samples,
            keys.samples_of(COUNTERS),
            keys.samples_of(chunk),
            keys.samples_of(minute),
            keys.versions,
        ),
        (
            process,
            commit.last,
            commit.epoch,
            "" if commit.hour is None else commit.hour,
            mark,
            minute_mark,
            f"{COUNTERS_TTL_MS} {chunk_ttl} {minute_ttl}",
            len(commit.versions),
            *commit.versions,
            *flat,
        ),
        lambda reply: bool(reply[0] == b"committed"),
    )


def run_reports(keys: Keyspace, *, since_us: int, skip: int = 0) -> Call[Reports]:
    """Return a page of the reports that workers have sent since a time."""
    return Call(load("run_reports"), (keys.reports,), (keys.tag, since_us, skip, REPORTS), _reports)


def _reports(reply: Reply) -> Reports:
    rows = reply[2]
    found = {text_of(rows[i]): bytes(rows[i + 1]) for i in range(0, len(rows), 2) if rows[i + 1]}
    return Reports(int(reply[1]), found, bool(reply[3]))


def sampled(keys: Keyspace, part: str, cursor: bytes = b"0") -> Call[Page]:
    """Return a page of the counters at the last sample, or of the series of a chunk."""
    return Call(load("sampled"), (keys.samples_of(part),), (cursor, PAGE), _page)


def _page(reply: Reply) -> Page:
    rows = reply[2]
    return Page(reply[1], {text_of(rows[i]): bytes(rows[i + 1]) for i in range(0, len(rows), 2)})


def samples(keys: Keyspace) -> Call[Head]:
    """Return how far the fleet was sampled, and the versions of its workers."""
    return Call(load("samples"), (keys.samples,), (keys.tag,), _head)


def _head(reply: Reply) -> Head:
    rows = reply[3]
    versions = dict(kept(zip(rows[::2], rows[1::2], strict=True), _first_seen, "versions"))
    return Head(int(reply[1]), _optional(reply[2]), versions)


def _first_seen(row: tuple[bytes, bytes]) -> tuple[str, int]:
    return text_of(row[0]), time_of(row[1])


def points(keys: Keyspace, part: str, series: Sequence[str]) -> Call[dict[str, bytes]]:
    """Return the encoded points of some series of a chunk; the empty name has the marks of its steps."""
    return Call(load("points"), (keys.samples_of(part),), tuple(series), partial(_points, series))


def _points(series: Sequence[str], reply: Reply) -> dict[str, bytes]:
    return {name: bytes(value) for name, value in zip(series, reply[1], strict=True)}
