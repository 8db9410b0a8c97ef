"""How a run in an isolated process ended, told as data: its error's class exists there alone."""

from __future__ import annotations

import asyncio
from typing import Any

from jobfleet.codec import Limits, decode
from jobfleet.errors import EncodingError, InvalidJob, JobCancelled
from jobfleet.model import ErrorType
from jobfleet.outcome import Discard, ForeignError, OutOfMemory, RetryAfter, Snooze
from jobfleet.retry import Policy, classify, describe
from jobfleet.worker.run.executor import Died
from jobfleet.worker.run.failure import traceback_text

Told = dict[str, Any]
LONGEST = 64 * 1024
"""Characters of a text that are told; the history of a job keeps fewer."""


def tell(error: BaseException, policy: Policy, *, traceback_bytes: int) -> Told:
    """Describe what a job raised.

    Args:
        error: What it raised, whatever it is.
        policy: Its function's lists of exceptions.
        traceback_bytes: How much of a traceback is told.
    """
    told: Told = {
        "told": describe(error)[:LONGEST],
        "class": type(error).__name__[:LONGEST].encode("utf-8", "replace").decode(),
        "type": str(classify(error, policy)),
        "traceback": traceback_text(error, traceback_bytes),
    }
    match error:
        case Snooze():
            told |= {"how": "snooze", "delay": error.delay}
        case RetryAfter():
            told |= {"how": "retry", "delay": error.delay, "reason": _text(error.reason)}
        case Discard():
            told |= {"how": "discard", "reason": _text(error.reason)}
        case JobCancelled() | asyncio.CancelledError():
            told |= {"how": "stopped"}
        case EncodingError():
            told |= {"how": "encoding", "reason": _text(error), "field": error.field, "path": _text(error.path)}
        case _:
            told |= {"how": "raised"}
    return told


def error_of(told: Told, *, is_stopping: bool) -> BaseException:
    """What was raised, as the worker's process takes it.

    Args:
        told: What `tell` made, or a word of the harness: ``oom``, ``missing``.
        is_stopping: Whether the run was told to stop.
    """
    how = told["how"]
    if how == "oom":
        return Died(OutOfMemory(told["reason"]))
    if how == "missing":
        return InvalidJob(told["reason"], field="run_in")
    if how == "encoding":
        return EncodingError(told["reason"], field=told["field"], path=told["path"])
    if how == "stopped" and is_stopping:
        return JobCancelled(told["told"])
    steers: RetryAfter | Snooze | Discard | None = None
    if how == "snooze":
        steers = Snooze(told["delay"])
    elif how == "retry":
        steers = RetryAfter(told["delay"], reason=told["reason"])
    elif how == "discard":
        steers = Discard(told["reason"] or "")
    return ForeignError(
        told["told"],
        error_class=told["class"],
        error_type=ErrorType(told["type"]),
        traceback=told["traceback"],
        steers=steers,
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
