"""Which queues a worker serves: those that are configured, else those of its functions; and their declared limits."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.functions.declared_limit import check_declared
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


class ServedQueues:
    """The queues of one worker process; functions may be registered while it runs.

    Args:
        functions: The registered functions, by name.
        chosen: The configured queues; empty to serve the queues of the functions.
        plain: Returns how many functions it runs that are not registered. They belong to ``default``.
        declares: Whether it stores the limits that the functions declare.

    Attributes:
        queues: The queues that it serves, in the order in which it serves them.

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
        self.queues: list[str] = []
        self.look()

    def look(self) -> bool:
        """Update the queues. Returns whether functions were added since the last call."""
        seen = (len(self._functions), self._plain())
        if seen == self._seen:
            return False
        self._seen = seen
        own = [str(function.given.get("queue") or DEFAULT) for function in list(self._functions.values())]
        self.queues = list(dict.fromkeys(self._chosen or [*own, *([DEFAULT] if seen[1] else [])]))
        return True

    async def lanes(self, store: AsyncStore, keys: Keyspace, config: JobConfig) -> list[Lane]:
        """Open the queues, and store their declared limits. Returns their lanes, in the order of the queues.

        Args:
            store: The connection to Redis.
            keys: The fleet's keys.
            config: Has the number of lanes of a new queue, and the maximal number of queues.

        Raises:
            ConfigError: There are too many queues, or a declared limit cannot apply to its queue.
        """
        lanes: list[Lane] = []
        for queue in self.queues:
            opened = await store.run(open_queue(keys, queue, config.lanes.get(queue, 1), most=config.max_queues))
            every = [keys.lane(queue, index) for index in range(opened.lanes)]
            if self._declares:
                await self._declare(store, queue, every)
            lanes += every
        await catch_up(store, keys, lanes)
        await follow(store, keys, lanes)
        return lanes

    async def _declare(self, store: AsyncStore, queue: str, every: list[Lane]) -> None:
        """Store the declared limits of a queue, before its first claim."""
        functions = list(self._functions.values())
        limits = {one.name: one.limit for one in functions if one.limit is not None and one.limit.queue == queue}
        replaced = await drive(store, declare(every, limits, [one.name for one in functions]))
        for name, others in replaced.items():
            log.warning(
                "limit.replaced queue=%s function=%s declares %s for %s; %s declared another limit there",
                queue,
                name,
                limits[name],
                limits[name].place,
                ", ".join(others),
            )
