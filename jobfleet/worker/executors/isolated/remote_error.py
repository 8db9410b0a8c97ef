"""How a run in an isolated process ended, as data: the class of its error exists in that process only."""

from __future__ import annotations

import asyncio
from typing import Any

from jobfleet.codec import Limits, decode
from jobfleet.errors import EncodingError, InvalidJob, JobCancelled, TypeMismatch
from jobfleet.functions.typed_call import ArgumentsRefused
from jobfleet.model import ErrorType
from jobfleet.model.signals import (
    Discard,
    ForeignError,
    RateLimited,
    RetryAfter,
    Snooze,
    Suspended,
    WorkerDraining,
    suspension_of,
)
from jobfleet.outcome import OutOfMemory
from jobfleet.retry.decision import Policy, classify, describe, with_header
from jobfleet.retry.tries import Tries
from jobfleet.worker.run.executor import Died
from jobfleet.worker.run.failure import traceback_text
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run

EndReport = dict[str, Any]
OF_VALUES = {"arguments": ArgumentsRefused, "mismatch": TypeMismatch, "encoding": EncodingError}
"""The errors about arguments and results, subclasses first."""
LONGEST = 64 * 1024
"""The maximal length of a text in a report. The history of a job keeps less."""


def describe_error(error: BaseException, policy: Policy, *, traceback_bytes: int) -> EndReport:
    """Describe what a job raised.

    Args:
        error: What it raised, whatever it is.
        policy: Its function's lists of exceptions.
        traceback_bytes: The maximal size of a traceback.
    """
    report: EndReport = {
        "text": describe(error)[:LONGEST],
        "class": type(error).__name__[:LONGEST].encode("utf-8", "replace").decode(),
        "type": str(classify(error, policy)),
        "traceback": traceback_text(error, traceback_bytes),
    }
    match suspension_of(error) or error:
        case Suspended(key=key, name=name, delay=delay):
            report |= {"how": "waiting", "wait": [key, name, delay]}
        case WorkerDraining():
            report |= {"how": "draining"}
        case RateLimited(delay=delay, limit=limit):
            report |= {"how": "snooze", "delay": delay, "limit": limit or ""}
        case Snooze(delay=delay):
            report |= {"how": "snooze", "delay": delay}
        case RetryAfter(delay=delay, reason=reason):
            report |= {"how": "retry", "delay": delay, "reason": _text(reason)}
        case Discard(reason=reason):
            report |= {"how": "discard", "reason": _text(reason)}
        case JobCancelled() | asyncio.CancelledError():
            report |= {"how": "stopped"}
        case EncodingError() as wrong:
            how = next(how for how, kind in OF_VALUES.items() if isinstance(wrong, kind))
            report |= {"how": how, "reason": _text(wrong), "field": wrong.field, "path": _text(wrong.path)}
        case _:
            report |= {"how": "raised"}
    return report


def describe_ending(run: Run, handler: Handler, error: BaseException, *, traceback_bytes: int) -> EndReport:
    """Describe what a job raised, with what the functions and lists of its decorator say of it.

    Args:
        run: The run of the job.
        handler: Its function.
        error: What it raised, whatever it is.
        traceback_bytes: The maximal size of a traceback.
    """
    report = describe_error(error, handler.policy, traceback_bytes=traceback_bytes)
    if handler.policy.delay_of is not None and report["how"] == "raised" and report["type"] == ErrorType.TRANSIENT:
        policy, failures = with_header(handler.policy, run.header), Tries.parse(run.grant.tries).failures
        if policy.delay_of is not None and failures < policy.max_retries:
            report["retry_delay"] = policy.delay_of(failures + 1, error)
    gates = handler.function.gates
    if gates is not None and gates.breaker is not None and gates.breaker.ignores(error):
        report["ignored"] = True
    return report


def error_of(report: EndReport, *, is_stopping: bool) -> BaseException:
    """What was raised, as the worker's process takes it.

    Args:
        report: The result of `describe_error`, or a report of the process itself: ``oom``, ``missing``.
        is_stopping: Whether the run was to stop.
    """
    how = report["how"]
    if how == "oom":
        return Died(OutOfMemory(report["reason"]))
    if how == "missing":
        return InvalidJob(report["reason"], field="run_in")
    if how in OF_VALUES:
        return OF_VALUES[how](report["reason"], field=report["field"], path=report["path"])
    if how == "waiting":
        return Suspended(*report["wait"])
    if how == "draining":
        return WorkerDraining()
    if how == "stopped" and is_stopping:
        return JobCancelled(report["text"])
    steers: RetryAfter | Snooze | Discard | None = None
    if how == "snooze":
        is_refused = "limit" in report
        steers = RateLimited(report["delay"], limit=report["limit"] or None) if is_refused else Snooze(report["delay"])
    elif how == "retry":
        steers = RetryAfter(report["delay"], reason=report["reason"])
    elif how == "discard":
        steers = Discard(report["reason"] or "")
    return ForeignError(
        report["text"],
        error_class=report["class"],
        error_type=ErrorType(report["type"]),
        traceback=report["traceback"],
        steers=steers,
        retry_delay=report.get("retry_delay"),
        is_ignored=report.get("ignored", False),
    )


def value_of(data: bytes, limits: Limits) -> Any:
    """A result that came over the line.

    Raises:
        EncodingError: It cannot be read.
    """
    return decode(data, limits=limits, what="result")


def _text(what: object) -> str | None:
    if what is None:
        return None
    try:
        return str(what)[:LONGEST].encode("utf-8", "replace").decode()
    except BaseException:  # noqa: BLE001 - the user's __str__ may raise anything
        return "(its text cannot be read)"
