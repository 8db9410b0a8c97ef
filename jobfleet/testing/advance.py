"""Moving the clock of a test: everything that is due in between happens, in order.

`Advance` goes from one due time to the next. At each it does what a fleet does: the duties of a reaper, then the due
jobs. Leases are ticked as closely as a reaper does, because a longer gap would hold them.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from jobfleet.clock import SECOND_US
from jobfleet.cron import from_us, to_us
from jobfleet.errors import ConfigError, EncodingError, InvalidJob
from jobfleet.fleet.sync import Fleet
from jobfleet.functions.manifest import function_record
from jobfleet.metrics.tally import Mute
from jobfleet.operations.cron import entry_of
from jobfleet.operations.gates import BUCKETS, OPENS_BY_HAND, SPAN
from jobfleet.services.duties.cron import Cron
from jobfleet.services.duties.dead import Dead, Rescues
from jobfleet.services.duties.leases import Leases
from jobfleet.services.duties.relay import Relay
from jobfleet.services.duties.retention import Retention
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Command
from jobfleet.store.calls import cron as cron_calls
from jobfleet.store.calls import limits as gate_calls
from jobfleet.store.calls.lease import tick
from jobfleet.store.fleet import read_whole
from jobfleet.store.keys import BLOCKED_BOUNDS, DAY_MS, GROUPED, WITHHELD, Lane
from jobfleet.testing.shifted import ShiftedClock
from jobfleet.worker.ipc.protocol import new_worker_id
from jobfleet.worker.supervisor.heartbeat import Heartbeat

TICK_US = 1_500_000
"""Time between two ticks while a job has a lease; a reaper ticks every second, and 2 s are the shortest allowed gap."""
MOST_STOPS = 20_000
"""Most due times in one step; a step that passes more is probably a mistake, and would take minutes."""
SWEEP_US = 5 * DAY_MS * 1000
"""Maximum step of the clock while jobs are blocked: a reaper's sweep prolongs what Redis keeps of them."""
PAGE = 500


class Advance:
    """Moves the clock of a fleet.

    Args:
        fleet: The fleet.
        clock: Its clock.
        drain: Runs the due jobs.
    """

    def __init__(self, fleet: Fleet, clock: ShiftedClock, drain: Callable[[], object]) -> None:
        if fleet.store.at.cluster is not None:
            raise ConfigError("The clock of a cluster cannot be moved; test on one server.")
        self._fleet = fleet
        self._clock = clock
        self._drain = drain
        self._published: set[str] = set()

    def now_us(self) -> int:
        """The time of the test in µs since 1970."""
        (reply,) = self._exchange([("TIME",)])
        seconds, micros = reply
        return int(seconds) * SECOND_US + int(micros)

    def through(self, us: int, *, cron: bool) -> None:
        """Move the clock while the fleet lives: stop at every due time."""
        until = self.now_us() + us
        for _ in range(MOST_STOPS):
            self._live(cron=cron)
            now = self.now_us()
            following = self._next_due(now, cron=cron)
            if following > until:
                break
            self._go(following)
        else:
            raise InvalidJob(
                f"This step passes more than {MOST_STOPS:,} due times; advance by less, or with cron=False.",
                field="step",
            )
        if until > self.now_us():
            self._go(until)
        self._live(cron=cron)
        asyncio.run(self._turns(self._cleaning))

    def outage(self, us: int, *, cron: bool) -> None:
        """Move the clock while no worker and no reaper lives; then the fleet is there again."""
        if cron:
            self.publish()
            asyncio.run(self._turns(self._firing))  # the entries are known before the outage
        self._move(self.now_us() + us)
        self._live(cron=cron)

    # --- time ------------------------------------------------------------------------------------

    def _go(self, at: int) -> None:
        """Move to a time, with the ticks of a reaper while jobs have leases."""
        while (now := self.now_us()) < at:
            leased = [lane for lane in self._lanes() if self._first(lane.lease, "-inf")]
            self._move(min(at, now + TICK_US) if leased else at)
            if leased:
                self._fleet.store.run_many([tick(lane) for lane in leased])

    def _move(self, at: int) -> None:
        """Set the clock, and shorten the lifetimes of all keys by the same step."""
        step_us = at - self.now_us()
        self._exchange(self._clock.moved(self._clock.ahead_us + step_us))
        for keys in self._pages():
            left = self._exchange([("PTTL", key) for key in keys])
            shorter: list[Command] = [
                ("PEXPIRE", key, ms - step_us // 1000) if ms > step_us // 1000 else ("DEL", key)
                for key, ms in zip(keys, left, strict=True)
                if ms >= 0
            ]
            self._exchange(shorter)

    def _pages(self) -> Iterator[Sequence[Any]]:
        """The keys of the namespace: ``{ns}:…`` of the fleet, ``{ns:…}:…`` of its lanes."""
        namespace, found = self._fleet.context.keys.namespace, set[Any]()
        for pattern in (f"{{{namespace}}}:*", f"{{{namespace}:*"):
            cursor: Any = 0
            while True:
                ((cursor, keys),) = self._exchange([("SCAN", cursor, "MATCH", pattern, "COUNT", 1000)])
                found.update(keys)
                if int(cursor) == 0:
                    break
        keys = sorted(found)
        for start in range(0, len(keys), PAGE):
            yield keys[start : start + PAGE]

    # --- what is due -----------------------------------------------------------------------------

    def _lanes(self) -> list[Lane]:
        keys = self._fleet.context.keys
        queues = read_whole(self._fleet.store, keys).queues
        return [keys.lane(queue, index) for queue, (_, count) in sorted(queues.items()) for index in range(count)]

    def _next_due(self, now: int, *, cron: bool) -> int:
        """The next time at which something is due, in µs; far away if there is none."""
        found = [2**62]
        for lane in self._lanes():
            for ready in lane.ready:
                found += self._first(ready, f"({now}", f"({WITHHELD}")
                found += [now + SWEEP_US] if self._first(ready, *BLOCKED_BOUNDS) else []
                found += [score + GROUPED for score in self._first(ready, f"({now - GROUPED}", "(0")]
            for times in (lane.lease, lane.expiry, lane.gdue, lane.rates):
                found += self._first(times, f"({now}")
            (hold,) = self._exchange([("HGET", lane.lane, "hold")])
            found += [int(hold)] if hold and int(hold) > now else []
        if any(self._is_left(lane, now) for lane in self._lanes()):
            found += self._next_rooms(now)
        return min(found + (self._next_fires(now) if cron else []))

    def _is_left(self, lane: Lane, now: int) -> bool:
        """Whether the workers have left jobs that are due in the queue: perhaps a gate has no room for them."""
        ranges = [(ready, *bounds) for ready in lane.ready for bounds in ((0, now), ("-inf", now - GROUPED))]
        return any(self._exchange([("ZCOUNT", *one) for one in ranges]))

    def _next_rooms(self, now: int) -> list[int]:
        """When gates open, and when used costs of their rates no longer count."""
        found, skip = list[int](), 0
        while True:
            _, rows = self._fleet.store.run(gate_calls.gates(self._fleet.context.keys, skip=skip))
            for row in rows:
                times = [int(row.fields.get(name) or 0) for name in ("closed", "until")]
                width = int(row.fields.get("period") or 0) / BUCKETS
                buckets = [int(used.partition(":")[0]) for used in row.fields.get("used", "").split()]
                times += [math.ceil((bucket + SPAN) * width) for bucket in buckets]
                found += [at for at in times if now < at < OPENS_BY_HAND]
            if len(rows) < gate_calls.CHUNK:
                return found
            skip += len(rows)

    def _first(self, key: str, start: str, stop: str = "+inf") -> list[int]:
        """The lowest score in a range."""
        (rows,) = self._exchange([("ZRANGEBYSCORE", key, start, stop, "WITHSCORES", "LIMIT", 0, 1)])
        flat = rows[0] if rows and isinstance(rows[0], list) else rows  # fakeredis answers in pairs
        return [int(float(flat[1]))] if flat else []

    def _next_fires(self, now: int) -> list[int]:
        _, rows = self._fleet.store.run(cron_calls.entries(self._fleet.context.keys))
        found = []
        for row in rows:
            try:
                following = entry_of(row.record).cron.next(from_us(now))
            except (InvalidJob, EncodingError):  # the duty has logged it
                continue
            if following is not None and row.paused is None:
                found.append(to_us(following.at))
        return found

    # --- what the fleet does ---------------------------------------------------------------------

    def _live(self, *, cron: bool) -> None:
        """What a fleet does at one time: the duties of a reaper, then the due jobs."""
        if cron:
            self.publish()
        asyncio.run(self._turns(self._firing if cron else self._reaping))
        self._drain()

    def _reaping(self, store: AsyncStore) -> list[Service]:
        config, keys, tally = self._fleet.config, self._fleet.context.keys, Mute()
        return [Leases(store, keys, config, tally), Relay(store, keys, config, tally)]

    def _firing(self, store: AsyncStore) -> list[Service]:
        return [*self._reaping(store), Cron(store, self._fleet.config, Mute())]

    def _cleaning(self, store: AsyncStore) -> list[Service]:
        config, keys, tally = self._fleet.config, self._fleet.context.keys, Mute()
        return [made(store, keys, config, tally) for made in (Retention, Dead, Rescues)]

    async def _turns(self, duties: Callable[[AsyncStore], list[Service]]) -> None:
        store = self._store()
        try:
            for duty in duties(store):
                await duty.turn()
                await duty.stop()
        finally:
            await store.close()

    def publish(self) -> None:
        """Publish the functions of which others need to know, as a worker does.

        The cron duty takes recurring ones over, and `explain` reads which limits and breakers a job waits for.
        """
        functions = {
            name: function_record(function)
            for name, function in list(self._fleet.context.registry.functions.items())
            if (function.cron is not None or function.gates) and name not in self._published
        }
        if functions:
            asyncio.run(self._publish(functions))
            self._published |= set(functions)

    async def _publish(self, functions: dict[str, bytes]) -> None:
        store = self._store()
        try:
            presence = Heartbeat(store, self._fleet.context.keys, self._fleet.config, new_worker_id())
            presence.publish(functions)
            await presence.beat(queues=(), slots=0, running=0, children=0, state="running", processes=())
            await presence.leave()
        finally:
            await store.close()

    def _store(self) -> AsyncStore:
        return AsyncStore(self._fleet.store.at, patience=self._fleet.config.patience)

    def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        replies = self._fleet.store.link.exchange(commands)
        for reply in replies:
            if isinstance(reply, BaseException):
                raise reply
        return replies
