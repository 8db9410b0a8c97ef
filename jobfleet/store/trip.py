"""One round trip as a generator: the thinking of `Store` and `AsyncStore`, written once.

It yields what to do — a list of commands to exchange, or seconds to wait — and is sent the replies.
Every call is safe to repeat, so whatever was not answered is simply asked again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, ScriptContractError
from jobfleet.store.call import LATE, LONGER, Call, Command, Key
from jobfleet.store.mending import repaired
from jobfleet.store.replies import Remedy, read, remedy, translate, unavailable
from jobfleet.store.serverclock import ASK, ServerClock

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


def speller(*, fake: bool) -> Callable[..., Command]:
    """How a call is spelled for a server that may know its script."""
    return Call.for_fake if fake else Call.by_hash


def until(clock: ServerClock, since: float, patience: float | None, attempt: float) -> int:
    """Until when a call may run that was first sent at `since`: as long as somebody may wait for its answer.

    Args:
        clock: The server's.
        since: A moment of the monotonic clock; of this attempt, where patience is endless.
        patience: Seconds; None for ever.
        attempt: Seconds for which one attempt is waited for.
    """
    return clock.at(since + (attempt if patience is None else max(patience, attempt)))


class Detours:
    """Where scripts of a short way have answered `LONGER` of late: there the long way is gone at once.

    Only a hint, of one store: forgotten, it costs one more exchange.
    """

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[Key, float] = {}

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
        try:
            results.append(call.read(reply))
        except Exception:  # noqa: BLE001 - whatever somebody wrote there: the trip says which call it was
            return None
    return results


def trip(
    calls: Sequence[Call[Any]],
    *,
    patience: float | None,
    url: str,
    attempt: float = 5.0,
    clock: ServerClock | None = None,
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
        attempt: Seconds for which one exchange is waited for.
        clock: The server's; where a call has a deadline and the clock is unknown, it is asked first.
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
    clock = ServerClock() if clock is None else clock
    started = monotonic() if since is None else since
    pending = [(index, False) for index in range(len(calls))]
    mended: set[int] = set()
    wait = FIRST_WAIT
    while True:
        replies = first or (yield from _exchanged(calls, pending, clock, fake, started, patience, attempt))
        first = None
        left: list[tuple[int, bool]] = []
        broken: list[int] = []
        away: BaseException | None = None
        were_late = False
        for (index, _), reply in zip(pending, replies, strict=True):
            verdict = _judged(calls[index], reply, detours)
            if isinstance(verdict, Again):
                calls[index] = verdict.call
                left.append((index, verdict.by_source))
                away = verdict.away or away
                were_late |= verdict.was_late
            else:
                results[index] = verdict.value
                broken += [index] * verdict.is_broken
        left += yield from _repaired(calls, broken, mended, fake=fake)
        if not left:
            if recorder is not None:
                recorder.tripped(calls, monotonic() - started)
            return results
        pending = left
        if were_late:
            clock.forget()  # it was set ahead, or the request was under way for long
            if patience is not None and monotonic() - started > max(patience, attempt):
                raise unavailable(url, TimeoutError("it took the request up too late"))
        if away is not None:
            clock.forget()  # what answers next may be another server
            if recorder is not None:
                recorder.stumbled(away)
            pause = wait * random.uniform(0.5, 1.0)
            if patience is not None and monotonic() - started + pause > patience:
                raise unavailable(url, away)
            yield pause
            wait = min(LONGEST_WAIT, wait * 2)


def repeated(
    make: Callable[[], list[Command]], *, patience: float | None, url: str, recorder: Recorder | None = None
) -> Trip:
    """Exchange plain commands, which are made again for each attempt, until the server answers.

    Args:
        make: Makes the commands; it is called again after an attempt whose replies may have been lost.
        patience: Seconds to go on trying while Redis is away; None for ever.
        url: Where, masked, for messages.
        recorder: Is given each attempt.

    Returns:
        A reply per command of the last attempt; an exception where the server refused the command for good.

    Raises:
        StoreUnavailable: The patience has ended.
    """
    started, wait = monotonic(), FIRST_WAIT
    while True:
        replies = (yield make()) or []
        away = next((one for one in replies if isinstance(one, BaseException) and remedy(one) is Remedy.AGAIN), None)
        if away is None:
            if recorder is not None:
                recorder.tripped((), monotonic() - started)
            return replies
        if recorder is not None:
            recorder.stumbled(away)
        pause = wait * random.uniform(0.5, 1.0)
        if patience is not None and monotonic() - started + pause > patience:
            raise unavailable(url, away)
        yield pause
        wait = min(LONGEST_WAIT, wait * 2)


class Done(NamedTuple):
    """A call that is over.

    Attributes:
        value: Its value, or the `JobfleetError` that it ended in.
        is_broken: Whether its script has failed, so that it may be worth a repair.
    """

    value: Any
    is_broken: bool = False


class Again(NamedTuple):
    """A call that has to be sent again.

    Attributes:
        call: It, or the one to run in its place.
        by_source: Whether the server does not know its script.
        away: The error that says so, when the server is away.
        was_late: Whether its deadline had passed, so that nothing was done.
    """

    call: Call[Any]
    by_source: bool = False
    away: BaseException | None = None
    was_late: bool = False


def _judged(call: Call[Any], reply: Any, detours: Detours) -> Done | Again:
    """What a reply means for its call."""
    if isinstance(reply, BaseException):
        what = remedy(reply)
        if what is Remedy.RAISE:
            error = translate(reply, call)
            return Done(error, is_broken=call.mends and isinstance(error, ScriptContractError))
        return Again(call, by_source=what is Remedy.LOAD, away=reply if what is Remedy.AGAIN else None)
    if call.script.has_deadline and isinstance(reply, list) and reply[:1] == [LATE]:
        return Again(call, was_late=True)
    if isinstance(reply, list) and reply[:1] == [LONGER]:
        return Again(detours.longer(call, monotonic()))
    return Done(read(reply, call))


def _repaired(
    calls: Sequence[Call[Any]], broken: Sequence[int], mended: set[int], *, fake: bool
) -> Generator[Step, list[Any] | None, list[tuple[int, bool]]]:
    """Repair what has made scripts fail, once for each; those that are to be repeated."""
    fresh = {index: calls[index] for index in broken if index not in mended}
    mended.update(fresh)
    return [(index, False) for index in (yield from repaired(fresh, fake=fake))]


def _exchanged(
    calls: Sequence[Call[Any]],
    pending: Sequence[tuple[int, bool]],
    clock: ServerClock,
    fake: bool,
    started: float,
    patience: float | None,
    attempt: float,
) -> Generator[Step, list[Any] | None, list[Any]]:
    """Send what is pending, by source where the server does not know the script; first, if need be, ask the clock."""
    asked = monotonic()
    if any(calls[index].script.has_deadline for index, _ in pending) and not clock.is_known(asked):
        (told,) = (yield [ASK]) or [ConnectionError("no answer")]
        if isinstance(told, BaseException):
            return [told] * len(pending)
        clock.learn(told, asked)
    spell = speller(fake=fake)
    deadline = until(clock, started if patience is not None else monotonic(), patience, attempt)
    commands = [
        calls[index].by_source(deadline) if is_by_source else spell(calls[index], deadline)
        for index, is_by_source in pending
    ]
    return (yield commands) or []


def only(results: list[Any]) -> Any:
    """The value of the one call of a trip, or its error raised."""
    value = results[0]
    if isinstance(value, JobfleetError):
        raise value
    return value
