"""Calls for many ended jobs: outcomes and clean."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.store.call import Call
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
