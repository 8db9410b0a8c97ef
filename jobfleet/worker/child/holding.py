"""Runs that were claimed and do not start yet, and the ends of runs from outside."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextvars import Context

from jobfleet.clock import boottime
from jobfleet.codec import header_or_empty
from jobfleet.model.signals import Snooze
from jobfleet.outcome import Cancelled, Interrupted, LeaseLost, Raised
from jobfleet.retry.tries import Suspicion, has_room
from jobfleet.store.calls import settle
from jobfleet.store.calls.lease import CHUNK
from jobfleet.worker.executors.quarantine import QuarantineExecutor
from jobfleet.worker.run import telemetry
from jobfleet.worker.run.conclusion import Conclusions
from jobfleet.worker.run.interfaces import RunEvents
from jobfleet.worker.run.run import Key, Run
from jobfleet.worker.run.stop_ladder import StopLadder

log = logging.getLogger("jobfleet.worker")


class HeldRuns:
    """Holds the runs of a child until they may start: suspects, and runs whose lease has to be renewed first.

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


TIMES = 5
"""How many times its slots a child may hold in all at first; never more than one claim can return."""
SHORT = 0.01
"""Seconds in which all jobs of a claim have ended, the trips included, if they are very short."""
STREAK = 8
"""Number of such claims in a row after which a child claims ahead."""
WAIT = 0.02
"""Seconds that a job may wait for a slot."""
BRIEF = 0.005
"""Seconds. If no job has waited for longer in the last `WAIT`, the child may hold twice as many."""


class ClaimAhead:
    """Holds the jobs of a child that wait for a slot, and decides how many there may be.

    A child with few slots would otherwise wait for Redis between any two handfuls of jobs: with ten slots, two thirds
    of the time. Jobs beyond the slots wait in this process, claimed but not started, until slots are free. No more jobs
    than slots ever run.

    Nothing may wait here behind a long job while another worker is idle. So a child claims ahead only after several
    claims in a row whose jobs had all ended within milliseconds, and stops as soon as a claim does not fill the slots,
    or a job has waited for `WAIT`. What waits then goes back to its place in the lane, without a start and without an
    attempt. While no job waits for as long as `BRIEF`, it claims more from time to time, because a trip for many jobs
    costs little more than one for few.

    Args:
        slots: The slots of the child.
        may_run: Whether a slot is free for a job.
        conclusions: Puts jobs back.
        events: Receives the runs that may start, and that the room has changed.

    Attributes:
        extra: How many jobs the child may hold beyond its slots now.
        least: How many jobs a claim must have room for, so that claims stay large; 0 if it claims nothing ahead.
        streak: How many claims in a row were of very short jobs. At 0, only claims that fill the slots matter.
        waiting: The runs that wait for a slot, each with the time at which it was claimed.
    """

    def __init__(self, slots: int, *, may_run: Callable[[], bool], conclusions: Conclusions, events: RunEvents) -> None:
        self.extra = self.least = self.streak = 0
        self.waiting: deque[tuple[Run, float]] = deque()
        self._slots = slots
        self._first = max(0, min(TIMES * slots, CHUNK) - slots)
        self._longest = 0.0
        self._may_run, self._conclusions, self._events = may_run, conclusions, events
        self._loop = asyncio.get_running_loop()
        self._context = Context()  # not that of the job whose end frees the first slot
        self._filling: asyncio.Handle | None = None
        self._look: asyncio.TimerHandle | None = None
        self._since, self._is_fed, self._is_filling = 0.0, False, False

    def forbid(self) -> None:
        """Claim nothing ahead from now on, because it matters how many jobs are claimed."""
        self._first = 0
        self._end()

    def hold(self, run: Run) -> None:
        """Hold a run until a slot is free."""
        self.waiting.append((run, self._loop.time()))
        self._look = self._look or self._loop.call_later(WAIT, self._check)

    def admitted(self, *, was_idle: bool, is_full: bool) -> None:
        """Learn that jobs of a claim have arrived.

        Args:
            was_idle: Whether no job was running before.
            is_full: Whether all slots are taken now.
        """
        if not self._first:
            return
        now = self._loop.time()
        if not is_full:
            self._end()
        elif self.extra:
            self._is_fed = True
        elif was_idle and now - self._since < SHORT:
            self.streak += 1
            if self.streak >= STREAK:
                self._is_fed = True
                self._allow(self._slots + self._first)
                self._look = self._look or self._loop.call_later(WAIT, self._check)
        else:
            self.streak = 0
        self._since = now

    def slot_freed(self, *, of_process: bool) -> None:
        """Start waiting runs, all at once in the next turn of the event loop.

        Args:
            of_process: The job ran in an isolated process. Then they start now, so that the process is not idle while
                this one concludes the job.
        """
        if of_process and not self._is_filling:
            try:
                self._context.run(self._fill)
            except Exception:  # the job that has ended must be concluded all the same
                log.exception("worker.not_started a job that has waited for a slot")
        elif self._filling is None and self.waiting:
            self._filling = self._loop.call_soon(self._fill, context=self._context)

    def _fill(self) -> None:
        if self._filling is not None:
            self._filling.cancel()
            self._filling = None
        now = self._loop.time()
        self._is_filling = True
        try:
            while self.waiting and self._may_run():
                run, since = self.waiting.popleft()
                self._longest = max(self._longest, now - since)
                if boottime() < run.lease.until:
                    self._events.may_start(run)
                else:  # this process was stopped for long
                    self._put_back(run)
        finally:
            self._is_filling = False

    def _check(self) -> None:
        """Stop claiming ahead if no claim has come since the last look, or if a run has waited for too long."""
        self._look = None
        waited = self._loop.time() - self.waiting[0][1] if self.waiting else 0.0
        is_late, self._longest = waited >= WAIT, max(self._longest, waited)
        if is_late or not self._is_fed:
            self._end()
        elif self.extra and self._longest < BRIEF:
            self._allow(min(2 * (self._slots + self.extra), CHUNK))
        if is_late:
            self.give_back()
        self._is_fed, self._longest = False, 0.0
        if self.extra or self.waiting:
            self._look = self._loop.call_later(WAIT, self._check)

    def _allow(self, held: int) -> None:
        self.extra, self.least = held - self._slots, held // 2

    def _end(self) -> None:
        self.streak = 0
        if self.extra:
            self.extra = self.least = 0
            self._events.room_changed()

    def give_back(self) -> None:
        """Put all waiting jobs back to their places, and claim nothing ahead."""
        self._end()
        while self.waiting:
            self._put_back(self.waiting.popleft()[0])

    def _put_back(self, run: Run) -> None:
        function = str(header_or_empty(run.grant.envelope).get("function", ""))
        item = settle.withhold(run.id, run.token, due=run.grant.due, function=function)
        self._conclusions.put_back(run, item)

    def remove(self, run: Run) -> bool:
        """Hold a run no longer. Returns False if it does not wait here."""
        for place, (waiting, _) in enumerate(self.waiting):
            if waiting is run:
                del self.waiting[place]
                return True
        return False


# Why runs are stopped: a lost lease, a cancellation, or the end of the child. The stop ladder does the stopping.


REPLY_CHECK_EVERY = 0.05
"""Seconds between checks whether Redis has replied to the endings of runs without a lease."""
INTERRUPT_GRACE = 1.0
"""Seconds that runs have to end after they were interrupted for the end of the child, and again after a kill."""


class Cancellations:
    """Stops the runs of one child, and gives back the runs that have not started.

    Args:
        runs: The runs of the child, by key.
        ladder: Stops the runs that have started.
        held_runs: Has the runs that have not started.
        conclusions: Ends runs whose code does not run, or does not end.
        events: Receives that there is room for further jobs.
    """

    def __init__(
        self,
        runs: Mapping[Key, Run],
        ladder: StopLadder,
        held_runs: HeldRuns,
        *,
        conclusions: Conclusions,
        events: RunEvents,
    ) -> None:
        self._runs = runs
        self._ladder = ladder
        self._held_runs = held_runs
        self._conclusions = conclusions
        self._events = events

    def lost(self, run: Run) -> bool:
        """Stop a run, and write nothing for it: another run owns the job by now.

        Returns:
            False if the run has ended: Redis answers to its ending whether it was lost.
        """
        if run.key not in self._runs or run.ending.is_over:
            return False
        telemetry.log_lost(run, "another run owns it by now")
        if self._held_runs.remove(run):
            self._conclusions.drop(run)
            self._events.room_changed()
        else:
            self._ladder.stop(run, LeaseLost())
        return True

    async def leases_gone(self, keys: Collection[Key], lost: Callable[[Run], None]) -> None:
        """Stop the runs of leases that are gone, unless they have ended, and write nothing for them.

        An ended run has no lease any more when Redis has executed its ending, though the reply is still to come. This
        returns when these replies have come.

        Args:
            keys: The runs.
            lost: Called with each of them that is still known.
        """
        for key in keys:
            run = self._runs.get(key)
            if run is not None:
                lost(run)
        while any(key in self._runs and self._runs[key].ending.is_over for key in keys):  # noqa: ASYNC110 - only after an outage
            await asyncio.sleep(REPLY_CHECK_EVERY)

    def cancel(self, run: Run, by: str) -> None:
        """Cancel a run. Only the first cancellation counts."""
        if run.key not in self._runs or run.ending.is_over or run.stop.cancel_by is not None:
            return
        log.info("job.cancelling job_id=%s by=%s", run.id, by, extra={"run": run})
        if self._held_runs.remove(run):
            self._conclusions.conclude(run, Cancelled(by))
            self._events.room_changed()
        else:
            self._ladder.stop(run, Cancelled(by))

    async def release(self, ended: Callable[[float, asyncio.Event | None], Awaitable[None]]) -> None:
        """Stop all runs because the child ends, and give back those that do not end. Their attempt is not counted.

        Args:
            ended: Waits until no run is left, for at most the given number of seconds.
        """
        left = [run for run in self._runs.values() if not run.ending.is_over and not run.stop.is_condemned]
        for run in left:
            self._ladder.stop(run, Interrupted())
        if left:
            log.info("worker.releasing jobs=%d", len(left))
            await ended(INTERRUPT_GRACE, None)
            if self._ladder.kill(left):
                await ended(INTERRUPT_GRACE, None)
        for run in list(self._runs.values()):
            if not run.stop.is_condemned:  # the supervisor settles a condemned run
                self._conclusions.conclude(run, Interrupted())
