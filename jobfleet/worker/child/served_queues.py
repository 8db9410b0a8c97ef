"""Which queues a worker serves: those that are configured, else those of its functions; and their declared limits."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.config import JobConfig
from jobfleet.errors import StoreUnavailable
from jobfleet.functions.limiting import check_declared
from jobfleet.functions.registry import JobFunction
from jobfleet.model import check_queue
from jobfleet.operations.operation import drive
from jobfleet.operations.queues.declared import declare
from jobfleet.services.duties.pause_sync import catch_up
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.journal import follow
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.worker.ipc.kinds import DEFAULT

log = logging.getLogger("jobfleet.worker")
PATIENCE = 2.0
"""Seconds to wait for a node of a cluster; its lanes are then left for later."""
FIRST_WAIT = 0.5
LONGEST_WAIT = 5.0
"""Seconds between two attempts to prepare such lanes; doubled after each."""


class ServedQueues:
    """The queues of one worker process; functions may be registered while it runs.

    Args:
        functions: The registered functions, by name.
        chosen: The configured queues; empty to serve the queues of the functions.
        plain: Returns how many functions it runs that are not registered. They belong to ``default``.
        declares: Whether it stores the limits that the functions declare.

    Attributes:
        queues: The queues that it serves, in the order in which it serves them.
        away: The lanes that it does not serve yet, because their node of a cluster does not reply.

    Raises:
        ConfigError: The limits that the functions declare contradict each other.
        InvalidJob: The name of a chosen queue is not valid.
    """

    def __init__(
        self,
        functions: Mapping[str, JobFunction[..., Any, Any]],
        *,
        chosen: Iterable[str] = (),
        plain: Callable[[], int] = lambda: 0,
        declares: bool = True,
    ) -> None:
        self._functions = functions
        self._chosen = [check_queue(name) for name in chosen]
        self._plain = plain
        self._declares = declares
        if declares:
            check_declared(functions.values())
        self._seen: tuple[int, int] | None = None
        self.away: frozenset[Lane] = frozenset()
        self._wait, self._again_at = FIRST_WAIT, 0.0
        self.queues: list[str] = []
        self.look()

    def look(self) -> bool:
        """Update the queues. Returns whether to prepare lanes: of new functions, or of nodes that may be back."""
        seen = (len(self._functions), self._plain())
        if seen == self._seen:
            return bool(self.away) and monotonic() >= self._again_at
        self._seen = seen
        own = [str(function.given.get("queue") or DEFAULT) for function in list(self._functions.values())]
        self.queues = list(dict.fromkeys(self._chosen or [*own, *([DEFAULT] if seen[1] else [])]))
        return True

    async def lanes(self, store: AsyncStore, keys: Keyspace, config: JobConfig) -> list[Lane]:
        """Open the queues, and store their declared limits. Returns their lanes, in the order of the queues.

        Lanes whose node of a cluster does not reply are left out: no claim may come before their limits are stored.

        Args:
            store: The connection to Redis.
            keys: The fleet's keys.
            config: Has the number of lanes of a new queue, and the maximal number of queues.

        Raises:
            ConfigError: There are too many queues, or a declared limit cannot apply to its queue.
        """
        while True:
            lanes = await self._prepared(store, keys, config)
            if lanes is not None:
                return lanes
            await asyncio.sleep(FIRST_WAIT)

    async def _prepared(self, store: AsyncStore, keys: Keyspace, config: JobConfig) -> list[Lane] | None:
        """Prepare the lanes that can be served; return None if there is none, or a node of the cluster went away."""
        every: dict[str, list[Lane]] = {}
        for queue in self.queues:
            opened = await store.run(open_queue(keys, queue, config.lanes.get(queue, 1), most=config.max_queues))
            every[queue] = [keys.lane(queue, index) for index in range(opened.lanes)]
        lanes = [lane for of_queue in every.values() for lane in of_queue]
        there = await store.reachable(lanes, within=PATIENCE)
        if lanes and not there:
            return None
        limited = store.within(PATIENCE)
        try:
            if self._declares:
                for queue, of_queue in every.items():
                    await self._declare(limited, queue, of_queue, there)
            await catch_up(limited, keys, there)
            await follow(limited, keys, there)
        except StoreUnavailable:
            if limited is store or store.patience is not None:
                raise
            return None
        self._note_away(frozenset(lanes).difference(there))
        return there

    def _note_away(self, away: frozenset[Lane]) -> None:
        """Remember which lanes are to be prepared later, and when."""
        if away - self.away:
            names = ",".join(sorted(f"{lane.queue}.{lane.index}" for lane in away))
            log.warning("lanes.away lanes=%s their nodes do not reply; these lanes are served when they do", names)
        self._wait = min(2 * self._wait, LONGEST_WAIT) if away else FIRST_WAIT
        self._again_at = monotonic() + self._wait
        self.away = away

    async def _declare(self, store: AsyncStore, queue: str, every: list[Lane], there: Collection[Lane]) -> None:
        """Store the declared limits of a queue, before its first claim."""
        functions = list(self._functions.values())
        limits = {one.name: one.limit for one in functions if one.limit is not None and one.limit.queue == queue}
        replaced = await drive(store, declare(every, limits, [one.name for one in functions], only=there))
        for name, others in replaced.items():
            log.warning(
                "limit.replaced queue=%s function=%s declares %s for %s; %s declared another limit there",
                queue,
                name,
                limits[name],
                limits[name].place,
                ", ".join(others),
            )
