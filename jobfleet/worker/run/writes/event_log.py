"""The log lines of runs: one per transition. Lines that need no action are logged with ``--verbose`` only."""

from __future__ import annotations

import logging

from jobfleet.retry import Tries
from jobfleet.store.calls.settle import PAST
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
LOGGED_AT_ONCE = ("fail", "retry", "park")
"""Endings that are logged with their reason, where the reason is known."""


def logs_all() -> bool:
    """Whether starts and good endings are logged. Callers ask once, because a line costs more than a small job."""
    return log.isEnabledFor(logging.DEBUG)


def started(run: Run) -> None:
    """A run has started."""
    log.debug("job.started job_id=%s function=%s", run.id, _function(run), extra={"run": run})


def ended(run: Run, verb: str, duration_us: int) -> None:
    """A run has ended in a way that needs no action."""
    if verb not in LOGGED_AT_ONCE:
        event = PAST[verb]
        log.debug(
            "job.%s job_id=%s function=%s duration=%.3f", event, run.id, _function(run), duration_us / 1e6,
            extra={"run": run},
        )  # fmt: skip


def failed(event: str, run: Run, tries: Tries) -> None:
    """A run has failed; the job is retried, or dead."""
    last = tries.last_error or ""
    log.warning("job.%s job_id=%s function=%s %s", event, run.id, _function(run), last, extra={"run": run})


def parked(run: Run, reason: str, grace: float) -> None:
    """A job waits for a worker that can run it, at most `grace` seconds."""
    shown = f"{grace / 3600:g} h" if grace >= 3600 else f"{grace:g} s"
    extra = {"run": run, "event": "job.parked"}
    log.warning("Parked %s: %s Goes to the dead letters in %s.", run.id, reason, shown, extra=extra)


def lost(run: Run, why: str) -> None:
    """Another run owns the job by now."""
    log.warning("job.lost job_id=%s token=%d %s", run.id, run.token, why, extra={"run": run})


def _function(run: Run) -> str:
    return str(run.header.get("function", "?"))
