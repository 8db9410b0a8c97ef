"""Which jobs a child leaves to other workers: those of functions that it does not know, while others know them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from jobfleet.clock import boottime, monotonic
from jobfleet.errors import JobfleetError
from jobfleet.model.names import NAME_RULE
from jobfleet.outcome import UNKNOWN_FUNCTION, KnownElsewhere, Outcome, Unrunnable
from jobfleet.retry.tries import Tries
from jobfleet.store.aio import AsyncStore, cancelled
from jobfleet.store.calls.inspect import first_states
from jobfleet.store.calls.lease import CHUNK, leave_to, return_parked
from jobfleet.store.calls.presence import kinds
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import NOTHING, Found, InRun, InWait, KindSeen, Leave
from jobfleet.worker.ipc.protocol import KIND_RULE, Kind
from jobfleet.worker.run import telemetry
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.interfaces import RunEvents
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
MOST_LEFT = 1000
"""The maximal number of functions per queue that a child leaves to others. Each claim carries their names."""
PATIENCE = 1.0
"""The seconds for which the warnings of a child that ends wait for Redis."""
MOST_CALLS = 20
"""The maximal number of calls per lane that return parked jobs, 200 each; the rest come back by themselves."""


class Knower(NamedTuple):
    """A worker that knows a function which is unknown here.

    Attributes:
        worker: A live worker; empty if there is none.
        serves: Whether a worker that knows the function serves the queue of the job.
        others: The number of live workers of an earlier version, which may know it.
    """

    worker: str = ""
    serves: bool = False
    others: int = 0


class Router:
    """Decides which jobs a child leaves to other workers.

    Children that know the same functions and serve the same queues are of one kind. The heartbeat of each worker
    contains its kind, so one short answer shows a child which functions live workers know. A child looks up a single
    job only if neither it nor any known kind knows the function.

    Args:
        store: The connection, with endless patience.
        keys: The fleet's keys.
        worker: The id of the worker.
        gone_us: The time in µs without a heartbeat after which a worker counts as gone.
        handlers: The functions of this child.
        events: Receives that the functions which are left to others have changed.

    Attributes:
        shares: Returns the functions of this child of which only so many jobs may be claimed now.
        lists: The functions that are left to others, by queue, as far as they were asked for.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        *,
        worker: str,
        gone_us: int,
        handlers: Handlers,
        events: RunEvents,
    ) -> None:
        self._store = store
        self._keys = keys
        self._worker = worker
        self._gone_us = gone_us
        self._knows = handlers.knows
        self._events = events
        self._kind = ""
        self._own: Mapping[str, str] = {}
        self._is_new = False
        self._others: dict[str, KindSeen] = {}
        self._met: dict[str, dict[str, None]] = {}
        self.lists: dict[str, Leave] = {}
        self.shares: Callable[[], Mapping[str, int]] = dict
        self._look_ups: dict[str, asyncio.Task[int]] = {}

    def set_kind(self, kind: Kind) -> None:
        """Set the kind of this child."""
        self._is_new = self._is_new or kind.id != self._kind
        self._kind, self._own = kind.id, kind.functions
        self._others.pop(kind.id, None)
        self._forget()

    def leave(self, queue: str) -> Leave:
        """The functions whose jobs in a queue are left to others."""
        found = self.lists.get(queue)
        if found is None:
            found = self.lists[queue] = self._list(queue)
        return found

    def _list(self, queue: str) -> Leave:
        met = self._met.get(queue, {})
        left: dict[str, list[str]] = {}
        for kind, other in self._others.items():
            serves = queue in other.functions.get("", "").split()
            for name, home in other.functions.items():
                is_near = home == queue or name in met
                if is_near and NAME_RULE.fullmatch(name) and not self._knows(name):
                    knowers = left.setdefault(name, [])
                    if serves:
                        knowers.append(kind)
        names = [*(name for name in met if name in left), *(name for name in left if name not in met)]
        shares = self.shares()
        return leave_to({name: left[name] for name in names[:MOST_LEFT]}, shares) if left or shares else NOTHING

    def heard(self, kinds: Iterable[str]) -> None:
        """Look up these kinds in the background, unless all of them are known."""
        if set(kinds) - {self._kind} != self._others.keys():
            self._ask("")

    async def look(self) -> None:
        """Look up the live kinds, and wait for the answer."""
        await self._ask("")

    async def return_parked(self, lanes: Iterable[Lane]) -> None:
        """Make parked jobs of these lanes due, if this worker is the first that knows their function.

        So they run in the order of their priority, where each would come back at its own time (docs/adr/0089). A child
        does it before it claims.
        """
        others = {name for other in self._others.values() for name in other.functions}
        names = sorted(self._own.keys() - others - {""}) if self._is_new else []
        self._is_new = False
        for lane in lanes if names else ():
            try:
                await self._return_parked(lane, names)
            except JobfleetError as error:
                log.warning("worker.unsure parked jobs of %s come back by themselves: %s", lane.queue, error)

    async def _return_parked(self, lane: Lane, names: Sequence[str]) -> None:
        at, count = (0, 0), 0
        for _ in range(MOST_CALLS):
            returned = await self._store.run(return_parked(lane, names, at=at))
            at, count = returned.at, count + returned.jobs
            if returned.is_over:
                break
        if count:
            log.info("job.returned queue=%s jobs=%d were parked; this worker has their functions", lane.queue, count)

    async def _look(self, function: str) -> int:
        """Look up the live kinds. Returns how many workers of an earlier version may know a function."""
        had = dict(self._others)
        seen = await self._store.run(kinds(self._keys, gone_us=self._gone_us, function=function, had=had))
        others = {
            row.kind: row if row.functions else KindSeen(row.kind, row.worker, had[row.kind].functions)
            for row in seen.kinds
            if row.kind != self._kind and KIND_RULE.fullmatch(row.kind) and (row.functions or row.kind in had)
        }
        self._is_new = all(row.kind != self._kind or row.worker == self._worker for row in seen.kinds)
        is_changed = others.keys() != self._others.keys()
        self._others = others
        if is_changed:
            self._forget()
        return seen.others

    def _forget(self) -> None:
        self.lists.clear()
        self._events.routes_changed()

    def _ask(self, function: str) -> asyncio.Task[int]:
        """The look-up for a function: the one in flight, or a new one."""
        asking = self._look_ups.get(function)
        if asking is None:
            asking = self._look_ups[function] = asyncio.get_running_loop().create_task(self._look_once(function))
        return asking

    async def _look_once(self, function: str) -> int:
        try:
            return await self._look(function)
        except JobfleetError as error:
            log.warning("worker.unsure the functions of other workers are unknown: %s", error)
            return 1
        finally:
            del self._look_ups[function]

    async def judge(self, run: Run, reason: str) -> Outcome:
        """The outcome of a run whose function this child does not know.

        Args:
            run: The run.
            reason: The reason of the outcome if no live worker knows the function.
        """
        name, queue = str(run.header["function"]), run.lane.queue
        if not NAME_RULE.fullmatch(name):
            return Unrunnable(reason)
        knower = self._knower(name, queue)
        if not knower.worker:
            others = await self._ask(name)
            knower = self._knower(name, queue)._replace(others=others)
        if knower.worker:
            return self._put_back(name, queue, knower)
        if knower.others:
            return Unrunnable(f"this worker does not know {name!r}; one of an earlier version may.", may_fail=False)
        return Unrunnable(reason)

    def _knower(self, name: str, queue: str) -> Knower:
        those = [other for other in self._others.values() if name in other.functions]
        serving = [other for other in those if queue in other.functions.get("", "").split()]
        return Knower((serving or those)[0].worker, bool(serving)) if those else Knower()

    def _put_back(self, name: str, queue: str, knower: Knower) -> Outcome:
        met = self._met.setdefault(queue, {})
        reason = f"this worker does not know {name!r}; {knower.worker} does"
        if name not in met and len(met) >= MOST_LEFT:
            return Unrunnable(f"{reason}. {MOST_LEFT} other functions are left to others already.", may_fail=False)
        if name not in met:
            met[name] = None
            self.lists.pop(queue, None)
            if knower.serves:
                log.info("job.left queue=%s function=%s %s", queue, name, reason)
            else:
                log.warning("job.left queue=%s function=%s %s, but it does not serve this queue", queue, name, reason)
        return KnownElsewhere(name, knower.worker)


class ParkedWarnings:
    """Warns of jobs that were parked because no worker has their function, unless one that has it arrives soon.

    A program that enqueues and then starts its worker, or a rolling deployment, parks jobs for less than a second. So a
    warning waits for one heartbeat of newcomers, and then looks whether the job is still parked.

    Args:
        store: The connection.
        wait: How long a warning waits, in seconds.
        grace: The seconds after which a parked job fails.
    """

    def __init__(self, store: AsyncStore, *, wait: float, grace: float) -> None:
        self._store = store
        self._wait, self._grace = min(wait, grace / 2), grace
        self._waiting: dict[Run, tuple[float, str]] = {}
        self._looking: asyncio.Task[None] | None = None

    def parked(self, run: Run, outcome: Unrunnable) -> None:
        """Log that a job was parked, and warn: later if a worker may come that has its function, otherwise at once."""
        if outcome.failed_as != UNKNOWN_FUNCTION:
            telemetry.log_parked(run, outcome.reason, self._grace)
            return
        telemetry.log_parked(run, outcome.reason, None)
        self._waiting[run] = monotonic() + self._wait, outcome.reason
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._look_on())

    async def _look_on(self) -> None:
        try:
            while self._waiting:
                first, _ = next(iter(self._waiting.values()))
                await asyncio.sleep(max(0.0, first - monotonic()))
                now = monotonic()
                due = [run for run, (at, _) in self._waiting.items() if at <= now]
                for run, reason in await self._look(due):
                    self._waiting[run] = monotonic() + self._wait, reason
        except JobfleetError:  # not an outage: the connection waits for Redis
            self._warn(self._waiting)
        finally:
            self._looking = None

    async def close(self) -> None:
        """Warn now of what is still parked, and of what cannot be asked: this child ends."""
        if self._looking is not None:
            await cancelled(self._looking)
        with suppress(JobfleetError):
            await self._look(self._waiting, patience=PATIENCE)
        self._warn(self._waiting)

    async def _look(self, runs: Iterable[Run], *, patience: float | None = None) -> list[tuple[Run, str]]:
        """Warn of those of these jobs that are still parked.

        Args:
            runs: The jobs. Those whose state was read do not wait any more.
            patience: The seconds for which each call waits for Redis; None for no limit.

        Returns:
            The jobs that a worker has claimed just now, perhaps to park them again, each with its reason.
        """
        by_lane: dict[Lane, list[Run]] = {}
        for run in runs:
            by_lane.setdefault(run.lane, []).append(run)
        claimed: list[tuple[Run, str]] = []
        for lane, jobs in by_lane.items():
            while jobs:
                call = first_states(lane, [run.id for run in jobs[:CHUNK]], bare=True)
                _, found = await self._store.run(call, patience=patience)
                still = {run: one for run, one in zip(jobs, found, strict=False) if is_parked(one)}
                claimed += [(run, self._waiting[run][1]) for run, one in still.items() if isinstance(one, InRun)]
                self._warn([run for run, one in still.items() if isinstance(one, InWait)])
                for run in jobs[: len(found)]:
                    self._waiting.pop(run, None)
                del jobs[: len(found)]
        return claimed

    def _warn(self, runs: Iterable[Run]) -> None:
        for run in list(runs):
            _, reason = self._waiting.pop(run)
            telemetry.log_parked(run, reason, self._grace)


def is_parked(found: Found) -> bool:
    """Whether no worker has run a job since it was parked; one may have claimed it."""
    return isinstance(found, InWait | InRun) and Tries.parse(found.tries).parked_since > 0


LEAST = 1.0
A_SECOND = 1000
"""A pass that left this many jobs is repeated after one second, and longer passes proportionally later."""


class Pass(NamedTuple):
    """One pass over a lane.

    Attributes:
        text: The position that was reached.
        since: When it began.
        passed: The number of jobs that were left so far.
    """

    text: str
    since: float
    passed: int

    @property
    def ends(self) -> float:
        """When the next one may begin."""
        return self.since + max(LEAST, self.passed / A_SECOND)


class Lookahead:
    """How far a child's claims have read that leave jobs to other workers.

    A claim checks a limited number of jobs. If it leaves all of them to others, the next claim starts behind them,
    until the end of the lane is reached. From then on claims check only the jobs behind those that were passed over.
    From time to time a child starts again at the beginning, because jobs that it can run may have been put back there.

    Args:
        clock: Returns the time in seconds.
    """

    def __init__(self, clock: Callable[[], float] = boottime) -> None:
        self._clock = clock
        self._passes: dict[Lane, Pass] = {}
        self._heads: set[Lane] = set()

    def text(self, lane: Lane) -> str:
        """The position where the next claim starts; empty for the beginning."""
        if lane in self._heads:
            return ""
        past = self._passes.get(lane)
        if past is not None and self._clock() >= past.ends:
            del self._passes[lane]
            past = None
        return past.text if past is not None else ""

    def went(self, lane: Lane, position: str) -> bool:
        """Record the position that a claim has reached. Returns whether the next claim should follow at once."""
        if lane in self._heads:  # the pass continues where it was
            self._heads.discard(lane)
            return lane in self._passes
        is_short, passed, *parts = position.split(" ")
        past = self._passes.get(lane)
        if not parts:
            self._passes.pop(lane, None)
        else:
            since, before = (past.since, past.passed) if past is not None else (self._clock(), 0)
            self._passes[lane] = Pass(" ".join(parts), since, before + int(passed))
        return is_short == "1" and bool(parts)

    def again_in(self, lane: Lane) -> float | None:
        """The seconds until a claim starts at the beginning again; None if every claim does."""
        past = self._passes.get(lane)
        return max(0.0, past.ends - self._clock()) if past is not None else None

    def look_ahead_of(self, lanes: Iterable[Lane]) -> None:
        """Start at the beginning once in each of these lanes, and then go on with the pass."""
        self._heads.update(lanes)

    def forget(self) -> None:
        """Start at the beginning in every lane."""
        self._passes.clear()
        self._heads.clear()
