"""Runs that are claimed and not started yet: suspects, and those whose lease has to be renewed first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from jobfleet.clock import boottime
from jobfleet.outcome import Interrupted, Outcome, Raised, Snooze
from jobfleet.worker.run import Run


class Anteroom:
    """Where a child keeps runs until they may start.

    A job that ran in a process that died is a suspect: it runs alone, so that a second death names the
    culprit. One whose claim was answered late waits until a renewal says that its lease stands.

    Args:
        patience: Seconds a suspect waits for the child's other jobs to end.
        start: Starts a run.
        give_back: Settles a run that is not started.
        changed: Is told that there is room to claim again.
    """

    def __init__(
        self,
        *,
        patience: float,
        start: Callable[[Run], None],
        give_back: Callable[[Run, Outcome], None],
        changed: Callable[[], None],
    ) -> None:
        self._patience = patience
        self._start = start
        self._give_back = give_back
        self._changed = changed
        self._stale: list[Run] = []
        self.suspects: list[Run] = []
        self.is_alone = False
        """Whether a suspect runs: nothing is to be claimed beside it."""

    def __len__(self) -> int:
        return len(self.suspects) + len(self._stale)

    def keep_stale(self, run: Run) -> None:
        """Hold a run until its lease is known to stand."""
        self._stale.append(run)

    def keep_suspect(self, run: Run) -> None:
        """Hold one suspect until it can run alone; others go back, so that other children can take them."""
        if self.suspects:
            self._give_back(run, Interrupted())
        else:
            self.suspects.append(run)
            asyncio.get_running_loop().call_later(self._patience, self._give_up, run)

    def _give_up(self, run: Run) -> None:
        """A child whose own jobs are long must not be held up by a suspect: another time, or another child."""
        if self.remove(run):
            self._give_back(run, Raised(Snooze(self._patience)))
            self._changed()

    def start_suspect(self) -> None:
        """Start the suspect, if its lease stands; for whoever knows that nothing else is here."""
        if self.suspects and boottime() < self.suspects[0].until:
            self.is_alone = True
            self._start(self.suspects.pop(0))

    def renewed(self) -> None:
        """Start those whose lease stands by now."""
        ready = [run for run in self._stale if boottime() < run.until]
        self._stale = [run for run in self._stale if run not in ready]
        for run in ready:
            self._start(run)
        if ready:
            self._changed()

    def remove(self, run: Run) -> bool:
        """Let a run go; False when it is not here."""
        for waiting in (self.suspects, self._stale):
            if run in waiting:
                waiting.remove(run)
                return True
        return False

    def close(self) -> None:
        """Give everything back."""
        waiting, self.suspects, self._stale = [*self.suspects, *self._stale], [], []
        for run in waiting:
            self._give_back(run, Interrupted())
