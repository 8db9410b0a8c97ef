"""outcomes and clean: jobs that have ended, many at a time."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.store.call import Call
from jobfleet.store.calls.inspect import final_of
from jobfleet.store.job_rows import Final
from jobfleet.store.keys import Lane
from jobfleet.store.script import load

CHUNK = 50


def outcomes(lane: Lane, ids: Sequence[str]) -> Call[list[Final | None]]:
    """How at most 50 jobs ended, without the values they returned; None where nothing is kept."""
    return Call(
        load("outcomes"),
        (lane.lane,),
        (lane.tag, *ids),
        lambda reply: [final_of(value) if value else None for value in reply[1]],
    )


def clean(lane: Lane, ids: Sequence[str], *, before_us: int) -> Call[int]:
    """Let go what is kept of at most 50 jobs, of those that ended before a moment; answer of how many."""
    places = [
        place
        for job_id in ids
        for place in (lane.result(job_id), lane.progress(job_id), lane.log(job_id), lane.steps(job_id))
    ]
    return Call(load("clean"), tuple(places), (lane.tag, before_us, *ids), lambda reply: int(reply[1]))
