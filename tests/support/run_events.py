"""`QuietEvents`: receives the events of runs and does nothing, for tests that need a few of them."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.outcome import Unrunnable
from jobfleet.store.calls.settle import Item
from jobfleet.store.keys import Lane
from jobfleet.store.records import Claimed
from jobfleet.worker.run.interfaces import RunEvents, Verdict
from jobfleet.worker.run.run import Run, Stage


class QuietEvents(RunEvents):
    """Ignores all events. A test overrides the ones that it needs."""

    def admitted(self, lane: Lane, claimed: Claimed, until: float) -> None:
        """Ignore it."""

    def may_start(self, run: Run) -> None:
        """Ignore it."""

    def code_ended(self, run: Run) -> None:
        """Ignore it."""

    def returned(self, run: Run) -> None:
        """Ignore it."""

    def concluded(self, run: Run) -> None:
        """Ignore it."""

    def settled(self, run: Run, letter: str) -> None:
        """Ignore it."""

    def answered(self, runs: Sequence[Run], items: Sequence[Item], letters: str) -> None:
        """Ignore it."""

    def parked(self, run: Run, outcome: Unrunnable) -> None:
        """Ignore it."""

    def dropped(self, run: Run) -> None:
        """Ignore it."""

    def lost(self, run: Run) -> None:
        """Ignore it."""

    def cancel_requested(self, run: Run) -> None:
        """Ignore it."""

    def stage_reached(self, run: Run, stage: Stage) -> None:
        """Ignore it."""

    def condemned(self, run: Run, verdict: Verdict) -> None:
        """Ignore it."""

    def room_changed(self) -> None:
        """Ignore it."""

    def routes_changed(self) -> None:
        """Ignore it."""

    def dependants_ready(self, lane: Lane) -> None:
        """Ignore it."""

    def buried(self) -> None:
        """Ignore it."""
