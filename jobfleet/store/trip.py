"""One round trip as a generator: the thinking of `Store` and `AsyncStore`, written once.

It yields what to do — a list of commands to exchange, or seconds to wait — and is sent the replies.
Every call is safe to repeat, so whatever was not answered is simply asked again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, Protocol

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, ScriptContractError
from jobfleet.store.call import LONGER, Call, Command
from jobfleet.store.replies import Remedy, remedy, translate, unavailable, word

FIRST_WAIT = 0.05
LONGEST_WAIT = 1.0
REMEMBERED = 1.0
"""Seconds for which a way that had to be the long one is taken as the long one at once."""

Step = list[Command] | float
Trip = Generator[Step, list[Any] | None, list[Any]]


class Recorder(Protocol):
    """What wants to know of every round trip: metrics, a history, a test."""

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        """A trip was answered."""

    def stumbled(self, error: BaseException) -> None:
        """A trip has to be repeated."""


def speller(*, fake: bool) -> Callable[[Call[Any]], Command]:
    """How a call is spelled for a server that may know its script."""
    return Call.for_fake if fake else Call.by_hash


class Detours:
    """Where scripts of a short way have answered `LONGER` of late: there the long way is gone at once.

    Only a hint, of one store: forgotten, it costs one more exchange.
    """

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    def chosen(self, calls: Sequence[Call[Any]], now: float) -> list[Call[Any]]:
        """The calls to run in place of these."""
        self._until = {key: until for key, until in self._until.items() if until > now}
        return [call.instead() if call.instead and call.keys[0] in self._until else call for call in calls]

    def longer(self, call: Call[Any], now: float) -> Call[Any]:
        """The call to run in place of one that has been answered so."""
        if call.instead is None:
            raise ScriptContractError(f"{call.script.name} answered {LONGER!r}, and there is no longer way.")
        self._until[call.keys[0]] = now + REMEMBERED
        return call.instead()


class Making:
    """Calls that are sent as they are made: the server works on one while the next is written down.

    They are noted, since they may have to be sent again.

    Args:
        source: What makes them.

    Attributes:
        calls: Those that were made.
        since: When the last of them was.
        error: What making them raised. It waits until what was sent has been answered: else the replies
            would be left on the connection, and an error of the caller's taken for one of the connection.
    """

    __slots__ = ("_source", "calls", "error", "since")

    def __init__(self, source: Iterator[Sequence[Call[Any]]]) -> None:
        self._source = source
        self.calls: list[Call[Any]] = []
        self.since = monotonic()
        self.error: Exception | None = None

    def commands(self, spell: Callable[[Call[Any]], Command], detours: Detours) -> Iterator[list[Command]]:
        """Make the calls; their commands, in parts that are sent together."""
        try:
            for made in self._source:
                self.since = monotonic()
                part = detours.chosen(made, self.since) if detours else made
                self.calls.extend(part)
                yield [spell(call) for call in part]
        except Exception as error:  # noqa: BLE001 - whatever it was, the caller gets it
            self.error = error

    def ended(self, values: list[Any]) -> list[Any]:
        """The values of the calls, unless making them raised something."""
        if self.error is not None:
            raise self.error
        return values


def straight(calls: Sequence[Call[Any]], replies: list[Any]) -> list[Any] | None:
    """The values of an exchange in which nothing was amiss, as nearly all are; else None, and a trip goes on."""
    results = []
    for call, reply in zip(calls, replies, strict=True):
        if type(reply) is not list or not reply or reply[0] not in call.script.words or reply[0] == LONGER:
            return None
        results.append(call.read(reply))
    return results


def trip(
    calls: Sequence[Call[Any]],
    *,
    patience: float | None,
    url: str,
    fake: bool = False,
    detours: Detours | None = None,
    recorder: Recorder | None = None,
    first: list[Any] | None = None,
    since: float | None = None,
) -> Trip:
    """Run calls in one pipeline until each is answered.

    Args:
        calls: What to run.
        patience: Seconds to go on trying while Redis is away; None for ever.
        url: Where, masked, for messages.
        fake: Whether the server is fakeredis.
        detours: Is told of the long ways.
        recorder: Is told of the trip.
        first: What a first exchange has answered already.
        since: When that was sent; patience counts from there.

    Returns:
        A value per call, or the `JobfleetError` that the call ended in.

    Raises:
        StoreUnavailable: Patience is at its end.
    """
    results: list[Any] = [None] * len(calls)
    calls, detours = list(calls), Detours() if detours is None else detours
    started = monotonic() if since is None else since
    spell = speller(fake=fake)
    pending = list(range(len(calls)))
    commands = [spell(call) for call in calls]
    wait = FIRST_WAIT
    while True:
        replies = first or (yield commands) or []
        first = None
        left: list[tuple[int, Command]] = []
        away: BaseException | None = None
        for position, index in enumerate(pending):
            reply, call = replies[position], calls[index]
            if not isinstance(reply, BaseException):
                if word(reply, call)[0] == LONGER:
                    calls[index] = detours.longer(call, monotonic())
                    left.append((index, spell(calls[index])))
                else:
                    results[index] = call.read(reply)
                continue
            what = remedy(reply)
            if what is Remedy.RAISE:
                results[index] = translate(reply, call)
                continue
            left.append((index, call.by_source() if what is Remedy.LOAD else spell(call)))
            if what is Remedy.AGAIN:
                away = reply
        if not left:
            if recorder is not None:
                recorder.tripped(calls, monotonic() - started)
            return results
        pending = [index for index, _ in left]
        commands = [command for _, command in left]
        if away is not None:
            if recorder is not None:
                recorder.stumbled(away)
            pause = wait * random.uniform(0.5, 1.0)
            if patience is not None and monotonic() - started + pause > patience:
                raise unavailable(url, away)
            yield pause
            wait = min(LONGEST_WAIT, wait * 2)


def only(results: list[Any]) -> Any:
    """The value of the one call of a trip, or its error raised."""
    value = results[0]
    if isinstance(value, JobfleetError):
        raise value
    return value
