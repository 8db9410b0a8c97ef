"""For which jobs to wait to learn that a flow is over. Pure."""

from __future__ import annotations

from jobfleet.operations.flows.info import FlowInfo


def frontier(info: FlowInfo) -> list[str]:
    """Return the ids of the open jobs after whose end a flow may be over.

    These are the jobs that no open job waits for, and those whose failure makes another job wait for a replay. For
    the other jobs it need not be known when they end.
    """
    places = list(info.open_places())
    awaited = {parent for place in places for parent in info.jobs[place].parents}
    decisive = {
        parent
        for job in info.jobs
        for parent, otherwise in zip(job.parents, job.otherwise, strict=True)
        if otherwise == "wait"
    }
    return [info.jobs[place].id for place in places if place not in awaited or place in decisive]
