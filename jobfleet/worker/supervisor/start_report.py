"""What a worker prints while it starts: that it waits, and one block about what it serves."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.errors import JobfleetError
from jobfleet.functions.manifest import read_cron, read_function, read_limit
from jobfleet.model.option_types import FAST
from jobfleet.model.templates import EVERY_GROUP
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import is_unguarded
from jobfleet.store.calls.presence import attendants
from jobfleet.store.connect import ASKED, info_of
from jobfleet.store.keys import Keyspace
from jobfleet.worker.ipc.protocol import DEFAULT, IDLE

log = logging.getLogger("jobfleet.worker")
SLOW_CONNECT = 1.0
"""Seconds of connecting after which one line is printed."""
SLOW_IMPORT = 10.0
"""Seconds of importing after which one line is printed."""
IMPORTS = ("importing", "loaded")
"""What a child reports about its imports."""
SHOWN = 20
"""The number of functions that the block names."""
UNGUARDED = (
    "redis.unguarded url=%s accepts jobs without its replicas: a primary that is cut off continues, and a failover"
    " loses them; set min-replicas-to-write 1 and min-replicas-max-lag 2 on all nodes, or use durability='replicated'"
)
NO_REAPER = "none seen: nobody deletes old data, archives or notifies until a 'jobfleet reaper' runs"


class StartReport:
    """Prints the start of a worker, once.

    Args:
        config: The settings.
        worker: The worker's id.
        modules: The modules that its children load.
        url: The masked URL of Redis.
    """

    def __init__(self, config: JobConfig, worker: str, modules: Sequence[str], url: str) -> None:
        self._config = config
        self._worker = worker
        self._modules = modules
        self._url = url
        self._importing = ""
        self._counts: Mapping[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_done = False

    def connecting(self) -> None:
        """The worker begins to connect."""
        self._wait(SLOW_CONNECT, self._say_connecting)

    def starting(self) -> None:
        """The first children are started."""
        self._wait(SLOW_IMPORT, self._say_importing)

    def hear(self, word: str, what: Any) -> None:
        """A child begins to import a module (``importing``), or has imported all of them (``loaded``).

        Args:
            word: One of `IMPORTS`.
            what: The module, or the number of job functions by module.
        """
        if word == "importing":
            self._importing = what
        else:
            self._counts = what
            self.stop_waiting()

    def stop_waiting(self) -> None:
        """Print no line about waiting any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def ready(self, functions: Mapping[str, bytes], queues: Sequence[str], store: AsyncStore) -> None:
        """Print the block, when the first child is ready.

        Args:
            functions: The published records by function.
            queues: The queues that the worker serves.
            store: The connection to Redis.
        """
        if self._is_done:
            return
        self._is_done = True
        self.stop_waiting()
        server, reaper = await self._look(store)
        names = {"hosted": "hosted by this worker", "seen": "a live reaper was seen", "none": NO_REAPER}
        block = [
            ("modules", [", ".join(self._counts) or ", ".join(self._modules)]),
            ("functions", _functions(functions)),
            ("queues", [", ".join(queues) or "none", *_unserved(functions, queues)]),
            ("slots", [f"{self._config.slots} per process; processes: {self._config.processes}"]),
            ("Redis", [f"{self._url} ({server})" if server else self._url]),
            ("reaper", [names[reaper]]),
        ]
        lines = [f"{title if not at else '':<9}  {line}" for title, rows in block for at, line in enumerate(rows)]
        log.info(
            "worker.started worker=%s children=%d slots=%d modules=%s functions=%d queues=%s server=%s reaper=%s"
            " url=%s",
            self._worker,
            self._config.processes,
            self._config.slots,
            ",".join(self._modules),
            len(functions),
            ",".join(queues),
            server.replace(" ", "-"),
            reaper,
            self._url,
            extra={"_shown": "\n".join([f"Worker {self._worker} is ready.", *lines])},
        )
        if not queues:
            log.warning(IDLE)
            return  # a line per module would say the same
        for module, count in self._counts.items():
            is_integration = module.startswith("jobfleet.contrib.")  # it loads the modules that have jobs
            if not count and not is_integration and not self._config.allow_undecorated:
                log.warning("module.empty module=%s registers no job function of its own: is @job missing?", module)
        for queue, meant in misspelt(functions, queues).items():
            log.warning("queue.unused queue=%s no function of this worker goes to it; did you mean %r?", queue, meant)

    async def _look(self, store: AsyncStore) -> tuple[str, str]:
        """Return the name and version of the server, and whether a reaper is hosted, was seen, or was not."""
        server, reaper = "", "hosted" if self._config.with_reaper else "none"
        try:
            (reply,) = await store.repeat(lambda: [ASKED])
            info = info_of(reply) if isinstance(reply, bytes) else {}
            name = "Valkey" if info.get("valkey_version") else "Redis"
            if self._config.fails_over and self._config.durability == FAST and is_unguarded(info):
                log.warning(UNGUARDED, self._url)
            server = f"{name} {info.get('valkey_version') or info.get('redis_version', '')}".strip()
            if reaper == "none":
                found = await store.run(attendants(Keyspace.of(self._config)))
                gone_us = round(self._config.gone_after * 1e6)
                if any(one.role == "reaper" and one.silent <= gone_us for one in found):
                    reaper = "seen"
        except JobfleetError as error:
            log.debug("worker.unsure about its server: %s", error)
        return server, reaper

    def _wait(self, seconds: float, say: Callable[[], None]) -> None:
        self.stop_waiting()
        self._timer = asyncio.get_running_loop().call_later(seconds, say)

    def _say_connecting(self) -> None:
        log.info("redis.connecting url=%s gives up after %gs", self._url, self._config.patience)

    def _say_importing(self) -> None:
        module = self._importing or ",".join(self._modules)
        log.warning(
            "module.slow module=%s its import has taken %gs so far; 'kill -USR1' of this worker logs the stacks",
            module,
            SLOW_IMPORT,
        )


def misspelt(functions: Mapping[str, bytes], queues: Sequence[str]) -> dict[str, str]:
    """Return the served queues that none of the functions names, each with a similar one that a function names."""
    named = _queues_of(functions)
    unserved = named.difference(queues)
    if not unserved:
        return {}
    from jobfleet.model.names import similar_queue  # for those who misspell

    found = {queue: similar_queue(queue, unserved) for queue in queues if queue not in named}
    return {queue: meant for queue, meant in found.items() if meant is not None}


def _unserved(functions: Mapping[str, bytes], queues: Sequence[str]) -> list[str]:
    """The row about functions of which none goes to a served queue by itself; a producer may choose the queue."""
    named = _queues_of(functions)
    if not queues or named <= {DEFAULT} or not named.isdisjoint(queues):
        return []
    return [f"none of the functions goes there by itself: they go to {', '.join(sorted(named))}"]


def _queues_of(functions: Mapping[str, bytes]) -> set[str]:
    return {str(read_function(record).get("queue") or DEFAULT) for record in functions.values()}


def _functions(functions: Mapping[str, bytes]) -> list[str]:
    rows = []
    wide = max((len(name) for name in functions), default=0)
    for name, record in sorted(functions.items())[:SHOWN]:
        row = f"{name:<{min(wide, 40)}}  queue {read_function(record).get('queue') or DEFAULT}"
        if (cron := read_cron(record)) is not None:
            row += f", cron {cron.get('expression')} ({cron.get('tz')})"
        if (limit := read_limit(record)) is not None:
            row += f", {limit}{' per group' if limit.group == EVERY_GROUP else ''}"
        rows.append(row)
    if len(functions) > SHOWN:
        rows.append(f"… and {len(functions) - SHOWN} more")
    return rows or ["none"]
