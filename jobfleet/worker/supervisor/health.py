"""A worker's health: whether its children claim or wait for jobs, which is more than whether its process exists.

A full, quiet or stopping worker is healthy. So is a worker whose Redis is unavailable, because a restart would not help
and would end its running jobs. ``/readyz`` reports that Redis is unavailable.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from jobfleet.clock import boottime
from jobfleet.metrics.server import Verdict
from jobfleet.services.endpoint import late_duties, shown_duties

if TYPE_CHECKING:
    from jobfleet.services.endpoint import Heart
    from jobfleet.services.service import DutySeen
    from jobfleet.worker.supervisor.child_handle import ChildHandle

BEATS = 3
"""Number of missed beats after which Redis counts as unavailable."""


class ServingChildren(Protocol):
    """The part of a worker's children that health and metrics read."""

    @property
    def by_pid(self) -> Mapping[int, ChildHandle]:
        """The children by process id."""

    @property
    def size(self) -> int:
        """Target number of children."""

    @property
    def state(self) -> str:
        """running, quiet or stopping."""


class Health:
    """The replies to health probes of a worker.

    Args:
        within: Limit in seconds without a claim, a wait for jobs, or a successful turn of a duty.
        beat: Seconds between heartbeats.
        heart: Checks the supervisor's loop and Redis.
        child_processes: The children.
        duties: Returns the state of the duties that this worker runs or hosts.
    """

    def __init__(
        self,
        *,
        within: float,
        beat: float,
        heart: Heart,
        child_processes: ServingChildren,
        duties: Callable[[], Sequence[DutySeen]],
    ) -> None:
        self._silence = BEATS * beat
        self._within = max(within, self._silence)
        self._heart = heart
        self._child_processes = child_processes
        self._duties = duties
        self._began = self._beaten_at = self._back_at = self._pulsed_at = boottime()

    def beaten(self) -> None:
        """Record that Redis accepted a heartbeat."""
        now = boottime()
        if now - self._beaten_at > self._silence:
            self._back_at = now
        self._beaten_at = now

    def pulsed(self, at: float) -> None:
        """Record the time of a child's claim or wait (boot-time clock)."""
        self._pulsed_at = max(self._pulsed_at, at)

    def healthy(self) -> Verdict:
        """Whether the children claim or wait for jobs, and the duties run."""
        now, duties = boottime(), self._duties()
        silent = now - max(self._pulsed_at, self._back_at)
        is_away = now - self._beaten_at > self._silence
        seen = {
            "state": self._child_processes.state,
            "seconds_since_claim_or_wait": round(now - self._pulsed_at, 1),
            "children": {
                handle.child: {"running": handle.running, "seconds_since_claim_or_wait": _since(now, handle.pulsed_at)}
                for handle in list(self._child_processes.by_pid.values())
            },
            "duties": shown_duties(duties),
            "redis": f"has not answered for {now - self._beaten_at:.0f} s" if is_away else "answers",
        }
        wrong = [stuck] if (stuck := self._heart.stuck()) else []
        if self._child_processes.state != "stopping" and not is_away:
            if silent > self._within:
                wrong.append(
                    f"No child has claimed or waited for jobs for {silent:.0f} s (limit {self._within:.0f} s)."
                )
            if now - self._back_at > self._within:
                wrong += late_duties(duties, self._within)
        return Verdict(wrong, seen)

    def ready(self) -> Verdict:
        """Whether the worker takes jobs: Redis replies, a child serves, and the worker is not quiet or stopping."""
        stuck, away = self._heart.look()
        state = self._child_processes.state
        serving = sum(
            1 for handle in list(self._child_processes.by_pid.values()) if handle.is_ready and not handle.is_draining
        )
        wrong = [one for one in (stuck, away) if one]
        if state != "running":
            wrong.append(f"It is {state} and claims nothing.")
        if not serving:
            wrong.append("No child serves its queues.")
        redis = "unknown" if stuck else away or "answers"
        return Verdict(wrong, {"state": state, "children": serving, "redis": redis})


def _since(now: float, at: float) -> float | None:
    return round(now - at, 1) if at else None
