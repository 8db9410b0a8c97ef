"""The log lines of runs: one per transition.

Lines that need no action are logged with ``--verbose`` or the setting `log_jobs` only.
"""

from __future__ import annotations

import logging

from jobfleet.clock import span
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.model.signals import ForeignError, RateLimited
from jobfleet.outcome import Outcome, Raised
from jobfleet.retry.tries import Tries
from jobfleet.store.calls.settle import PAST, BriefCompletion, Completion, Item
from jobfleet.worker.run.failure import class_of, is_writable, traceback_text, users_frames
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
LONGEST_TRACEBACK = 10_000
"""The maximal length in characters of the traceback of an error whose text cannot be written."""
LOGGED_AT_ONCE = ("fail", "retry", "park")
"""Endings that are logged with their reason, where the reason is known."""
_UNLIMITED: set[str] = set()
"""The functions of which was logged that they name no limit."""


def level_of_jobs(config: JobConfig) -> int | None:
    """Return the level of the lines about starts and good endings; None if they are not logged.

    Callers ask once, because a line costs more than a small job.
    """
    level = logging.INFO if config.log_jobs else logging.DEBUG
    return level if log.isEnabledFor(level) else None


def started(run: Run, level: int) -> None:
    """A run has started."""
    extra = {"run": run, "_shown": "started"}
    log.log(level, "job.started job_id=%s function=%s", run.id, _function(run), extra=extra)


def ended(run: Run, level: int, item: Item | None, letter: str) -> None:
    """Redis has stored an end that needs no action. It is not logged before, because until then the job may run again.

    Args:
        run: The run.
        level: The level of the line.
        item: What has settled the run.
        letter: The answer of Redis: c if the job was cancelled instead.
    """
    if item is None or item.verb in LOGGED_AT_ONCE:
        return
    event = "cancelled" if letter == "c" else PAST[item.verb]
    duration_us = run.ending.ended_us - run.started_us
    if isinstance(item, Completion | BriefCompletion):
        duration_us = item.duration_us
    seconds = duration_us / 1e6
    shown = f"{event} {'in' if event == 'completed' else 'after'} {_duration(seconds)}"
    text, extra = "job.%s job_id=%s function=%s duration=%.3f", {"run": run, "_shown": shown}
    log.log(level, text, event, run.id, _function(run), seconds, extra=extra)


def retried(run: Run, tries: Tries, outcome: Outcome, delay_us: int) -> None:
    """A run has failed and is retried. Its traceback is logged with ``--verbose`` only."""
    _failed("retried", logging.WARNING, run, tries, outcome, f"retried in {_duration(delay_us / 1e6)}")


def failed(run: Run, tries: Tries, outcome: Outcome, reason: str) -> None:
    """A job has failed for good. Error trackers read the exception of the record."""
    _failed("failed", logging.ERROR, run, tries, outcome, "failed", reason)


def _failed(event: str, level: int, run: Run, tries: Tries, outcome: Outcome, shown: str, reason: str = "") -> None:
    if not log.isEnabledFor(level):
        return
    last = tries.last_error or reason
    extra: dict[str, object] = {"run": run, "error": last, "_shown": f"{shown}: {last}" if last else shown}
    if reason:
        extra["error_class"] = reason
    exc_info = None
    if isinstance(outcome, Raised):
        extra["error_class"] = kind = class_of(outcome.error)
        extra["error"] = last.removeprefix(f"{kind}: ")
        # The traceback of an EncodingError is the codec's, which helps nobody.
        if not isinstance(outcome.error, EncodingError) and (level >= logging.ERROR or log.isEnabledFor(logging.DEBUG)):
            if is_writable(outcome.error):
                exc_info = (type(outcome.error), outcome.error, users_frames(outcome.error))
            else:  # the exception would break the user's handlers
                last = f"{last}\n{traceback_text(outcome.error, LONGEST_TRACEBACK)}"
    text = "job.%s job_id=%s function=%s attempt=%d %s"
    attempt = Tries.parse(run.grant.tries).attempt
    log.log(level, text, event, run.id, _function(run), attempt, last, exc_info=exc_info, extra=extra)


def refused(run: Run, outcome: Outcome) -> None:
    """A service has refused a run. Warn once per function if this closes no limit, because the function has none."""
    error = outcome.error if isinstance(outcome, Raised) else None
    error = error.steers if isinstance(error, ForeignError) else error
    if not isinstance(error, RateLimited) or run.handler is None or _function(run) in _UNLIMITED:
        return
    gates = run.handler.function.gates
    if gates is None or not gates.limits:
        _UNLIMITED.add(_function(run))
        text = "limit.unused function=%s it raises %s, so only this job waits: write %s"
        named = f"RateLimited for {error.limit!r} and does not name this limit in its options" if error.limit else ""
        remedy = f"@job(limits=[{error.limit or 'NAME'!r}])"
        log.warning(text, _function(run), named or "RateLimited and names no limit", remedy, extra={"run": run})


def parked(run: Run, reason: str, grace: float) -> None:
    """A job waits for a worker that can run it, at most `grace` seconds."""
    shown = f"{grace / 3600:g} h" if grace >= 3600 else f"{grace:g} s"
    extra = {"run": run, "event": "job.parked"}
    log.warning("Parked %s: %s Goes to the dead letters in %s.", run.id, reason, shown, extra=extra)


def lost(run: Run, why: str) -> None:
    """Another run owns the job by now."""
    log.warning("job.lost job_id=%s token=%d %s", run.id, run.token, why, extra={"run": run})


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.2f} s" if seconds >= 0.01 else f"{seconds:.4f} s"
    return span(seconds)


def _function(run: Run) -> str:
    return str(run.header.get("function", "?"))
