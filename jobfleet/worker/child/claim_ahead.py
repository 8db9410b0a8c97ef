"""Claims more jobs than there are slots while all jobs are very short, so that trips and jobs overlap.

A child with few slots would otherwise wait for Redis between any two handfuls of jobs: with ten slots, two thirds of
the time. Jobs beyond the slots wait in this process, claimed but not started, until slots are free. No more jobs than
slots ever run.

Nothing may wait here behind a long job while another worker is idle. So a child claims ahead only after several claims
in a row whose jobs had all ended within milliseconds, and stops as soon as a claim does not fill the slots, or a job
has waited for `WAIT`. What waits then goes back to its place in the lane, without a start and without an attempt.
While no job waits for as long as `BRIEF`, it claims more from time to time, because a trip for many jobs costs little
more than one for few.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context

from jobfleet.clock import boottime
from jobfleet.codec import header_or_empty
from jobfleet.store.calls import settle
from jobfleet.store.calls.lease import CHUNK
from jobfleet.worker.run.conclusion import Conclusions
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")

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
