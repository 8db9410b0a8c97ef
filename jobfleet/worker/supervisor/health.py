"""A worker's health: whether its children claim or wait for jobs, not merely whether it is there.

A worker that is full, quiet or stopping is well. So is one whose Redis is away: to restart it would help nobody and
end the jobs that run. That Redis is away is told by ``/readyz``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from jobfleet.clock import boottime
from jobfleet.metrics.server import Verdict
from jobfleet.services.health import late_duties, shown_duties

if TYPE_CHECKING:
    from jobfleet.services.health import Heart
    from jobfleet.services.service import DutySeen
    from jobfleet.worker.supervisor.child_handle import ChildHandle

BEATS = 3
"""Redis is taken to be away after so many beats that did not come through."""


class ServingChildren(Protocol):
    """What health and metrics read of a worker's children."""

    @property
    def handle(self) -> Mapping[int, ChildHandle]:
        """The children by process id."""

    @property
    def size(self) -> int:
        """How many children there are to be."""

    @property
    def state(self) -> str:
        """running, quiet or stopping."""


class Health:
    """What probes are told of a worker.

    Args:
        within: Seconds without a claim, a wait or a good turn of a duty that are too many.
        beat: Seconds between a worker's signs of life.
        heart: Whether the supervisor's loop turns and Redis answers.
        child_processes: The children.
        duties: How those fare that this worker does or hosts.
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
        """Redis took a sign of life."""
        now = boottime()
        if now - self._beaten_at > self._silence:
            self._back_at = now
        self._beaten_at = now

    def pulsed(self, at: float) -> None:
        """A child claimed or waited then (boot-time clock)."""
        self._pulsed_at = max(self._pulsed_at, at)

    def healthy(self) -> Verdict:
        """Whether it claims or waits, and its duties turn."""
        now, duties = boottime(), self._duties()
        silent = now - max(self._pulsed_at, self._back_at)
        is_away = now - self._beaten_at > self._silence
        seen = {
            "state": self._child_processes.state,
            "seconds_since_claim_or_wait": round(now - self._pulsed_at, 1),
            "children": {
                handle.child: {"running": handle.running, "seconds_since_claim_or_wait": _since(now, handle.pulsed_at)}
                for handle in list(self._child_processes.handle.values())
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
        """Whether it takes jobs: Redis answers, a child serves, and nobody told it to take none."""
        stuck, away = self._heart.look()
        state = self._child_processes.state
        serving = sum(
            1 for handle in list(self._child_processes.handle.values()) if handle.is_ready and not handle.is_draining
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
