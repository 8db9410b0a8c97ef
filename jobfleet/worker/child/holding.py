"""Runs that are claimed and not started yet: suspects, and those whose lease has to be renewed first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jobfleet.clock import boottime
from jobfleet.outcome import Interrupted, Outcome, Raised, Snooze
from jobfleet.suspicion import Suspicion, has_room
from jobfleet.worker.executors.ward import WardExecutor
from jobfleet.worker.run.run import Key, Run


class HeldRuns:
    """Where a child keeps runs until they may start.

    A suspect takes a seat in a ward. Where its function cannot run in one, it shares this process with few other
    suspects, with the fewer, the fewer were suspected with it; one that nobody else is suspected with runs alone, so
    that a further death is evidence. A run whose claim was answered late waits until a renewal says that its lease
    stands.

    Args:
        patience: Seconds a suspect waits here; then it goes back, for another time or another child.
        start: Starts a run.
        give_back: Settles a run that is not started.
        changed: Is told that there is room to claim again.
        held: How many runs the child holds, those in here included.
        wards: Where suspects run; None where there is none.

    Attributes:
        is_shut: Whether nothing may be claimed: a suspect runs alone or waits to, or leases have to be renewed first.
    """

    def __init__(
        self,
        *,
        patience: float,
        start: Callable[[Run], None],
        give_back: Callable[[Run, Outcome], None],
        changed: Callable[[], None],
        held: Callable[[], int],
        wards: WardExecutor | None,
    ) -> None:
        self._patience = patience
        self._start = start
        self._give_back = give_back
        self._changed = changed
        self._held = held
        self._wards = wards
        self._stale: list[Run] = []
        self._suspects: list[Run] = []
        self._inside: dict[Key, Suspicion] = {}
        self._lone: Key | None = None
        self.is_shut = False

    def __len__(self) -> int:
        return len(self._suspects) + len(self._stale)

    def keep_stale(self, run: Run) -> None:
        """Hold a run until its lease is known to stand."""
        self._stale.append(run)
        self.is_shut = True

    def keep_suspect(self, run: Run) -> None:
        """Hold a suspect until it may start; not for long, lest it hold up a child whose own jobs are long."""
        self._suspects.append(run)
        asyncio.get_running_loop().call_later(self._patience, self._give_up, run)

    def _give_up(self, run: Run) -> None:
        if self.remove(run):
            self._give_back(run, Raised(Snooze(self._patience)))
            self._changed()

    def place(self) -> None:
        """Start the suspects that may start now, those that have witnessed most first."""
        for run in sorted(self._suspects, key=lambda run: -run.suspicion.deaths):
            if self._lone is not None:
                break
            if boottime() < run.lease.until and self._may_start(run):
                self._suspects.remove(run)
                self._start(run)
        self._look()

    def _may_start(self, run: Run) -> bool:
        if not self._goes_inside(run):
            run.is_quarantined = self._wards is not None and _can_be_apart(run) and self._wards.seat(run)
            return run.is_quarantined or not _can_be_apart(run)
        if run.suspicion.width > 1:
            may_start = has_room(self._inside.values(), run.suspicion)
        else:  # alone, also without what has ended and is not settled: that would be run again
            may_start = self._held() == len(self)
            self._lone = run.key if may_start else None
        if may_start:
            self._inside[run.key] = run.suspicion
        return may_start

    def _goes_inside(self, run: Run) -> bool:
        """Whether a suspect can run in this process only."""
        handler = run.handler
        return (
            handler is not None and _can_be_apart(run) and not (self._wards is not None and self._wards.takes(handler))
        )

    def ended(self, run: Run) -> None:
        """A suspect has ended, and is settled."""
        self._inside.pop(run.key, None)
        if self._wards is not None:
            self._wards.vacate(run)
        was_alone = self._lone == run.key
        if was_alone:
            self._lone = None
        self._look()
        if was_alone:
            self._changed()

    def renewed(self) -> None:
        """Start those whose lease stands by now."""
        ready = [run for run in self._stale if boottime() < run.lease.until]
        self._stale = [run for run in self._stale if run not in ready]
        for run in ready:
            self._start(run)
        self.place()
        if ready:
            self._changed()

    def remove(self, run: Run) -> bool:
        """Let a run go; False when it is not here."""
        for waiting in (self._suspects, self._stale):
            if run in waiting:
                waiting.remove(run)
                self._look()
                return True
        return False

    def close(self) -> None:
        """Give everything back."""
        waiting, self._suspects, self._stale = [*self._suspects, *self._stale], [], []
        for run in waiting:
            self._give_back(run, Interrupted())

    def _look(self) -> None:
        waits_to_be_alone = any(run.suspicion.width == 1 and self._goes_inside(run) for run in self._suspects)
        self.is_shut = bool(self._stale) or self._lone is not None or waits_to_be_alone


def _can_be_apart(run: Run) -> bool:
    """Whether its function does not run in a process of its own anyway; where it has none, it does not run at all."""
    return run.handler is not None and run.handler.where != "process"
