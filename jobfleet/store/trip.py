"""One round trip as a generator: the common logic of `Store` and `AsyncStore`.

It yields the next step (a list of commands to exchange, seconds to wait, or an inquiry) and receives the replies. Every
call is safe to repeat, so a call without a reply is sent again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, TypedDict, Unpack

from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, ScriptContractError, StoreUnavailable
from jobfleet.store.call import (
    BY_SCRIPT,
    LATE,
    LONGER,
    AskHeirs,
    Barrier,
    Call,
    Command,
    Confirming,
    Heirs,
    Key,
    Spelling,
)
from jobfleet.store.replies import Remedy, is_away, read, remedy, sources_once, translate, unavailable

FIRST_WAIT = 0.05
LONGEST_WAIT = 1.0
REMEMBERED = 1.0
"""Seconds for which a lane that needed the general script gets it at once."""

guard: Any = None
"""Wraps the function that formats calls, in a process that must not write; see `read_only`."""
Step = list[Command] | float | AskHeirs
Trip = Generator[Step, list[Any] | None, list[Any]]


class Recorder(Protocol):
    """A component that learns of every round trip, such as metrics, a history or a test."""

    def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
        """Record that a trip got its replies."""

    def stumbled(self, error: BaseException) -> None:
        """Record that a trip must be repeated."""


class Sending(TypedDict):
    """How a store sends calls; `trip` describes the fields."""

    patience: float | None
    url: str
    attempt: float
    clock: ServerClock
    spelling: Spelling
    detours: Detours
    recorder: Recorder | None


def speller(spelling: Spelling) -> Callable[..., Command]:
    """Return the function that formats a call for a server that may know its script."""
    return guard(spelling.usual) if guard else spelling.usual


def until(clock: ServerClock, since: float, patience: float | None, attempt: float) -> int:
    """Return the deadline of a call that was first sent at `since`: as long as a caller may wait for its reply.

    Args:
        clock: The server's clock.
        since: A moment of the monotonic clock; with unlimited patience, the moment of this attempt.
        patience: The patience in seconds; None for ever.
        attempt: Time limit of one attempt in seconds.
    """
    return clock.at(since + (attempt if patience is None else max(patience, attempt)))


class Detours:
    """The lanes in which a fast path recently replied `LONGER`; there the general script is sent at once.

    This is only a hint of one store; without it, a call costs one more exchange.
    """

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: dict[Key, float] = {}

    def __bool__(self) -> bool:
        return bool(self._until)

    def chosen(self, calls: Sequence[Call[Any]], now: float) -> list[Call[Any]]:
        """Return the calls, each replaced by its general call if needed."""
        self._until = {key: until for key, until in self._until.items() if until > now}
        return [call.instead() if call.instead and call.keys[0] in self._until else call for call in calls]

    def longer(self, call: Call[Any], now: float) -> Call[Any]:
        """Return the general call for a call whose fast path was refused."""
        if call.instead is None:
            raise ScriptContractError(
                f"{call.script.name} returned {LONGER!r}: its fast path was refused, and it has no general script."
            )
        self._until[call.keys[0]] = now + REMEMBERED
        return call.instead()


class LazyCalls:
    """Calls that are built while earlier ones are sent, so that client and server work at the same time.

    They are recorded, because they may have to be sent again.

    Args:
        source: Makes the calls.
        closing: Returns the barrier that must follow the calls, or None; called when all calls are made.

    Attributes:
        barrier: The barrier that was sent; None if there was none.
        heirs: The heirs of the primary, if the store knows them; without them, the barrier is sent later.
        is_reached: Whether it was reached.
        calls: The calls that were made, without the mark of the barrier.
        since: The time of the last one.
        error: The exception that was raised while they were made. It is raised only after the replies to the sent calls
            have been read. Otherwise the replies would stay on the connection, and the error would look like one of it.
    """

    __slots__ = ("_closing", "_source", "barrier", "calls", "error", "heirs", "is_reached", "since", "took")

    def __init__(
        self, source: Iterator[Sequence[Call[Any]]], closing: Callable[[], Barrier | None] = lambda: None
    ) -> None:
        self._source = source
        self._closing = closing
        self.barrier: Barrier | None = None
        self.heirs: Heirs | None = None
        self.is_reached: bool = False
        self.took: float = 0.0
        self.calls: list[Call[Any]] = []
        self.since: float = monotonic()
        self.error: Exception | None = None

    def commands(self, spell: Callable[[Call[Any]], Command], detours: Detours) -> Iterator[list[Command]]:
        """Make the calls; yield their commands in parts that are sent together."""
        try:
            for made in self._source:
                self.since = monotonic()
                part = detours.chosen(made, self.since) if detours else made
                commands = [spell(call) for call in part]  # one that is refused is not sent, and gets no reply
                self.calls.extend(part)
                yield commands
            self.barrier = self._closing() if self.calls else None
            if self.barrier is not None:
                self.barrier = self.barrier._replace(heirs=self.heirs)
                yield [*map(spell, self.barrier.marks(self.calls)), *self.barrier.waits]
        except Exception as error:  # noqa: BLE001 - `ended` raises it for the caller
            self.error = error

    def ended(self, values: list[Any]) -> list[Any]:
        """Return the values of the calls, or raise the exception of making them."""
        if self.error is not None:
            raise self.error
        return values


def straight(calls: Sequence[Call[Any]], replies: list[Any]) -> list[Any] | None:
    """Return the values of an exchange without any problem, the usual case; otherwise None, so that a trip follows."""
    results = []
    for call, reply in zip(calls, replies, strict=True):
        if type(reply) is not list or not reply or reply[0] not in call.script.words or reply[0] == LONGER:
            return None
        try:
            results.append(call.read(reply))
        except Exception:  # noqa: BLE001 - the stored data is unreadable; the trip finds the call
            return None
    return results


def trip(
    calls: Sequence[Call[Any]],
    *,
    patience: float | None,
    url: str,
    attempt: float = 5.0,
    clock: ServerClock | None = None,
    spelling: Spelling = BY_SCRIPT,
    detours: Detours | None = None,
    recorder: Recorder | None = None,
    first: list[Any] | None = None,
    since: float | None = None,
    each: bool = False,
) -> Trip:
    """Run calls in one pipeline until each has a reply.

    Args:
        calls: The calls.
        patience: Seconds for which calls are retried while Redis is unavailable; None for ever.
        url: The masked URL, for messages.
        attempt: Time limit of one exchange in seconds.
        clock: The server's clock; if a call has a deadline and the clock is unknown, it is read first.
        spelling: How calls are written for this server.
        detours: Records refused fast paths.
        recorder: Learns of the trip.
        first: The replies of a first exchange.
        since: The time of that exchange; the patience starts there.
        each: Whether a call without a reply ends in `StoreUnavailable` alone, in place of all calls.

    Returns:
        A value for each call, or the `JobfleetError` in which it ended.

    Raises:
        StoreUnavailable: The patience is over.
    """
    results: list[Any] = [None] * len(calls)
    calls, detours = list(calls), Detours() if detours is None else detours
    clock = ServerClock() if clock is None else clock
    started = monotonic() if since is None else since
    pending = [(index, False) for index in range(len(calls))]
    mended: set[int] = set()
    wait = FIRST_WAIT
    while True:
        replies = first or (yield from exchanged(calls, pending, clock, spelling, started, patience, attempt))
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
        left += yield from _repaired(calls, broken, mended, spelling, recorder=recorder)
        if not left:
            if recorder is not None:
                recorder.tripped(calls, monotonic() - started)
            return results
        pending = sources_once(calls, left)
        if were_late:
            clock.forget()  # the server's clock was set ahead, or the request was delayed
            if patience is not None and monotonic() - started > max(patience, attempt):
                error = unavailable(url, TimeoutError("the request reached it too late"))
                return _given_up(results, left, error, each=each)
        if away is not None:
            clock.forget()  # the next reply may come from another server
            if recorder is not None:
                recorder.stumbled(away)
            pause = wait * random.uniform(0.5, 1.0)
            if patience is not None and monotonic() - started + pause > patience:
                error = unavailable(url, away, [calls[index] for index, _ in left])
                return _given_up(results, left, error, each=each)
            yield pause
            wait = min(LONGEST_WAIT, wait * 2)


def _given_up(
    results: list[Any], left: Sequence[tuple[int, bool]], error: StoreUnavailable, *, each: bool
) -> list[Any]:
    """Return the results, with the error for each call without a reply; raise it if it ends all calls."""
    if not each:
        raise error
    for index, _ in left:
        results[index] = error
    return results


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
    """A finished call.

    Attributes:
        value: Its value, or the `JobfleetError` in which it ended.
        is_broken: Whether its script failed, so that a repair may help.
    """

    value: Any
    is_broken: bool = False


class Again(NamedTuple):
    """A call that must be sent again.

    Attributes:
        call: The call, or its general call.
        by_source: Whether the server does not know its script.
        away: The error that shows that the server is unavailable, or None.
        was_late: Whether its deadline had passed, so that nothing was done.
    """

    call: Call[Any]
    by_source: bool = False
    away: BaseException | None = None
    was_late: bool = False


def _judged(call: Call[Any], reply: Any, detours: Detours) -> Done | Again:
    """Decide what to do after a reply."""
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
    calls: list[Call[Any]], broken: Sequence[int], mended: set[int], spelling: Spelling, *, recorder: Recorder | None
) -> Generator[Step, list[Any] | None, list[tuple[int, bool]]]:
    """Repair damage that made scripts fail; return the calls to retry, each once, also if nothing could be repaired.

    A script that ends halfway may run again (docs/adr/0012), and some leave out in a second attempt what they can do
    without. A process that must not write repairs nothing.
    """
    fresh = {index: calls[index] for index in broken if index not in mended}
    if not fresh or guard is not None:
        return []
    from jobfleet.store.damage import repaired  # damage is rare

    mended.update(fresh)
    began = monotonic()
    moved = yield from repaired(fresh, spelling)
    if moved and recorder is not None:
        recorder.tripped(moved, monotonic() - began)
    for index in fresh:
        calls[index] = calls[index].anyway()
    return [(index, False) for index in fresh]


def exchanged(
    calls: Sequence[Call[Any]],
    pending: Sequence[tuple[int, bool]],
    clock: ServerClock,
    spelling: Spelling,
    started: float,
    patience: float | None,
    attempt: float,
    after: Sequence[Command] = (),
) -> Generator[Step, list[Any] | None, list[Any]]:
    """Send pending calls, by source if the server does not know the script; read the clock first if needed.

    Args:
        calls: The calls.
        pending: The numbers of the calls to send, and whether to send their source.
        clock: The server's clock.
        spelling: How calls are written for this server.
        started: When the first attempt began, monotonic seconds.
        patience: Seconds for which calls are retried; None for ever.
        attempt: Time limit of one exchange in seconds.
        after: Further commands.
    """
    asked = monotonic()
    if any(calls[index].script.has_deadline for index, _ in pending) and not clock.is_known(asked):
        (reply,) = (yield [ASK]) or [ConnectionError("no answer")]
        if isinstance(reply, BaseException):
            return [reply] * len(pending)
        clock.learn(reply, asked)
    spell = speller(spelling)
    deadline = until(clock, started if patience is not None else monotonic(), patience, attempt)
    commands = [
        spelling.sure(calls[index], deadline) if is_by_source else spell(calls[index], deadline)
        for index, is_by_source in pending
    ]
    return (yield [*commands, *after]) or []


def only(results: list[Any]) -> Any:
    """Return the value of the only call of a trip, or raise its error."""
    value = results[0]
    if isinstance(value, JobfleetError):
        raise value
    return value


def confirmed(
    batch: Confirming, *, first: list[Any] | None = None, since: float | None = None, **sending: Unpack[Sending]
) -> Trip:
    """Run calls and a barrier until both have replies of one exchange, or the patience is over.

    Args:
        batch: The calls and the barrier.
        first: The replies of a first exchange, in which the mark of the barrier followed the calls.
        since: The time of that exchange.
        sending: How calls are sent; see `trip`.

    Returns:
        A value for each call, or the `JobfleetError` in which it ended.

    Raises:
        StoreUnavailable: The patience is over, and the calls have no reply.
    """
    calls = [call.named() for call in (*batch, *batch.barrier.marks(batch))]
    started = monotonic() if since is None else since
    barrier, is_misled = batch.barrier, False
    values: list[Any] = []
    pause = FIRST_WAIT
    while True:
        if first is None and barrier.asks_heirs:
            barrier = yield from _with_heirs(barrier, started, sending, has_values=bool(values), is_misled=is_misled)
            if barrier.needs_heirs:
                return values[: len(batch)]
        waits, is_first = barrier.waits, first is not None
        calls = sending["detours"].chosen(calls, monotonic())
        replies = first or (yield from _exchanged(calls, waits, started, sending))
        first = None
        ran, waited = replies[: len(calls)], replies[len(calls) :]
        now = straight(calls, ran)
        is_misled = now is not None and not barrier.is_primary(now[len(batch) :])
        is_lost = is_misled or len(waited) < max(1, len(waits)) or any(is_away(reply) for reply in waited)
        if now is not None and not is_lost:
            batch.is_reached, batch.took = barrier.is_reached(waited), monotonic() - started
            if sending["recorder"] is not None:
                sending["recorder"].tripped(calls, batch.took)
            return _merged(values, now)[: len(batch)]
        if now is None:
            try:
                now = yield from trip(calls, first=ran, since=started, **sending)
            except StoreUnavailable:
                if not values:
                    raise
                return values[: len(batch)]
        values = _merged(values, now)
        if any(isinstance(value, JobfleetError) for value in now):
            return values[: len(batch)]
        if is_lost and not (is_first and barrier.needs_heirs):
            patience = sending["patience"]
            if patience is not None and monotonic() - started + pause > patience:
                return values[: len(batch)]
            yield pause
            pause = min(LONGEST_WAIT, pause * 2)


def _with_heirs(
    barrier: Barrier, started: float, sending: Sending, *, has_values: bool, is_misled: bool
) -> Generator[Step, list[Any] | None, Barrier]:
    """Return the barrier with the heirs of today; without them if nobody names them and the calls have been run.

    Raises:
        StoreUnavailable: Nobody names them within the patience, and the calls have not been run.
    """
    pause = FIRST_WAIT
    while True:
        (found,) = (yield AskHeirs(is_misled=is_misled)) or [ConnectionError("no answer")]
        if isinstance(found, Heirs):
            return barrier._replace(heirs=found)
        patience = sending["patience"]
        if patience is not None and monotonic() - started + pause > patience:
            if has_values:
                return barrier._replace(heirs=None)
            raise unavailable(sending["url"], found)
        yield pause
        pause = min(LONGEST_WAIT, pause * 2)


def _exchanged(
    calls: Sequence[Call[Any]], waits: Sequence[Command], started: float, sending: Sending
) -> Generator[Step, list[Any] | None, list[Any]]:
    """Send calls, then the waits of their barrier, in one exchange."""
    pending = [(index, False) for index in range(len(calls))]
    return (
        yield from exchanged(
            calls,
            pending,
            sending["clock"],
            sending["spelling"],
            started,
            sending["patience"],
            sending["attempt"],
            after=waits,
        )
    )


def _merged(before: list[Any], now: list[Any]) -> list[Any]:
    """The values of a repetition, which must not hide that a job was new."""
    return [_kept(*pair) for pair in zip(before, now, strict=True)] if before else now


def _kept(before: Any, now: Any) -> Any:
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [_kept(*pair) for pair in zip(before, now, strict=True)]
    return True if before is True and now is False else now


ASK: Command = ("TIME",)
FRESH = 60.0
"""Seconds for which an estimate is valid, because clocks drift and a server's clock may be set back."""


class ServerClock:
    """An upper estimate of one server's clock."""

    __slots__ = ("_asked", "_offset")

    def __init__(self) -> None:
        self._offset: float | None = None
        self._asked = 0.0

    def is_known(self, now: float) -> bool:
        """Whether there is a valid estimate at a moment of the monotonic clock."""
        return self._offset is not None and now - self._asked < FRESH

    def learn(self, reply: Any, asked: float) -> None:
        """Process the reply to `ASK`, which was sent at `asked`."""
        seconds, micros = reply
        self._offset, self._asked = int(seconds) * 1e6 + int(micros) - asked * 1e6, asked

    def forget(self) -> None:
        """Discard the estimate, because the server has changed or its clock was set."""
        self._offset = None

    def at(self, moment: float) -> int:
        """Return the maximum of the server's clock at a moment of the monotonic clock, in µs; 0 if unknown.

        A deadline of 0 has passed: a call that is sent with it is refused, and sent again after the clock is known.
        """
        return 0 if self._offset is None else round(self._offset + moment * 1e6)


class WriteRefused(JobfleetError):
    """This process only reads from Redis."""


def refuse_writes(why: str) -> None:
    """Make the stores that this process opens from now on refuse calls that may write.

    Args:
        why: The reason, for the message of the refusal; empty to end it.
    """
    global guard  # noqa: PLW0603 - it is chosen once per process
    guard = partial(_guarded, why) if why else None


def _guarded(why: str, spell: Callable[..., Command]) -> Callable[..., Command]:
    """The function that formats calls, or refuses them."""

    def spelled(call: Call[Any], *arguments: int) -> Command:
        if not call.script.read_only:
            raise WriteRefused(f"{call.script.name} is refused: {why}")
        return spell(call, *arguments)

    return spelled
