"""The gates of a child's runs: named limits and circuit breakers, which all children of the fleet share.

A run passes its gates before its code starts; see trips.py. If the call of its function comes too late, for example
because its batch or its middleware waits, it gives its cost back and passes again. A run that is refused goes back to
its position. Until there is room, claims of this child leave the jobs of its function in the queue, or take only as
many as there is room for. So other jobs are not blocked, and a used-up limit costs nothing.
"""

from __future__ import annotations

import asyncio
import difflib
import logging
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from jobfleet.clock import monotonic, to_us
from jobfleet.errors import InvalidJob, JobCancelled, JobfleetError
from jobfleet.functions.limiting import Breaker
from jobfleet.model.limits import BREAKER, LIMIT, Demand
from jobfleet.model.signals import Discard, ForeignError, RateLimited, Snooze, found_in, suspension_of
from jobfleet.outcome import Broken, Outcome, Refused, TimedOut
from jobfleet.retry.decision import describe
from jobfleet.services.confirmations import Confirmations
from jobfleet.services.places import DEATH, HELD_US, ended_holders
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import limits
from jobfleet.store.calls import limits as calls
from jobfleet.store.calls.limits import Leaving, Passed, Passing
from jobfleet.store.channels import AsyncChannels
from jobfleet.store.keys import Keyspace
from jobfleet.worker.child.gate_requests import GateRequests
from jobfleet.worker.run.failure import class_of
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.interfaces import Died, OnEnd
from jobfleet.worker.run.run import TRIES, Key, NotStarted, Passage, Run
from jobfleet.worker.run.stop_ladder import StopLadder

log = logging.getLogger("jobfleet.worker")
WAIT = 8.0
"""Seconds after which a child looks again at a gate that has room only later: its limit may have been raised. So the
child stays in the list of those that are notified. This must be shorter than the time after which Redis drops it."""
POLL = 1.0
"""Seconds between two looks at a gate without room, of which nobody may notify this child."""
SENDING = 5.0
"""Seconds that the last reports may take."""
FAILED_US = 5_000_000
"""µs for which a job is put back whose gates cannot be asked."""
GROUP_US = 30_000_000
"""µs for which a job of a group with an open breaker is put back at most."""


class Inside(NamedTuple):
    """A run that has passed its gates.

    Attributes:
        run: The run.
        function: The name of its function.
        passing: Its holder id and the limits it counts against.
        now: Redis time at which the run passed, in µs.
        breaker: The circuit breaker of the function; None without one.
    """

    run: Run
    function: str
    passing: Passing
    now: int
    breaker: Breaker | None

    def leaving(self, outcome: str, error: str = "") -> Leaving:
        """Its report that it leaves."""
        return Leaving(self.passing.holder, self.passing.demands, outcome, error, self.now)


class Short(NamedTuple):
    """The room of a gate that has little.

    Attributes:
        places: How many runs may pass.
        units: How much their costs may be together.
        at: When to look again (monotonic clock).
        then: How much room there is then, if that is known; otherwise 0.
        words: The settings of a breaker; see `Demand`.
    """

    places: float
    units: float
    at: float
    then: int
    words: str = ""


class ChildGates:
    """The gates of a child.

    Args:
        store: The connection, with endless patience.
        keys: The fleet's keys.
        child: The child's id.
        slots: How many runs the child has at once.
        ladder: Knows whether a run is past its time limit.
        confirmations: Confirms the places of durable jobs.

    Attributes:
        on_change: Called when the shares have changed: whether a function has none any more, and whether one has more.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        *,
        child: str,
        slots: int,
        ladder: StopLadder,
        confirmations: Confirmations | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._child = child
        self._slots = slots
        self._ladder = ladder
        self._loop = asyncio.get_running_loop()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._inside: dict[Key, Inside] = {}
        self._wanted: dict[str, Mapping[str, Demand]] = {}
        self._short: dict[str, Short] = {}
        self._shares: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._trips = GateRequests(
            store, keys, child=child, begin=self._begin, on_rooms=self._learn, confirmations=confirmations
        )
        self._refusals = Refusals(store, keys, child=child)
        self._undefined: set[str] = set()
        self._checked: dict[str, int] = {}
        self.on_change: Callable[[bool, bool], None] = lambda _open, _more: None

    def shares(self) -> Mapping[str, int]:
        """The functions of which claims may take only so many jobs."""
        return self._shares

    # --- a run passes its gates, and leaves them -------------------------------------------------

    async def passed(
        self, run: Run, handler: Handler, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Outcome | None:
        """Let a run through its gates; return None, or the outcome of a run that may not start."""
        function = handler.function
        name, gates = function.name, function.gates
        if gates is None:
            return None
        try:
            demands = gates.demands(name, run.lane.queue, _group_of(run), function.parameters, args, kwargs)
        except InvalidJob as error:
            return Broken(str(error), failed_as="limits")
        except Exception as error:  # noqa: BLE001 - the user's function of the cost may raise anything
            return Broken(f"the cost of its limits cannot be read: {describe(error)}", failed_as="limits")
        return await self._pass(run, name, Passing(run.id, run.token, demands), gates.breaker)

    async def _pass(self, run: Run, name: str, passing: Passing, breaker: Breaker | None) -> Outcome | None:
        demands = passing.demands
        self._expect(name, demands)
        for _ in range(TRIES):
            asked = monotonic()
            try:
                seen, place = await self._trips.answer(passing, run)
            except JobfleetError as error:
                log.error("gates.failed job_id=%s it is put back: %s", run.id, error)
                return Refused(name, FAILED_US)
            if gate := seen.refusals[place]:
                if place in seen.impossible:
                    self._wanted.pop(name, None)  # no room is ever enough for it, but there may be for the next job
                    self._changed()
                    return _impossible(gate, demands)
                return self._refused(name, gate, seen)
            shortest = min((period for one in demands if (period := seen.rooms[one.gate].period) > 0), default=math.inf)
            inside, until = Inside(run, name, passing, seen.now, breaker), asked + shortest * calls.RUN_IN_US / 1e6
            if monotonic() <= until:
                self._inside[run.key] = inside
                if run.passage is None:
                    run.passage = Passage(until, partial(self._pass_again, run.key), Refused(name))
                run.passage.until = until
                return None
            self._trips.leave(inside.leaving("unused"))
            passing = passing._replace(number=passing.number + 1)
        return Refused(name)

    async def _pass_again(self, key: Key) -> Outcome | None:
        """Let a run pass again whose call comes too late. What it has not used is given back before."""
        inside = self._inside.pop(key, None)
        if inside is None:  # it has ended
            return None
        run = inside.run
        self._trips.leave(inside.leaving(self._unless_called(run)))
        again = inside.passing._replace(number=inside.passing.number + 1)
        outcome = await self._pass(run, inside.function, again, inside.breaker)
        await run.lease_confirmed()  # the answer may have waited for Redis
        return outcome

    def _unless_called(self, run: Run) -> str:
        return "none" if run.passage is not None and run.passage.is_called else "unused"

    def _refused(self, function: str, gate: str, seen: Passed) -> Outcome:
        if gate.startswith(f"{BREAKER}group:"):  # the function's jobs of other groups must not wait
            wait = max(seen.rooms[gate].at - seen.now, to_us(POLL))
            return Refused(function, min(wait, GROUP_US))  # an operator may close it before
        return Refused(function)

    def watched(self, run: Run, on_end: OnEnd) -> OnEnd:
        """What is called when the code of a run ends: the run leaves its gates first."""
        if run.key not in self._inside:
            return on_end

        def ended(value: Any, error: BaseException | None) -> None:
            self._ended(run, error)
            on_end(value, error)

        return ended

    def left(self, run: Run) -> None:
        """A run that has passed did not start."""
        inside = self._inside.pop(run.key, None)
        if inside is not None:
            self._trips.leave(inside.leaving("unused"))

    def _ended(self, run: Run, error: BaseException | None) -> None:
        inside = self._inside.pop(run.key, None)
        if inside is None:
            return
        if isinstance(error, ForeignError) and error.steers is not None:
            error = error.steers
        is_late = run.stop.has_limits and self._ladder.is_past(run)
        why = run.stop.interruption
        if isinstance(error, RateLimited):
            names = [one.gate for one in inside.passing.demands if one.gate.startswith(LIMIT)]
            self._spawn(self._refusals.close(run, names, error, since=inside.now))
        if is_late or (isinstance(why, TimedOut) and isinstance(error, asyncio.CancelledError | JobCancelled | Died)):
            outcome, what = "fail", "TimeoutError"
        elif (
            (why is not None and not isinstance(why, TimedOut))
            or _says_nothing(error)
            or found_in(error, NotStarted)
            or (error is not None and inside.breaker is not None and inside.breaker.ignores(error))
        ):
            outcome, what = self._unless_called(run), ""
        else:
            outcome, what = ("ok", "") if error is None else ("fail", class_of(error))
        self._trips.leave(inside.leaving(outcome, what))

    # --- its tasks -------------------------------------------------------------------------------

    def _begin(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._loop.create_task(self._done(name, work))

    async def _done(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do some work. At its end it may be begun again at once: a callback would come too late for what was added."""
        try:
            await work()
        except JobfleetError as error:  # what a run waits for is looked at again after POLL
            log.error("gates.failed %s: %s", name, error)
        finally:
            self._tasks.pop(name, None)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._begin(f"{id(work)}", lambda: work)

    async def close(self) -> None:
        """Send what is left to report."""
        if self._timer is not None:
            self._timer.cancel()
        if (hearing := self._tasks.pop("hear", None)) is not None:
            hearing.cancel()
        waits = [Demand(gate, 1, short.words) for gate, short in self._short.items() if short.places <= 0]
        if waits:
            self._spawn(self._trips.wait_no_more(waits))
        if self._tasks:
            await asyncio.wait([*self._tasks.values()], timeout=SENDING)

    # --- what the child knows about room ---------------------------------------------------------

    def _expect(self, function: str, demands: Sequence[Demand]) -> None:
        """Note what a job of a function needs, and count it against the room that is known."""
        self._wanted[function] = {one.gate: one for one in demands if not one.gate.startswith(f"{BREAKER}group:")}
        for one in demands:
            if (short := self._short.get(one.gate)) is not None:
                self._short[one.gate] = short._replace(places=short.places - 1, units=short.units - one.cost)
        if self._shares:
            self._changed()

    def _learn(self, seen: Passed) -> None:
        """Note the room that an answer tells of."""
        for gate, room in seen.rooms.items():
            if room.period < 0 and gate not in self._undefined and gate.startswith(LIMIT):
                self._undefined.add(gate)
                log.warning("limit.undefined limit=%s nothing limits its jobs until it is defined", _limit_of(gate))
            places = math.inf if room.places == calls.UNLIMITED else room.places
            units = math.inf if room.units == calls.UNLIMITED else room.units
            highest = max((one[gate].cost for one in self._wanted.values() if gate in one), default=1)
            if places >= self._slots and units >= self._slots * highest:
                self._short.pop(gate, None)
                continue
            ahead = (room.at - seen.now) / 1e6
            is_known = bool(room.at) and ahead < 1e6 and (units < math.inf or not places)
            is_known = is_known and ahead <= WAIT
            at, then = (max(ahead, 0.0), room.then) if is_known else (WAIT if ahead > WAIT else POLL, 0)
            self._short[gate] = Short(places, units, monotonic() + at, then, room.words)
            if not places:
                self._begin("hear", self._hear)
        self._changed()

    def _changed(self) -> None:
        """Work out the shares again, and claim what has become possible."""
        before = self._shares
        found = {}
        for function, demands in self._wanted.items():
            rooms = [
                min(short.places, short.units // max(1, one.cost))
                for gate, one in demands.items()
                if (short := self._short.get(gate)) is not None
            ]
            if rooms and min(rooms) < self._slots:
                found[function] = max(0, int(min(rooms)))
        self._shares = found
        self._set_timer()
        if found != before:
            is_open = any(name not in found for name in before)
            self.on_change(is_open, any(number > before.get(name, self._slots) for name, number in found.items()))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._short:
            wait = min(short.at for short in self._short.values()) - monotonic()
            self._timer = self._loop.call_later(max(0.001, wait), self._look)

    def _look(self) -> None:
        """Use the room that there is by now, and ask for that of gates of which it is not known."""
        now, asked = monotonic(), []
        for gate, short in list(self._short.items()):
            if short.at > now:
                continue
            if short.then:
                least = min((one[gate].cost for one in self._wanted.values() if gate in one), default=1)
                places = short.places if short.places > 0 else 1
                self._short[gate] = short._replace(places=places, units=max(short.then, least), at=now + POLL, then=0)
            else:
                self._short[gate] = short._replace(at=now + POLL)
                asked.append(gate)
        if asked:
            self._begin("look", lambda: self._ask_for_room(asked))
        self._changed()

    async def _ask_for_room(self, gates: Sequence[str]) -> None:
        """Ask for the room of some gates, after the places of runs that have died are freed."""
        words = {gate: short.words for gate, short in self._short.items()}
        skips = [self._checked.pop(gate, 0) for gate in gates]
        rows = await self._store.run_many(
            [
                limits.gates(self._keys, [gate], skip=skip, held_us=HELD_US, most=limits.MOST_HELD)
                for gate, skip in zip(gates, skips, strict=True)
            ]
        )
        for gate, skip, answer in zip(gates, skips, rows, strict=True):
            if isinstance(answer, JobfleetError):
                raise answer
            row = answer[1][0]
            words[gate] = words.get(gate) or row.fields.get("words", "")
            ended = await ended_holders(self._store, self._keys, row.holders) if row.holders else []
            if len(row.holders) == limits.MOST_HELD:  # go on behind them the next time
                self._checked[gate] = skip + limits.MOST_HELD - len(ended)
            for holder in ended:
                demand = Demand(gate, 1, words[gate])
                self._trips.leave(Leaving(holder, (demand,), "fail", DEATH, 0))
        await self._trips.look([Demand(gate, 1, words[gate]) for gate in gates])

    async def _hear(self) -> None:
        """Listen for room of gates that were full or closed."""
        channels = AsyncChannels(self._store.at)
        channels.subscribe((self._keys.gate_freed(self._child),))
        try:
            while True:
                for message in await channels.read(POLL):
                    short = self._short.get(message.text or "")
                    if message.text and short is not None:
                        places = max(0, short.places) + 1
                        self._short[message.text] = short._replace(places=places, at=monotonic() + POLL, then=0)
                        self._changed()
        finally:
            await channels.close()


def _impossible(gate: str, demands: Sequence[Demand]) -> Outcome:
    name, cost = _limit_of(gate), next(one.cost for one in demands if one.gate == gate)
    return Broken(
        f"its cost is {cost:,}, which is more than limit {name!r} allows in a whole period; raise its rate: "
        f"'jobfleet limits named {name} --rate N/TIME'",
        failed_as="limits",
    )


def _limit_of(gate: str) -> str:
    """The name of the limit of a gate."""
    return gate.removeprefix(f"{LIMIT}:")


def _says_nothing(error: BaseException | None) -> bool:
    """Whether such an end says nothing about the health of a function. Of a job that waits, a later run says it."""
    return isinstance(error, Snooze | Discard | JobCancelled) or suspension_of(error) is not None


def _group_of(run: Run) -> str | None:
    return next((line[2:] for line in (run.grant.meta or "").split("\n") if line.startswith("g ")), None)


WARNED_MOST = 100
"""Unknown limits of which a child warns; their names may be made from data."""


class Refusals:
    """Closes the limits that the runs of a child have found used up.

    Args:
        store: The connection, with endless patience.
        keys: The fleet's keys.
        child: The child's id.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, *, child: str) -> None:
        self._store = store
        self._keys = keys
        self._child = child
        self._unknown: set[str] = set()

    async def close(self, run: Run, own: Sequence[str], error: RateLimited, *, since: int) -> None:
        """Close the limit that a run has named, or all limits of its function.

        Args:
            run: The run.
            own: The gates of the limits of its function.
            error: What it has raised.
            since: When it has passed its gates, µs.
        """
        gates = own if error.limit is None else [f"{LIMIT}:{error.limit}"]
        for gate in gates:
            if gate not in own:
                await self._warn_if_undefined(run, gate, own)
            call = limits.shut_gate(
                self._keys, gate, to_us(error.delay), by=self._child, reason=f"RateLimited in {run.id}", since=since
            )
            if await self._store.run(call):
                log.info("limit.closed limit=%s seconds=%g job_id=%s", _name(gate), error.delay, run.id)

    async def _warn_if_undefined(self, run: Run, gate: str, own: Sequence[str]) -> None:
        """Warn once about a limit that neither the function names nor anybody has defined."""
        if gate in self._unknown or len(self._unknown) >= WARNED_MOST:
            return
        self._unknown.add(gate)
        _, (row,) = await self._store.run(limits.gates(self._keys, [gate]))
        if "defined" in row.fields:
            return
        _, rows = await self._store.run(limits.gates(self._keys))
        known = {*map(_name, own), *(_name(one.name) for one in rows if "defined" in one.fields)}
        close = difflib.get_close_matches(_name(gate), sorted(known), n=3)
        log.warning(
            "limit.unknown limit=%s function=%s raises RateLimited with it, but does not name it in its limits, and it "
            "is not defined%s",
            _name(gate), run.header.get("function"), f"; did it mean {' or '.join(map(repr, close))}?" if close else "",
            extra={"run": run},
        )  # fmt: skip


def _name(gate: str) -> str:
    return gate.partition(":")[2]
