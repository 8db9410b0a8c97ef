"""The part of a run that says whether it is to stop, and how far the attempt to stop it has come."""

from __future__ import annotations

import asyncio
from enum import IntEnum

from jobfleet.outcome import Cancelled, Interrupted, LeaseLost, TimedOut

Interruption = Cancelled | LeaseLost | TimedOut | Interrupted


class Stage(IntEnum):
    """One step of the attempt to stop a run. Each step is taken after the grace period of the previous one."""

    ASKED = 1
    RAISED = 2
    TERMINATED = 3
    KILLED = 4


class StopState:
    """What stops a run. Only the stop ladder changes it, and `interrupt`.

    Attributes:
        interruption: Why the run is to stop; None while it is not. The first reason is kept.
        cancel_by: The person or program that cancelled the run; None when nobody did.
        limits: The soft and the hard time limit in seconds; 0 for none.
        soft_at: When the run is interrupted (monotonic clock), if it has a soft limit.
        hard_at: When the run is ended by force, if it has a hard limit.
        has_limits: Whether the run was given a time limit.
        timer: Fires at the next time limit or at the next stage.
        stage: The last stage that was tried; 0 before the first one.
        next_at: When the next stage is due (monotonic clock).
        was_raised_again: Whether the interruption was repeated.
        is_overdue: Whether the hard limit was acted upon.
        is_condemned: Whether only the end of this process can end the run.
        is_past_code: Whether the code of the run has ended and only its hooks run.
    """

    # The defaults are on the class: most runs never set any of these.
    interruption: Interruption | None = None
    cancel_by: str | None = None
    limits: tuple[float, float] = (0.0, 0.0)
    soft_at = 0.0
    hard_at = 0.0
    has_limits = False
    timer: asyncio.TimerHandle | None = None
    stage: Stage | int = 0
    next_at = 0.0
    was_raised_again = False
    is_overdue = False
    is_condemned = False
    is_past_code = False

    @property
    def reason(self) -> str | None:
        """Why the run is to stop, in words for the job; None when it is not."""
        match self.interruption:
            case None:
                return None
            case Cancelled(by):
                return f"cancelled by {by}"
            case TimedOut(limit):
                return f"timed out after {limit:g} s"
            case LeaseLost():
                return "another run owns it by now"
            case Interrupted():
                return "its worker stops"

    def interrupt(self, why: Interruption) -> None:
        """Record that the run is to stop. A job that checks its context sees this; the stop ladder does the rest."""
        if self.interruption is None:
            self.interruption = why
        if isinstance(why, Cancelled) and self.cancel_by is None:
            self.cancel_by = why.by
