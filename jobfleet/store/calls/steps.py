"""Calls for the results of a job's steps: keep, steps and forget_steps."""

from __future__ import annotations

from jobfleet.store.call import Call, Reply
from jobfleet.store.keys import Lane
from jobfleet.store.script import load

MOST = 1000
"""Maximum number of steps and checkpoints of a job."""

MOST_BYTES = 4 * 1024 * 1024
"""Maximum total size in bytes of a job's steps and checkpoints."""


def keep(lane: Lane, job_id: str, token: int, *, ttl_ms: int, step: str = "", record: bytes = b"") -> Call[str]:
    """Store the result of a step; without a step only set the lifetime of all. Returns kept, full or lost."""
    return Call(
        load("keep"),
        (lane.runs, lane.steps(job_id)),
        (job_id, token, ttl_ms, MOST, MOST_BYTES, step, record),
        lambda reply: reply[0].decode(),
    )


def steps(lane: Lane, job_id: str) -> Call[dict[str, bytes]]:
    """Return the stored results of a job's steps."""
    return Call(load("steps"), (lane.steps(job_id),), (), _steps)


def _steps(reply: Reply) -> dict[str, bytes]:
    return {reply[i].decode(): reply[i + 1] for i in range(1, len(reply), 2)}


def forget_steps(lane: Lane, job_id: str) -> Call[bool]:
    """Delete the steps of a dead job; returns False without effect if it is not dead."""
    return Call(
        load("forget_steps"), (lane.steps(job_id),), (lane.tag, job_id), lambda reply: bool(reply[0] == b"forgotten")
    )
