"""`Store`: runs calls and blocks. One of the only two places that do I/O with scripts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, TypeVar, cast

from jobfleet.clock import monotonic
from jobfleet.store.call import Call, Command
from jobfleet.store.connect import Target
from jobfleet.store.link import Link, SocketLink
from jobfleet.store.trip import Detours, Making, Recorder, only, speller, straight, trip

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
            answered = self.link.exchange_as_made(calls.commands(self._spell, self.detours))
            return calls.ended(self._answered(calls.calls, answered, calls.since))
        began = monotonic()
        if self.detours:
            calls = self.detours.chosen(calls, began)
        return self._answered(calls, self.link.exchange([self._spell(call) for call in calls]), began)

    def _answered(self, calls: Sequence[Call[Any]], answered: list[Any], began: float) -> list[Any]:
        """The values of calls that have been sent once; whatever was not answered is sent again."""
        values = straight(calls, answered)
        if values is not None:
            if self.recorder is not None:
                self.recorder.tripped(calls, monotonic() - began)
            return values
        steps = trip(
            calls,
            patience=self.patience,
            url=self.at.shown,
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
