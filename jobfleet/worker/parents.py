"""How the jobs ended that a run has waited for, as its context shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jobfleet.client.report import result_of
from jobfleet.client.verbs import batches
from jobfleet.codec import Limits
from jobfleet.errors import JobNotFound
from jobfleet.model import JobResult, JobStatus
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import flow, inspect
from jobfleet.store.keys import Keyspace, Lane

Row = tuple[str, str, bytes]
"""A parent's id, its status in a word, and what is kept of its end."""


async def parents_of(store: AsyncStore, keys: Keyspace, lane: Lane, job_id: str) -> list[Row]:
    """Look up how a job's parents ended, in order; what was too large to lie beside it is read where it lies."""
    states = await store.run(flow.parents(lane, job_id))
    rows = {state.parent: (state.parent, state.status, state.record) for state in states}
    by_lane: dict[Lane, list[str]] = {}
    for state in states:
        if not state.record and state.status not in ("", "gone"):
            by_lane.setdefault(keys.lane_of(state.parent), []).append(state.parent)
    for there, ids in by_lane.items():
        for part in batches(ids, inspect.CHUNK):
            values = await store.run(flow.results(there, part))
            for parent, value in zip(part, values, strict=True):
                rows[parent] = (parent, rows[parent][1], value)
    return list(rows.values())


def results_of(rows: Sequence[Row], limits: Limits) -> dict[str, JobResult[Any]]:
    """The same as results by id."""
    return {parent: _result(parent, status, value, limits) for parent, status, value in rows}


def _result(parent: str, status: str, value: bytes, limits: Limits) -> JobResult[Any]:
    if value:
        try:
            return result_of(parent, inspect.final_of(value), 0, limits=limits)
        except JobNotFound:
            pass
    known = JobStatus(status) if status in JobStatus.__members__.values() else JobStatus.CANCELLED
    return JobResult(id=parent, status=known, error="Its result has been let go.")
