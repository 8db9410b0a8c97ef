"""Faults for real workers, chosen by a seed: SIGKILLs, lost replies, restarts of the server and failovers."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tests.support.fleet import LONG, Program, parent_of
from tests.support.processes import cells
from tests.support.proxy import Proxy
from tests.support.sentinel import SentinelServers
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

SCRIPT = "EVALSHA"
"""What the requests have whose replies are lost."""


@dataclass
class Havoc:
    """Breaks a fleet on purpose.

    Args:
        start: Starts a worker and waits until it is ready.
        seed: Of the choices.
        mark: Writes into the history that something happened to a process: what it writes after that does not count.
            It gets ``kill`` and the process, or ``restart`` or ``failover`` and 0.
        count: How many workers there are.
        proxy: Loses replies; it is between the workers and the server.
        server: Is killed and restarted.
        group: Its primary is killed, so that it fails over.

    Attributes:
        workers: Those that live.
        done: How often each fault was injected.
    """

    start: Callable[[], Program]
    seed: int
    mark: Callable[[str, int], None]
    count: int = 2
    proxy: Proxy | None = None
    server: RedisServer | None = None
    group: SentinelServers | None = None
    workers: list[Program] = field(init=False)
    done: Counter[str] = field(default_factory=Counter, init=False)
    _deck: list[str] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        """Start the workers."""
        self.dice = random.Random(self.seed)
        self.workers = [self.start() for _ in range(self.count)]

    def strike(self, *kinds: str) -> None:
        """Inject one of these: `child`, `cell`, `worker`, `reply`, `restart`, `failover`; none twice before all."""
        if not self._deck:
            self._deck = self.dice.sample(kinds, len(kinds))
        kind = self._deck.pop()
        getattr(self, f"_{kind}")()
        self.done[kind] += 1

    def _children(self) -> list[Program]:
        """The workers that have a child: one that was killed has to be replaced first."""
        return wait_until(
            lambda: [one for one in self.workers if one.children()], timeout=LONG, why="a worker has a child"
        )

    def _kill(self, *pids: int) -> None:
        for pid in pids:
            self.mark("kill", pid)
        for pid in pids:
            with suppress(ProcessLookupError):  # it has just ended by itself, or with its parent
                os.kill(pid, signal.SIGKILL)

    def _child(self) -> None:
        worker = self.dice.choice(self._children())
        if children := sorted(worker.children()):
            child = self.dice.choice(children)
            self._kill(child, *_descendants(worker, child))

    def _cell(self) -> None:
        if found := sorted(pid for worker in self.workers for pid in cells(worker)):
            self._kill(self.dice.choice(found))

    def _worker(self) -> None:
        worker = self.workers.pop(self.dice.randrange(len(self.workers)))
        self._kill(*worker.family())
        worker.close()
        self.workers.append(self.start())

    def _reply(self) -> None:
        if self.proxy is None:
            raise TypeError("this fault needs a proxy")
        lost = self.proxy.swallowed
        self.proxy.swallow(SCRIPT)
        wait_until(lambda: self.proxy and self.proxy.swallowed > lost, timeout=LONG, why="a reply is lost")

    def _restart(self) -> None:
        if self.server is None:
            raise TypeError("this fault needs a server")
        self.mark("restart", 0)
        self.server.kill()
        self.server.restart()

    def _failover(self) -> None:
        if self.group is None:
            raise TypeError("this fault needs Sentinels")
        (primary,) = wait_until(
            partial(_whole_primary, self.group.await_whole()),
            timeout=LONG,
            why="both replicas have what the primary has",
        )
        self.mark("failover", 0)
        primary.kill()
        self.group.await_other_primary(primary)
        primary.restart()


def _whole_primary(group: SentinelServers) -> list[RedisServer]:
    """The present primary, which a busy machine may change; none if a replica is not in step.

    One that still copies the data would lose more than the last moment.
    """
    primary = group.primary
    raw = primary.client()
    found: Any = raw.info("replication")
    raw.close()
    rows = [found.get(f"slave{number}", {"state": ""}) for number in range(2)]
    return [primary] if all(one["state"] == "online" and one["lag"] <= 1 for one in rows) else []


def _descendants(worker: Program, pid: int) -> list[int]:
    """The processes of a worker that a process of it has started, directly or not."""
    parents = {one: parent_of(one) for one in worker.family()}
    found, last = [pid], [pid]
    while last := [one for one, parent in parents.items() if parent in last]:
        found += last
    return found[1:]
