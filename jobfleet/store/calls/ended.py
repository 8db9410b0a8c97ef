"""Calls for ended jobs: outcomes, clean and forget."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.store.call import Call
from jobfleet.store.calls.control import who
from jobfleet.store.calls.inspect import final_of
from jobfleet.store.job_rows import Final
from jobfleet.store.keys import Lane
from jobfleet.store.script import load

CHUNK = 50


def outcomes(lane: Lane, ids: Sequence[str]) -> Call[list[Final | None]]:
    """Return the endings of at most 50 jobs without their returned values; None if there is no record."""
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
        for place in (lane.result(job_id), lane.progress(job_id), lane.log(job_id), lane.steps(job_id))
    ]
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
        lane.steps(job_id), lane.parents(job_id),
    )  # fmt: skip
    return Call(
        load("forget"),
        (*fixed, *own, lane.indexes, *map(lane.index_of, indexes)),
        (lane.tag, job_id, who(by), key, dependants, int(is_archived)),
        lambda reply: bool(reply[2]) if reply[0] == b"forgotten" else None,
    )
