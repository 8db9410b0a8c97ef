# Made by scripts/unasync from jobfleet/store/_async/runner.py. Change that, and run scripts/unasync.
"""Runs calls against a server: what the awaited and the blocking store have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeVar

from jobfleet.clock import monotonic
from jobfleet.store.call import (
    OF_THE_CLUSTER,
    AskHeirs,
    Barrier,
    Call,
    Command,
    Confirming,
    Heirs,
    KnownHeirs,
    heirs_of,
)
from jobfleet.store.link.sync import Link
from jobfleet.store.target import Target
from jobfleet.store.trip import (
    ASK,
    Detours,
    LazyCalls,
    Recorder,
    Sending,
    ServerClock,
    Trip,
    confirmed,
    only,
    speller,
    straight,
    trip,
    until,
)

T = TypeVar("T")


class CallRunner(ABC):
    """Sends calls over a link, and repeats those without a reply.

    Args:
        at: The server.
        link: The connection to the server.
        patience: Seconds for which calls are retried while the server is unavailable; None for ever.
        timeout: Time limit for a reply, in seconds.

    Attributes:
        recorder: Learns of every round trip.
    """

    recorder: Recorder | None

    def __init__(self, at: Target, link: Link, *, patience: float | None, timeout: float) -> None:
        self.at = at
        self.link = link
        self.patience = patience
        self._spell = speller(at.spelling)
        self.detours: Detours = Detours()
        self.clock: ServerClock = ServerClock()
        self.heirs: KnownHeirs = KnownHeirs()
        self._attempt = timeout

    @abstractmethod
    def _sleep(self, seconds: float) -> None:
        """Wait before the next attempt."""

    def run(self, call: Call[T], *, patience: float | None = -1.0) -> T:
        """Run one call.

        Args:
            call: The call.
            patience: The patience for this call, in place of the store's.

        Raises:
            StoreUnavailable: The server was unavailable for longer than the patience.
            JobfleetError: The call ended in this error.
        """
        value: T = only(self.run_many((call,), patience=patience))
        return value

    def run_many(self, calls: Sequence[Call[Any]] | LazyCalls, *, patience: float | None = -1.0) -> list[Any]:
        """Run calls in one pipeline; return a value or a `JobfleetError` for each.

        Args:
            calls: The calls; sent all at once, or while they are made.
            patience: The patience for these calls, in place of the store's.

        Raises:
            StoreUnavailable: The server was unavailable for longer than the patience.
        """
        if patience is not None and patience < 0:
            patience = self.patience
        if isinstance(calls, LazyCalls):
            answered = self._as_made(calls, patience)
            if calls.barrier is not None:
                return self._closed(calls, calls.barrier, answered, patience)
            return calls.ended(self._answered(calls.calls, answered, calls.since, patience))
        if isinstance(calls, Confirming):
            return self._confirmed(calls, patience)
        began = monotonic()
        if self.detours:
            calls = self.detours.chosen(calls, began)
        for call in calls:
            if call.script.has_deadline:
                return self._run_guarded(calls, began, patience)
        answered = self.link.exchange([self._spell(call) for call in calls])
        return self._answered(calls, answered, began, patience)

    def run_each(self, calls: Sequence[Call[Any]], *, patience: float) -> list[Any]:
        """Run calls of several lanes like `run_many`, without making one cluster node wait for another.

        Args:
            calls: The calls.
            patience: Seconds to wait for a node that does not reply. Its calls then end in `StoreUnavailable`. One
                server is waited for with the patience of the store.
        """
        if self.at.cluster is None:
            return self.run_many(calls)
        return self._driven(trip(calls, each=True, **self._sending(patience)))

    def _run_guarded(self, calls: Sequence[Call[Any]], began: float, patience: float | None) -> list[Any]:
        """Run calls of which some must not run after a deadline, or must not run twice."""
        calls, answered = [call.named() for call in calls], None
        if self.clock.is_known(began):
            deadline = until(self.clock, began if patience is not None else monotonic(), patience, self._attempt)
            answered = self.link.exchange([self._spell(call, deadline) for call in calls])
        return self._answered(calls, answered, began, patience)

    def _as_made(self, calls: LazyCalls, patience: float | None) -> list[Any]:
        """Send calls while they are made; each has its own deadline."""
        asked = monotonic()
        if self.heirs.is_used:
            found = self._find_heirs(is_misled=False)
            calls.heirs = found if isinstance(found, Heirs) else None
        if not self.clock.is_known(asked):
            (reply,) = self.link.exchange([ASK])
            if not isinstance(reply, BaseException):
                self.clock.learn(reply, asked)

        def spell(call: Call[Any]) -> Command:
            if not call.script.has_deadline:
                return self._spell(call)
            return self._spell(call, until(self.clock, monotonic(), patience, self._attempt))

        return self.link.exchange_as_made(calls.commands(spell, self.detours))

    def _answered(
        self, calls: Sequence[Call[Any]], answered: list[Any] | None, began: float, patience: float | None
    ) -> list[Any]:
        """Return the values of calls that were sent once or not yet; send calls without a reply again."""
        values = straight(calls, answered) if answered is not None else None
        if values is not None:
            if self.recorder is not None:
                self.recorder.tripped(calls, monotonic() - began)
            return values
        return self._driven(trip(calls, first=answered, since=began, **self._sending(patience)))

    def _closed(self, made: LazyCalls, barrier: Barrier, answered: list[Any], patience: float | None) -> list[Any]:
        """Return the values of calls that were sent while they were made, and that a barrier followed."""
        batch = Confirming(made.calls, barrier)
        values = self._confirmed(batch, patience, first=answered, since=made.since)
        made.is_reached, made.took = batch.is_reached, batch.took
        return values

    def _confirmed(self, batch: Confirming, patience: float | None, **sent: Any) -> list[Any]:
        """Return the values of calls that a barrier follows; send them if they were not sent yet."""
        values = self._driven(confirmed(batch, **sent, **self._sending(patience)))
        if not batch.is_reached:
            self.heirs.doubt()
        return values

    def _sending(self, patience: float | None) -> Sending:
        return Sending(
            patience=patience,
            url=self.at.shown,
            attempt=self._attempt,
            clock=self.clock,
            spelling=self.at.spelling,
            detours=self.detours,
            recorder=self.recorder,
        )

    def _driven(self, steps: Trip) -> list[Any]:
        """Do what a trip asks for: exchange commands, or wait."""
        replies: list[Any] | None = None
        while True:
            try:
                step = steps.send(replies)
            except StopIteration as end:
                results: list[Any] = end.value
                return results
            if isinstance(step, float):
                self._sleep(step)
                replies = None
                continue
            if isinstance(step, AskHeirs):
                replies = [self._find_heirs(is_misled=step.is_misled)]
            else:
                replies = self.link.exchange(step)

    def _find_heirs(self, *, is_misled: bool) -> Heirs | BaseException:
        """Return the heirs of the primary, or why nobody names them. Those who promote are asked before it."""
        known, asked_at = None if is_misled else self.heirs.fresh(), monotonic()
        if known is not None:
            return known
        named: int | Exception | None = None
        if (group := self.at.sentinels) is not None:
            from jobfleet.store.connect import Sentinels  # few fleets need it

            named = Sentinels(group, timeout=self._attempt).count_heirs(group.service)
        info = self.link.greet(leaves=is_misled)
        if isinstance(info, BaseException):
            return info
        if isinstance(named, Exception):
            return named
        found = heirs_of(info, named) if self.at.cluster is None else OF_THE_CLUSTER
        return self.heirs.learn(found, asked_at)

    def close(self) -> None:
        """Close the connections."""
        self.link.close()
