"""`Store`: runs calls and blocks. One of the only two places that do I/O with scripts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from jobfleet.clock import monotonic
from jobfleet.store.call import Call, Command
from jobfleet.store.connect import Target
from jobfleet.store.link.protocol import Link
from jobfleet.store.link.sync import SocketLink
from jobfleet.store.serverclock import ASK, ServerClock
from jobfleet.store.trip import Detours, Making, Recorder, only, speller, straight, trip, until

T = TypeVar("T")


class Store:
    """Runs calls against a server; safe for threads.

    Args:
        at: The server.
        link: How to reach it; by default sockets.
        patience: Seconds to go on trying while it is away; None for ever.
        connect_timeout: Seconds.
        socket_timeout: Seconds.
        busy_poll: Seconds for which a reply is looked for before its thread sleeps; 0 for never.
        recorder: Is told of every trip.
    """

    def __init__(
        self,
        at: Target,
        *,
        link: Link | None = None,
        patience: float | None = 10.0,
        connect_timeout: float = 5.0,
        socket_timeout: float = 5.0,
        busy_poll: float = 0.0,
        recorder: Recorder | None = None,
    ) -> None:
        self.at = at
        self.link = link or SocketLink(
            at, connect_timeout=connect_timeout, socket_timeout=socket_timeout, busy_poll=busy_poll
        )
        self.patience = patience
        self._spell = speller(fake=at.fake)
        self.detours = Detours()
        self.clock = ServerClock()
        self._attempt = socket_timeout
        self.recorder = recorder

    def run(self, call: Call[T]) -> T:
        """Run one call.

        Raises:
            StoreUnavailable: The server was away for longer than `patience`.
            JobfleetError: What the call ended in.
        """
        value: T = only(self.run_many((call,)))
        return value

    def run_many(self, calls: Sequence[Call[Any]] | Making) -> list[Any]:
        """Run calls in one pipeline; a value, or a `JobfleetError`, for each.

        Args:
            calls: What to run; it is sent at once, or as it is made.

        Raises:
            StoreUnavailable: The server was away for longer than `patience`.
        """
        if isinstance(calls, Making):
            answered = self._as_made(calls)
            return calls.ended(self._answered(calls.calls, answered, calls.since))
        began = monotonic()
        if self.detours:
            calls = self.detours.chosen(calls, began)
        for call in calls:
            if call.script.has_deadline:
                return self._run_guarded(calls, began)
        answered = self.link.exchange([self._spell(call) for call in calls])
        return self._answered(calls, answered, began)

    def _run_guarded(self, calls: Sequence[Call[Any]], began: float) -> list[Any]:
        """Run calls of which some must not run after a deadline, nor twice."""
        calls, answered = [call.named() for call in calls], None
        if self.clock.is_known(began):
            since = began if self.patience is not None else monotonic()
            deadline = until(self.clock, since, self.patience, self._attempt)
            answered = self.link.exchange([self._spell(call, deadline) for call in calls])
        return self._answered(calls, answered, began)

    def _as_made(self, calls: Making) -> list[Any]:
        """Send calls as they are made; each may run for as long after that as somebody may wait for its answer."""
        asked = monotonic()
        if not self.clock.is_known(asked):
            (told,) = self.link.exchange([ASK])
            if not isinstance(told, BaseException):
                self.clock.learn(told, asked)

        def spell(call: Call[Any]) -> Command:
            return self._spell(call, until(self.clock, monotonic(), self.patience, self._attempt))

        return self.link.exchange_as_made(calls.commands(spell, self.detours))

    def _answered(self, calls: Sequence[Call[Any]], answered: list[Any] | None, began: float) -> list[Any]:
        """The values of calls that have been sent once, or not yet; whatever was not answered is sent again."""
        values = straight(calls, answered) if answered is not None else None
        if values is not None:
            if self.recorder is not None:
                self.recorder.tripped(calls, monotonic() - began)
            return values
        steps = trip(
            calls,
            patience=self.patience,
            url=self.at.shown,
            attempt=self._attempt,
            clock=self.clock,
            detours=self.detours,
            fake=self.at.fake,
            recorder=self.recorder,
            first=answered,
            since=began,
        )
        replies: list[Any] | None = None
        while True:
            try:
                step = steps.send(replies)
            except StopIteration as end:
                results: list[Any] = end.value
                return results
            if isinstance(step, float):
                time.sleep(step)
                replies = None
                step = next(steps)
            replies = self.link.exchange(cast("list[Command]", step))

    def close(self) -> None:
        """Let the connections go."""
        self.link.close()
