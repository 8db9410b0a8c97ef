"""keep and steps: what a job's steps have come to."""

from __future__ import annotations

from jobfleet.store.call import Call, Reply
from jobfleet.store.keys import Lane
from jobfleet.store.script import load

MOST = 1000
"""Steps and checkpoints kept of a job."""

MOST_BYTES = 4 * 1024 * 1024
"""Bytes kept of a job's steps and checkpoints, all together."""


def keep(lane: Lane, job_id: str, token: int, *, ttl_ms: int, step: str = "", record: bytes = b"") -> Call[str]:
    """Keep the result of a step; without one only set how long all are kept. Answers kept, full or lost."""
    return Call(
        load("keep"),
        (lane.runs, lane.steps(job_id)),
        (job_id, token, ttl_ms, MOST, MOST_BYTES, step, record),
        lambda reply: reply[0].decode(),
    )


def steps(lane: Lane, job_id: str) -> Call[dict[str, bytes]]:
    """What has been kept of a job's steps."""
    return Call(load("steps"), (lane.steps(job_id),), (), _steps)


def _steps(reply: Reply) -> dict[str, bytes]:
    return {reply[i].decode(): reply[i + 1] for i in range(1, len(reply), 2)}


def forget(lane: Lane, job_id: str) -> Call[bool]:
    """Let the steps of a dead job go; False, and nothing happens, when it is not dead."""
    return Call(load("forget"), (lane.steps(job_id),), (lane.tag, job_id), lambda reply: bool(reply[0] == b"forgotten"))
