"""Calls for ended jobs and the indexes that name them: outcomes, clean, forget, endings, retire, indexes, sweep."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.control import who
from jobfleet.store.calls.enqueue import KEEP
from jobfleet.store.calls.inspect import final_of
from jobfleet.store.keys import Lane
from jobfleet.store.records import Final
from jobfleet.store.rows import kept, number_of, text_of
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

CHUNK = 50
DAY_US, LOOK_US = 86_400_000_000, 600_000_000
"""By how long a cleaning is delayed at most because an index has no new entry: usually, and if results are counted."""


def _opened(seals: Seals, job_id: str, one: Final) -> Final:
    body = seals.open_ending(job_id, one.status, one.token, one.proof, one.body)
    return replace(one, body=body)


class Endings(NamedTuple):
    """A page of an index of a function.

    Attributes:
        now: Redis's time in µs.
        size: Number of jobs of the whole index.
        ended: The ended jobs of the page, each with the time of its ending in µs. Jobs with a dead letter, and jobs
            that were moved or replaced, are missing.
        more: Whether there is a next page.
    """

    now: int
    size: int
    ended: list[tuple[str, int]]
    more: bool


def outcomes(lane: Lane, ids: Sequence[str]) -> Call[list[Final | None]]:
    """Return the endings of at most 50 jobs without their returned values; None if there is no record.

    In a fleet that requires signatures they have their values, because a signature is that of the whole record.
    """
    if (seals := lane.seals) is not None and seals.requires:

        def read(reply: Reply) -> list[Final | None]:
            found = [final_of(value) if value else None for value in reply[1]]
            return [one and _opened(seals, job_id, one) for job_id, one in zip(ids, found, strict=True)]

        return Call(load("results"), (lane.lane,), (lane.tag, *ids), read)
    return Call(
        load("outcomes"),
        (lane.lane,),
        (lane.tag, *ids),
        lambda reply: [final_of(value) if value else None for value in reply[1]],
    )


def clean(lane: Lane, ids: Sequence[str], *, before_us: int) -> Call[int]:
    """Delete the records of those of at most 50 jobs that ended before a time; return their number."""
    places = [
        place
        for job_id in ids
        for place in (
            lane.result(job_id), lane.progress(job_id), lane.log(job_id), lane.steps(job_id), lane.chunks(job_id),
        )
    ]  # fmt: skip
    return Call(load("clean"), tuple(places), (lane.tag, before_us, *ids), lambda reply: int(reply[1]))


def forget(
    lane: Lane, job_id: str, *, by: str | None, indexes: Sequence[str], key: str, dependants: int, is_archived: bool
) -> Call[bool | None]:
    """Erase an ended job; returns whether the lane had anything about it, or None if it must be read again.

    Args:
        lane: The lane of the job.
        job_id: The job.
        by: The user who requests it.
        indexes: The names of its indexes.
        key: Its unique key; empty for none.
        dependants: Number of its dependants, of which none waits for it.
        is_archived: Whether the archive has the job.
    """
    fixed = (lane.dlq, lane.dead, lane.unique, lane.locks, lane.journal, lane.totals, lane.dependants(job_id))
    own = (
        lane.result(job_id), lane.value(job_id), lane.progress(job_id), lane.reported(job_id), lane.log(job_id),
        lane.steps(job_id), lane.chunks(job_id), lane.parents(job_id),
    )  # fmt: skip
    return Call(
        load("forget"),
        (*fixed, *own, lane.indexes, lane.filed, lane.filing, *map(lane.index_of, indexes)),
        (lane.tag, job_id, who(by), key, dependants, int(is_archived)),
        lambda reply: bool(reply[2]) if reply[0] == b"forgotten" else None,
    )


def endings(lane: Lane, name: str, *, skip: int = 0) -> Call[Endings]:
    """Return the end times of at most 50 jobs of an index, oldest enqueue first."""
    return Call(load("endings"), (lane.index_of(name),), (lane.tag, skip), _endings)


def _endings(reply: Reply) -> Endings:
    pairs = zip(reply[3][::2], reply[3][1::2], strict=True)
    return Endings(
        int(reply[1]), int(reply[2]), [(text_of(job_id), number_of(at)) for job_id, at in pairs], bool(reply[4])
    )


def retire(lane: Lane, name: str, jobs: Sequence[tuple[str, int]], *, before_us: int) -> Call[str]:
    """Delete the records of at most 50 ended jobs of an index; return one letter each.

    r removed, l the line of its ending is left, s it stays: it ended later, is open again, or others need it.

    Args:
        lane: The lane.
        name: The index.
        jobs: The jobs, each with the ms for which its id is remembered after its ending.
        before_us: Only jobs that ended before this time, in µs.
    """
    places = [
        place
        for job_id, _ in jobs
        for place in (
            lane.result(job_id), lane.value(job_id), lane.progress(job_id), lane.reported(job_id), lane.log(job_id),
            lane.steps(job_id), lane.chunks(job_id),
        )
    ]  # fmt: skip
    args = [part for job in jobs for part in job]
    return Call(
        load("retire"),
        (lane.index_of(name), *places),
        (lane.tag, before_us, *args),
        lambda reply: reply[1].decode(),
    )


def function_of(name: str) -> str | None:
    """Return the function of an index of a function with `keep_last`; None for another index."""
    return name.removeprefix(KEEP) if name.startswith(KEEP) else None


def indexes(lane: Lane) -> Call[list[str]]:
    """Return at most 50 indexes that are due for cleaning."""
    return Call(load("indexes"), (lane.indexes,), (CHUNK,), lambda reply: kept(reply[1], bytes.decode, lane.indexes))


def sweep(lane: Lane, name: str, *, skip: int = 0) -> Call[tuple[int, int, bool]]:
    """Remove entries of deleted jobs from an index; return counts of removed and kept ones, and whether more follow."""
    return Call(
        load("sweep"),
        (lane.index_of(name), lane.indexes),
        (lane.tag, name, skip, DAY_US if function_of(name) is None else LOOK_US),
        lambda reply: (int(reply[1]), int(reply[2]), bool(reply[3])),
    )
