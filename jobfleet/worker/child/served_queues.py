"""Which queues a worker serves: those that are configured, else those of its functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.functions.registry import JobFunction
from jobfleet.model import check_queue
from jobfleet.services.duties.pause_sync import catch_up
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.journal import follow
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.worker.ipc.kinds import DEFAULT


class ServedQueues:
    """The queues of one worker process; functions may be registered while it runs.

    Args:
        functions: The registered functions, by name.
        chosen: The configured queues; empty to serve the queues of the functions.
        plain: Returns how many functions it runs that are not registered. They belong to ``default``.

    Attributes:
        queues: The queues that it serves, in the order in which it serves them.

    Raises:
        InvalidJob: The name of a chosen queue is not valid.
    """

    def __init__(
        self,
        functions: Mapping[str, JobFunction[..., Any, Any]],
        *,
        chosen: Iterable[str] = (),
        plain: Callable[[], int] = lambda: 0,
    ) -> None:
        self._functions = functions
        self._chosen = [check_queue(name) for name in chosen]
        self._plain = plain
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
        """Open the queues. Returns their lanes, in the order of the queues.

        Args:
            store: The connection to Redis.
            keys: The fleet's keys.
            config: Has the number of lanes of a new queue, and the maximal number of queues.

        Raises:
            ConfigError: There are too many queues.
        """
        lanes: list[Lane] = []
        for queue in self.queues:
            opened = await store.run(open_queue(keys, queue, config.lanes.get(queue, 1), most=config.max_queues))
            lanes += [keys.lane(queue, index) for index in range(opened.lanes)]
        await catch_up(store, keys, lanes)
        await follow(store, keys, lanes)
        return lanes
