"""Runs that were claimed and cannot start yet: suspects, and runs whose lease has to be renewed first."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from jobfleet.clock import boottime
from jobfleet.model.signals import Snooze
from jobfleet.outcome import Interrupted, Raised
from jobfleet.retry.tries import Suspicion, has_room
from jobfleet.worker.child.claim_ahead import ClaimAhead
from jobfleet.worker.executors.quarantine import QuarantineExecutor
from jobfleet.worker.run.conclusion import Conclusions
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.run import Key, Run


class HeldRuns:
    """Holds the runs of a child until they may start.

    A suspect runs in a quarantine process. If its function cannot run in one, the suspect shares this process with a
    few other suspects: the fewer jobs were suspected with it, the fewer may run beside it. The only suspect of a death
    runs alone, so that a further death is evidence. A run whose claim was answered late waits for a renewal of its
    lease.

    Args:
        patience: Seconds that a suspect waits here. After that its job goes back, for another time or another child.
        runs: All runs of the child.
        conclusions: Ends the runs that go back.
        events: Receives runs that may start.
        quarantine: Where suspects run; None if there is no such place.
        ahead: Holds the runs that only wait for a slot.

    Attributes:
        count: How many runs are held.
        is_closed: Whether nothing may be claimed: a suspect runs alone or waits to, or leases have to be renewed first.
    """

    def __init__(
        self,
        *,
        patience: float,
        runs: Mapping[Key, Run],
        conclusions: Conclusions,
        events: RunEvents,
        quarantine: QuarantineExecutor | None,
        ahead: ClaimAhead,
    ) -> None:
        self._patience = patience
        self._runs = runs
        self._conclusions = conclusions
        self._events = events
        self._quarantine = quarantine
        self.ahead = ahead
        self._stale: list[Run] = []
        self._suspects: list[Run] = []
        self._suspects_here: dict[Key, Suspicion] = {}
        self._lone: Key | None = None
        self.count = 0
        self.is_closed = False

    def hold_stale(self, run: Run) -> None:
        """Hold a run until its lease was renewed."""
        self._stale.append(run)
        self._update()

    def hold_suspect(self, run: Run) -> None:
        """Hold a suspect until it may start, but not for long: it must not block a child whose own jobs are long."""
        self._suspects.append(run)
        self._update()
        asyncio.get_running_loop().call_later(self._patience, self._give_up, run)

    def _give_up(self, run: Run) -> None:
        if self.remove(run):
            self._conclusions.conclude(run, Raised(Snooze(self._patience)))
            self._events.room_changed()

    def start_suspects(self) -> None:
        """Start the suspects that may start now, those with the most deaths first."""
        for run in sorted(self._suspects, key=lambda run: -run.suspicion.deaths):
            if self._lone is not None:
                break
            if boottime() < run.lease.until and self._may_start(run):
                self._suspects.remove(run)
                self._update()
                self._events.may_start(run)
        self._update()

    def _may_start(self, run: Run) -> bool:
        if not self._runs_here(run):
            run.is_quarantined = self._quarantine is not None and _can_leave(run) and self._quarantine.reserve(run)
            return run.is_quarantined or not _can_leave(run)
        if run.suspicion.width > 1:
            may_start = has_room(self._suspects_here.values(), run.suspicion)
        else:  # alone; runs that have ended and are not settled count too, because a death makes them run again
            may_start = len(self._runs) == self.count
            self._lone = run.key if may_start else None
        if may_start:
            self._suspects_here[run.key] = run.suspicion
        return may_start

    def _runs_here(self, run: Run) -> bool:
        """Whether a suspect can run in this process only."""
        handler, quarantine = run.handler, self._quarantine
        return handler is not None and _can_leave(run) and not (quarantine is not None and quarantine.takes(handler))

    def ended(self, run: Run) -> None:
        """A suspect has ended and is settled."""
        self._suspects_here.pop(run.key, None)
        if self._quarantine is not None:
            self._quarantine.free(run)
        was_alone = self._lone == run.key
        if was_alone:
            self._lone = None
        self._update()
        if was_alone:
            self._events.room_changed()

    def leases_renewed(self) -> None:
        """Start the runs whose lease is valid by now."""
        ready = [run for run in self._stale if boottime() < run.lease.until]
        self._stale = [run for run in self._stale if run not in ready]
        self._update()
        for run in ready:
            self._events.may_start(run)
        self.start_suspects()
        if ready:
            self._events.room_changed()

    def remove(self, run: Run) -> bool:
        """Hold a run no longer. Returns False when it is not held."""
        for waiting in (self._suspects, self._stale):
            if run in waiting:
                waiting.remove(run)
                self._update()
                return True
        return self.ahead.remove(run)

    def close(self) -> None:
        """Give all held jobs back."""
        self.ahead.give_back()
        waiting, self._suspects, self._stale = [*self._suspects, *self._stale], [], []
        self.count = 0
        for run in waiting:
            self._conclusions.conclude(run, Interrupted())

    def _update(self) -> None:
        self.count = len(self._suspects) + len(self._stale)
        waits_to_be_alone = any(run.suspicion.width == 1 and self._runs_here(run) for run in self._suspects)
        self.is_closed = bool(self._stale) or self._lone is not None or waits_to_be_alone


def _can_leave(run: Run) -> bool:
    """Whether a run could be moved from this process to a quarantine process.

    A function with processes of its own need not be moved, and an unknown function does not run at all.
    """
    return run.handler is not None and run.handler.where != "process"
