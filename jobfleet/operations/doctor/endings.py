"""Read the recent endings of a lane, and the results of the last of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from jobfleet.codec import is_record, read_fields
from jobfleet.errors import EncodingError
from jobfleet.operations import unreadable
from jobfleet.operations.operation import Operation
from jobfleet.store.calls import doctor, ended, inspect
from jobfleet.store.calls.doctor import Kept
from jobfleet.store.keys import Lane
from jobfleet.store.records import Final, Finished

BATCHES = 50
ENDED_PAGES = 4
HOUR = 3600.0


class KeptResult(NamedTuple):
    """The result of an ended job.

    Attributes:
        job_id: The id of the job.
        kept: The size and the TTL of the result.
        age: Seconds since the job ended.
        is_counted: Whether its function keeps only the last results, so that it may be removed before its TTL.
    """

    job_id: str
    kept: Kept
    age: float
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class Endings:
    """The recent endings of a lane.

    Attributes:
        number: How many jobs ended.
        seconds: In how many seconds they ended; at most an hour.
        kept: The results of the last of these jobs.
    """

    number: int = 0
    seconds: float = HOUR
    kept: tuple[KeptResult, ...] = ()


def endings_of(lane: Lane, now: int, counting: Sequence[str]) -> Operation[Endings]:
    """Count the jobs that ended within the last hour, or within the batches that are read.

    Args:
        lane: The lane.
        now: The time of Redis, µs since 1970.
        counting: The functions that keep only their last results.
    """
    since = now - HOUR * 1e6
    rows: list[Finished] = []
    seconds, before = HOUR, "+"
    for _ in range(ENDED_PAGES):
        (answer,) = yield unreadable.without_repair([inspect.finished(lane, before=before, limit=BATCHES)])
        page: list[Finished] = unreadable.read_or(answer, [], [])
        rows += [row for row in page if _at(row) >= since and row.outcome != inspect.NO_OUTCOME]
        if not page or _at(page[-1]) < since:
            break
        before = f"({page[-1].entry}"
    else:
        seconds = max(1.0, (now - _at(page[-1])) / 1e6)
    last = {lane.id_prefix + row.suffix: (now - _at(row)) / 1e6 for row in rows[: doctor.CHUNK]}
    if not last:
        return Endings()
    (answer,) = yield unreadable.without_repair([doctor.kept(lane, list(last))])
    kept: Sequence[Kept] = unreadable.read_or(answer, [Kept(0, 0)] * len(last), [])
    counted = yield from _counted(lane, list(last), counting)
    results = [KeptResult(job_id, one, last[job_id], job_id in counted) for job_id, one in zip(last, kept, strict=True)]
    return Endings(len(rows), seconds, tuple(results))


def _counted(lane: Lane, ids: Sequence[str], counting: Sequence[str]) -> Operation[set[str]]:
    """Return those of some jobs whose results may be removed because their function keeps only the last ones."""
    if not counting:
        return set()
    (answer,) = yield unreadable.without_repair([ended.outcomes(lane, ids)])
    finals: Sequence[Final | None] = unreadable.read_or(answer, [None] * len(ids), [])
    return {
        job_id
        for job_id, final in zip(ids, finals, strict=True)
        if final is not None and is_record(final.body) and _function_in(final.body) in counting
    }


def _function_in(record: bytes) -> str:
    try:
        return str(read_fields(record).get("function", ""))
    except EncodingError:
        return ""


def _at(row: Finished) -> int:
    """When a job ended, µs since 1970."""
    return int(row.entry.partition("-")[0]) * 1000
