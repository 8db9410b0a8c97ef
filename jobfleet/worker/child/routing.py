"""What other live workers know: the jobs of those functions are left to them.

Children that know the same functions and serve the same queues are of one kind. Every worker tells with its sign of
life of which kind it is, so a child learns from one short answer which functions live workers know. It needs no look-up
for a job, except for one whose function neither it nor any kind that it has heard of knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from typing import NamedTuple

from jobfleet.errors import JobfleetError
from jobfleet.model.ids import NAME_RULE
from jobfleet.outcome import KnownElsewhere, Outcome, Unrunnable
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.lease import leave_to
from jobfleet.store.calls.presence import kinds
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import NOTHING, KindSeen, Leave
from jobfleet.worker.ipc.kinds import KIND_RULE, Kind
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.handlers import Handlers
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
MOST_LEFT = 1000
"""How many functions a child leaves to others in one queue; their names travel with each claim."""


class Knower(NamedTuple):
    """Who knows a function that is not known here.

    Attributes:
        worker: A live worker; empty for none.
        serves: Whether one that knows it serves the queue of the job.
        others: How many live workers, of an earlier version, may know it.
    """

    worker: str = ""
    serves: bool = False
    others: int = 0


class Router:
    """What a child leaves to others.

    Args:
        store: How to ask; with endless patience.
        keys: The fleet's keys.
        gone_us: After how many µs of silence a worker counts as gone.
        handlers: The functions of this child.
        events: Receives that the functions which are left to others have changed.

    Attributes:
        lists: The functions that are left to others, by queue, as far as they were asked for.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        *,
        gone_us: int,
        handlers: Handlers,
        events: RunEvents,
    ) -> None:
        self._store = store
        self._keys = keys
        self._gone_us = gone_us
        self._knows = handlers.knows
        self._events = events
        self._kind = ""
        self._others: dict[str, KindSeen] = {}
        self._met: dict[str, dict[str, None]] = {}
        self.lists: dict[str, Leave] = {}
        self._asking: dict[str, asyncio.Task[int]] = {}

    def set_kind(self, kind: Kind) -> None:
        """Be of a kind from now on."""
        self._kind = kind.id
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
        return leave_to({name: left[name] for name in names[:MOST_LEFT]}) if left else NOTHING

    def heard(self, kinds: Iterable[str]) -> None:
        """Look what these kinds know, in the background, unless they are those that are known to live."""
        if set(kinds) - {self._kind} != self._others.keys():
            self._ask("")

    async def look(self) -> None:
        """Look which kinds live, and wait for the answer."""
        await self._ask("")

    async def _look(self, function: str) -> int:
        """Look which kinds live; answer how many workers of an earlier version may know a function."""
        had = dict(self._others)
        seen = await self._store.run(kinds(self._keys, gone_us=self._gone_us, function=function, had=had))
        others = {
            row.kind: row if row.functions else KindSeen(row.kind, row.worker, had[row.kind].functions)
            for row in seen.kinds
            if row.kind != self._kind and KIND_RULE.fullmatch(row.kind) and (row.functions or row.kind in had)
        }
        is_changed = others.keys() != self._others.keys()
        self._others = others
        if is_changed:
            self._forget()
        return seen.others

    def _forget(self) -> None:
        self.lists.clear()
        self._events.routes_changed()

    def _ask(self, function: str) -> asyncio.Task[int]:
        """The look that is on its way for a function, or a new one; for all that ask at the same time."""
        asking = self._asking.get(function)
        if asking is None:
            asking = self._asking[function] = asyncio.get_running_loop().create_task(self._look_once(function))
        return asking

    async def _look_once(self, function: str) -> int:
        try:
            return await self._look(function)
        except JobfleetError as error:
            log.warning("worker.unsure which functions other workers know cannot be told: %s", error)
            return 1
        finally:
            del self._asking[function]

    async def judge(self, run: Run, reason: str) -> Outcome:
        """What becomes of a run whose function this child does not know.

        Args:
            run: The run.
            reason: What to say where no live worker knows it.
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
        told = f"this worker does not know {name!r}; {knower.worker} does"
        if name not in met and len(met) >= MOST_LEFT:
            return Unrunnable(f"{told}. {MOST_LEFT} other functions are left to others already.", may_fail=False)
        if name not in met:
            met[name] = None
            self.lists.pop(queue, None)
            if knower.serves:
                log.info("job.left queue=%s function=%s %s", queue, name, told)
            else:
                log.warning("job.left queue=%s function=%s %s, but it does not serve this queue", queue, name, told)
        return KnownElsewhere(name, knower.worker)
