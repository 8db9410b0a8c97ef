"""Calls for the results of a job's steps: keep, steps and forget_steps."""

from __future__ import annotations

from functools import partial

from jobfleet.store.call import Call, Reply
from jobfleet.store.keys import Lane
from jobfleet.store.script import load

MOST = 1000
"""Maximum number of steps and checkpoints of a job."""

MOST_BYTES = 4 * 1024 * 1024
"""Maximum total size in bytes of a job's steps and checkpoints."""


def keep(lane: Lane, job_id: str, token: int, *, ttl_ms: int, step: str = "", record: bytes = b"") -> Call[str]:
    """Store the result of a step; without a step only set the lifetime of all. Returns kept, full or lost."""
    if lane.seals is not None:
        record = lane.seals.value(record, "step", job_id, step)
    return Call(
        load("keep"),
        (lane.runs, lane.steps(job_id)),
        (job_id, token, ttl_ms, MOST, MOST_BYTES, step, record),
        lambda reply: reply[0].decode(),
    )


def steps(lane: Lane, job_id: str) -> Call[dict[str, bytes]]:
    """Return the stored results of a job's steps."""
    return Call(load("steps"), (lane.steps(job_id),), (), partial(_steps, lane, job_id))


def _steps(lane: Lane, job_id: str, reply: Reply) -> dict[str, bytes]:
    found = {reply[i].decode(): reply[i + 1] for i in range(1, len(reply), 2)}
    if (seals := lane.seals) is None:
        return found
    return {step: seals.open_value(record, "step", job_id, step) for step, record in found.items()}


def forget_steps(lane: Lane, job_id: str) -> Call[bool]:
    """Delete the steps of a dead job; returns False without effect if it is not dead."""
    return Call(
        load("forget_steps"), (lane.steps(job_id),), (lane.tag, job_id), lambda reply: bool(reply[0] == b"forgotten")
    )
