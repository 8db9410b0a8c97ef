"""Calls for the steps and signals of a job: keep, shorten_kept, steps, signal, drop_steps and forget_steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.control import who
from jobfleet.store.keys import Lane
from jobfleet.store.rows import kept
from jobfleet.store.script import load

MOST = 1000
"""Maximum number of steps and checkpoints of a job."""

WAIT, SIGNAL = "w:", "x:"
"""Prefixes of names that scripts read: the end of a wait, and a signal."""

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


def shorten_kept(lane: Lane, job_id: str, token: int, *, ttl_ms: int) -> Call[str]:
    """End the long lifetimes of what a running job has kept for a wait, before it completes. Returns kept or lost."""
    keys = (lane.runs, lane.steps(job_id), lane.log(job_id), lane.chunks(job_id), lane.parents(job_id))
    return Call(load("shorten_kept"), keys, (job_id, token, ttl_ms), lambda reply: reply[0].decode())


def steps(lane: Lane, job_id: str, name: str = "") -> Call[dict[str, bytes]]:
    """Return the stored results of a job's steps, and under the empty name Redis's time in µs.

    The record of a signal is the time at which it came, in µs, a line break, and its value.

    Args:
        lane: The lane of the job.
        job_id: The job.
        name: Only the record of this name; empty for all.
    """
    return Call(load("steps"), (lane.steps(job_id),), (name,), partial(_steps, lane, job_id))


def signal(lane: Lane, job_id: str, name: str, record: bytes, *, by: str | None, nonce: str, ttl_ms: int) -> Call[str]:
    """Send a signal to an open job.

    Returns one letter: s sent, a repetition included, k another one of that name came first, f final, u unknown, m the
    job keeps too much.

    Args:
        lane: The lane of the job.
        job_id: The job.
        name: The name of the signal.
        record: The encoded value.
        by: Who sends it.
        nonce: The same in each repetition.
        ttl_ms: How long it is kept after the job is due.
    """
    if lane.seals is not None:
        record = lane.seals.value(record, "signal", job_id, name)
    return Call(
        load("signal"),
        (*lane.ready, lane.steps(job_id), lane.wake, lane.grouped, lane.ring, lane.gdue, lane.journal, lane.totals),
        (lane.tag, job_id, name, record, who(by), nonce, ttl_ms, MOST, MOST_BYTES),
        lambda reply: reply[2].decode(),
    )


def _steps(lane: Lane, job_id: str, reply: Reply) -> dict[str, bytes]:
    rows = zip(reply[2::2], reply[3::2], strict=True)
    found = dict(kept(rows, lambda row: (row[0].decode(), row[1]), lane.steps(job_id)))
    for name, record in found.items():
        if name.startswith(SIGNAL):
            head, _, value = record.partition(b"\n")
            if lane.seals is not None:
                value = lane.seals.open_value(value, "signal", job_id, name.removeprefix(SIGNAL))
            found[name] = head.split(b" ")[0] + b"\n" + value
        elif lane.seals is not None and not name.startswith(WAIT):  # the scripts read the end of a wait
            found[name] = lane.seals.open_value(record, "step", job_id, name)
    return {"": reply[1], **found}


def drop_steps(lane: Lane, job_id: str, names: Sequence[str]) -> Call[bool]:
    """Delete records of an ended job by name; returns False without effect if the job is open."""
    return Call(
        load("drop_steps"),
        (lane.steps(job_id),),
        (lane.tag, job_id, *names),
        lambda reply: bool(reply[0] == b"dropped"),
    )


def forget_steps(lane: Lane, job_id: str) -> Call[bool]:
    """Delete the steps of a dead job; returns False without effect if it is not dead."""
    return Call(
        load("forget_steps"), (lane.steps(job_id),), (lane.tag, job_id), lambda reply: bool(reply[0] == b"forgotten")
    )
