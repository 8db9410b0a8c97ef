"""Send signals to open jobs, by the id of the job or by a token that the job has made."""

from __future__ import annotations

import logging
from secrets import token_hex

from jobfleet.codec import decode, encode
from jobfleet.errors import DurabilityUncertain, EncodingError, InvalidJob, JobNotFound
from jobfleet.functions.steps import check_signal
from jobfleet.model.option_types import FAST, LEVELS
from jobfleet.model.spec import job_of_token, token_hash
from jobfleet.operations.durability import WITHOUT_LEVELS, check_level, durably
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.cancel import OF_JOB, state_of
from jobfleet.operations.operation import Operation
from jobfleet.operations.operation import value as read
from jobfleet.operations.verb import Id, Name, Token, Value, verb
from jobfleet.store.call import Call
from jobfleet.store.calls import run as calls
from jobfleet.store.calls.enqueue import level
from jobfleet.store.keys import Lane

log: logging.Logger = logging.getLogger("jobfleet")
TOKEN = "t:"
UNKNOWN_TOKEN = "No job has made this token, or the job is not known any more."


@verb(
    "signal", recorded="job.signal", route="/jobs/{id}/signals", result="signalled", role="approver", before=state_of,
    change=lambda _, values: {"signal": values["name"]}, inner=("nonce", "has_token"),
    holes={"page": "the form of `/approvals` sends it, and reads what was typed as JSON"}, **OF_JOB,
)  # fmt: skip
def signal(
    context: FleetContext,
    job_id: Id,
    name: Name,
    value: Value = None,
    *,
    by: str | None = None,
    nonce: str = "",
    has_token: bool = False,
) -> Operation[bool]:
    """Send a signal to a job that waits for it, or will: `ctx.wait_for` returns the value.

    The first signal of a name wins. It has the durability of the queue, else of the fleet.

    Args:
        job_id: The id of the job.
        name: The name of the signal.
        value: What `ctx.wait_for` returns.

    Returns:
        False if the job has ended, or another signal of this name came first.

    Raises:
        JobNotFound: The job is not known.
        InvalidJob: The name is wrong, or the job keeps too much already.
        EncodingError: The value cannot be encoded.
        DurabilityUnavailable: The server cannot provide that durability; nothing was sent.
        DurabilityUncertain: It was sent, and not confirmed; send it again.
    """
    check_signal(name)
    record = encode(value, limits=context.limits, what="signal")
    config = context.config
    ttl_ms = round(max(config.failed_result_ttl, config.dead_ttl) * 1000)
    lane, nonce = context.keys.lane_of(job_id), nonce or token_hex(8)
    call = calls.signal(lane, job_id, name, record, by=by, nonce=nonce, ttl_ms=ttl_ms, has_token=has_token)
    durable = yield from _level_of(context, lane)
    yield from check_level(context, durable, lane)
    done = yield from durably(context, lane, (durable,) if durable else (), _sent(call))
    letter = done.value
    if not done.is_reached and letter not in "um":
        why = f"not confirmed (durability={durable!r}); send it again."
        raise DurabilityUncertain(job_id, f"The signal {name!r} of {job_id} was sent, but {why}")
    if letter == "u":
        raise JobNotFound(job_id)
    if letter == "m":
        raise InvalidJob(
            f"{job_id} keeps too much: the signal {name!r} is beyond {calls.MOST_STEPS:,} records, "
            f"or {calls.MOST_STEP_BYTES // 1024**2} MiB of them. Send fewer signals of other names, or smaller values.",
            field="signal",
        )
    return bool(letter == "s")


def _sent(call: Call[str]) -> Operation[str]:
    letter: str = read((yield (call,)))
    return letter


def _level_of(context: FleetContext, lane: Lane) -> Operation[str]:
    """The durability of what is written for jobs of a lane by others than their producer; empty for ``fast``."""
    if context.ignores_levels or context.config.url.startswith(WITHOUT_LEVELS):
        return ""
    if context.has_queue(lane.queue):
        return context.levels.get(lane.queue, "")
    found: str = read((yield (level(lane),)))
    found = found if found in LEVELS else context.config.durability
    return "" if found == FAST else found


def has_steps(context: FleetContext, job_id: str) -> Operation[bool]:
    """Whether a job has stored more than signals: steps, checkpoints, tokens or the ends of waits."""
    found = read((yield (calls.steps(context.keys.lane_of(job_id), job_id),)))
    return any(name and not name.startswith((calls.SIGNAL, calls.REFUSED)) for name in found)


def carry_signals(context: FleetContext, job_id: str, to: str, by: str | None) -> Operation[None]:
    """Send the signals of a job that was moved to its new job, where it may wait for them. A repetition is harmless."""
    found = read((yield (calls.steps(context.keys.lane_of(job_id), job_id),)))
    for name, record in found.items():
        if name.startswith(calls.SIGNAL):
            try:
                sent = decode(record.partition(b"\n")[2], what="signal", limits=context.limits)
                yield from signal(context, to, name.removeprefix(calls.SIGNAL), sent, by=by, nonce=f"moved:{job_id}")
            except JobNotFound:  # it has ended, and its result has expired
                return
            except (EncodingError, InvalidJob) as error:  # the move is complete, and other signals must arrive
                log.warning("signal.not_moved job_id=%s to=%s signal=%s %s", job_id, to, name, error)


def signal_of_token(context: FleetContext, token: str) -> Operation[tuple[str, str]]:
    """Return the job and the name of the signal of a token.

    Raises:
        JobNotFound: No job has made this token, or the job is not known any more.
    """
    job_id = job_of_token(token) or ""
    try:
        lane = context.keys.lane_of(job_id)
    except JobNotFound:
        raise JobNotFound("", UNKNOWN_TOKEN) from None
    name = TOKEN + token_hash(token)  # only this is read: anybody may ask, and the job may store much
    record = read((yield (calls.steps(lane, job_id, name),))).get(name)
    if record is None:
        raise JobNotFound("", UNKNOWN_TOKEN)
    return job_id, decode(record, what="token")


@verb(
    "signal_by_token", recorded="job.signal", route="/signals/{signal_token}", result="signalled", target=("token",),
    is_written=True,
    holes={
        "command": "a token is for programs outside, which have no access to Redis",
        "page": "the token is the authority; a caller who may log in sends it to the job",
    },
)  # fmt: skip
def signal_by_token(context: FleetContext, token: Token, value: Value = None, by: str | None = None) -> Operation[bool]:
    """Send the signal of a token that a job has made with `ctx.token`. A repetition is harmless.

    Args:
        token: The token. It is a secret, and the authority.
        value: What `ctx.wait_for` returns.

    Raises:
        JobNotFound: No job has made this token, or the job is not known any more.
        InvalidJob: The job keeps too much already.
        EncodingError: The value cannot be encoded.
    """
    job_id, name = yield from signal_of_token(context, token)
    return (yield from signal(context, job_id, name, value, by=by, nonce=token_hash(token), has_token=True))
