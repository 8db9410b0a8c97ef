"""Calls for the steps and signals of a job: keep, steps, signal, drop_steps and forget_steps."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from jobfleet.codec.refused import is_refused_value, refusal_of, refused_value
from jobfleet.errors import BadSignature, EncodingError
from jobfleet.store.call import Call, Reply
from jobfleet.store.calls.control import who
from jobfleet.store.calls.settle import WAIT_END
from jobfleet.store.keys import Lane
from jobfleet.store.rows import kept
from jobfleet.store.script import load

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals

MOST = 1000
"""Maximum number of steps and checkpoints of a job."""

WAIT, SIGNAL, SEAL = "w:", "x:", "e:"
"""Prefixes of names that scripts read or write: the end of a wait, a signal, and the seal of the end of a wait."""
UNSEALED, REFUSED = "?w:", "!x:"
"""Prefixes of names that readers get: the end of a wait of revision f933da4f; a signal that is not accepted."""

BY_TOKEN = "\x1f"
"""What begins the name of a signal that only tokens send. No name that a caller gives has it."""

MOST_BYTES = 4 * 1024 * 1024
"""Maximum total size in bytes of a job's steps and checkpoints."""


def keep(lane: Lane, job_id: str, token: int, *, ttl_ms: int, step: str, record: bytes) -> Call[str]:
    """Store the result of a step; returns kept, full or lost.

    Args:
        lane: The lane of the job.
        job_id: The job.
        token: The token of its run.
        ttl_ms: How long the steps are kept after the end of the job, unless it completes.
        step: The name of the step.
        record: The encoded result.
    """
    if lane.seals is not None:
        record = lane.seals.value(record, "step", job_id, step)
    return Call(
        load("keep"),
        (lane.runs, lane.steps(job_id), lane.meta),
        (job_id, token, ttl_ms, MOST, MOST_BYTES, step, record),
        lambda reply: reply[0].decode(),
    )


def steps(lane: Lane, job_id: str, name: str = "") -> Call[dict[str, bytes]]:
    """Return the stored results of a job's steps, and under the empty name Redis's time in µs.

    The record of a signal is the time at which it came, in µs, a line break, and its value. With keys, an end of
    a wait and a signal that are not accepted are missing, but see `UNSEALED` and `refused_signal`.

    Args:
        lane: The lane of the job.
        job_id: The job.
        name: Only the record of this name; empty for all.
    """
    return Call(load("steps"), (lane.steps(job_id),), (name,), partial(_steps, lane, job_id))


def signal(
    lane: Lane,
    job_id: str,
    name: str,
    record: bytes,
    *,
    by: str | None,
    nonce: str,
    ttl_ms: int,
    has_token: bool = False,
) -> Call[str]:
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
        ttl_ms: How long it is kept after the end of the job, unless the job completes.
        has_token: Whether it is the signal of a token, which is stored a second time for waits that take no other one.
    """
    proven = record if has_token else b""
    if lane.seals is not None:
        if has_token:
            proven = lane.seals.value(record, "signal", job_id, BY_TOKEN + name)
        record = lane.seals.value(record, "signal", job_id, name)
    return Call(
        load("signal"),
        (
            *lane.ready,
            lane.steps(job_id),
            lane.wake,
            lane.grouped,
            lane.ring,
            lane.gdue,
            lane.journal,
            lane.totals,
            lane.meta,
        ),
        (lane.tag, job_id, name, record, who(by), nonce, ttl_ms, MOST, MOST_BYTES, proven),
        lambda reply: reply[2].decode(),
    )


def _steps(lane: Lane, job_id: str, reply: Reply) -> dict[str, bytes]:
    rows = zip(reply[2::2], reply[3::2], strict=True)
    found = dict(kept(rows, lambda row: (row[0].decode(), row[1]), lane.steps(job_id)))
    if lane.seals is not None:
        found = _opened(lane.seals, job_id, found)
    for name, record in found.items():
        if name.startswith(SIGNAL):
            head, _, value = record.partition(b"\n")
            found[name] = head.split(b" ")[0] + b"\n" + value
    return {"": reply[1], **found}


def _opened(seals: Seals, job_id: str, stored: dict[str, bytes]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for name, record in stored.items():
        if name.startswith(SIGNAL):
            head, _, value = record.partition(b"\n")
            value = seals.open_value(value, "signal", job_id, name.removeprefix(SIGNAL))
            if seals.requires and not (value and head.split(b" ")[0].isdigit()):
                value = refused_value(BadSignature("signal: it is not signed.", what="signal"))
            if is_refused_value(value):
                found[REFUSED + name.removeprefix(SIGNAL)] = b"%d %b%b" % (len(value), value, record)
            else:
                found[name] = head + b"\n" + value
        elif name.startswith(WAIT):
            key = name.removeprefix(WAIT)
            seal = stored.get(SEAL + key, b"")
            if not seals.requires or (seal and seals.open_value(seal, WAIT_END, job_id, key) == record):
                found[name] = record
            elif not seal and not seals.sealer.is_bound:
                found[UNSEALED + key] = record
        elif not name.startswith(SEAL):
            found[name] = seals.open_value(record, "step", job_id, name)
    return found


def refused_signal(record: bytes) -> tuple[EncodingError | None, bytes]:
    """Return why a signal is not accepted, and what is stored, from a record under a name with the prefix `REFUSED`."""
    length, _, rest = record.partition(b" ")
    return refusal_of(rest[: int(length)], "signal"), rest[int(length) :]


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
