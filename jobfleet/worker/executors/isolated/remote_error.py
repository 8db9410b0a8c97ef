"""How a run in an isolated process ended, as data: the class of its error exists in that process only."""

from __future__ import annotations

import asyncio
from typing import Any

from jobfleet.codec import Limits, decode
from jobfleet.errors import EncodingError, InvalidJob, JobCancelled
from jobfleet.model import ErrorType
from jobfleet.model.signals import Discard, ForeignError, RetryAfter, Snooze, WorkerDraining
from jobfleet.outcome import OutOfMemory
from jobfleet.retry.decision import describe
from jobfleet.retry.policy import Policy, classify, with_header
from jobfleet.retry.tries import Tries
from jobfleet.worker.run.executor import Died
from jobfleet.worker.run.failure import traceback_text
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run

EndReport = dict[str, Any]
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
    match error:
        case WorkerDraining():
            report |= {"how": "draining"}
        case Snooze():
            report |= {"how": "snooze", "delay": error.delay}
        case RetryAfter():
            report |= {"how": "retry", "delay": error.delay, "reason": _text(error.reason)}
        case Discard():
            report |= {"how": "discard", "reason": _text(error.reason)}
        case JobCancelled() | asyncio.CancelledError():
            report |= {"how": "stopped"}
        case EncodingError():
            report |= {"how": "encoding", "reason": _text(error), "field": error.field, "path": _text(error.path)}
        case _:
            report |= {"how": "raised"}
    return report


def describe_ending(run: Run, handler: Handler, error: BaseException, *, traceback_bytes: int) -> EndReport:
    """Describe what a job raised, with the delay that the function of its `retry_delay` returns.

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
    if how == "encoding":
        return EncodingError(report["reason"], field=report["field"], path=report["path"])
    if how == "draining":
        return WorkerDraining()
    if how == "stopped" and is_stopping:
        return JobCancelled(report["text"])
    steers: RetryAfter | Snooze | Discard | None = None
    if how == "snooze":
        steers = Snooze(report["delay"])
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
