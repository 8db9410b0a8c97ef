"""A claimer alone on a real server, whose link is watched, and keeps or loses answers if it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from jobfleet import Fleet
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Command
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.records import Claimed
from jobfleet.store.script import load
from jobfleet.worker.child.claimer import Claimer
from tests.support.run_events import QuietEvents
from tests.support.waiting import await_until

CHILD = "w.1"
LANE, OTHER = (Keyspace("jobfleet").lane(queue, 0) for queue in ("default", "other"))


class WatchedLink(AsyncSocketLink):
    """Remembers which claims were sent, and keeps or loses the answers to waits if it is told to."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.waits: list[list[Command]] = []
        self.claims: list[tuple[int, int]] = []
        """Nonce and limit of those that went alone."""
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.may_exchange = asyncio.Event()
        self.may_exchange.set()
        self.is_lossy = False
        self.refusal: ResponseError | None = None

    @property
    def claims_with_waits(self) -> list[tuple[int, int]]:
        return [asked(wait[1]) for wait in self.waits if len(wait) > 1]

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        self.claims += [asked(command) for command in commands if command[1:2] == (load("claim").sha,)]
        await self.may_exchange.wait()
        return await super().exchange(commands)

    async def block(self, commands: Sequence[Command], timeout: float) -> list[Any]:
        self.waits.append(list(commands))
        replies = await super().block(commands, timeout)
        await self.may_answer.wait()
        if self.refusal is not None:
            return [self.refusal, *replies[1:]]
        return [RedisConnectionError("Connection reset by peer.")] * len(replies) if self.is_lossy else replies


def asked(command: Command) -> tuple[int, int]:
    nonce, limit = command[int(command[2]) + 5], command[int(command[2]) + 7]
    return int(nonce), int(limit)


class Scene(QuietEvents):
    """A claimer with so many slots, warm and waiting, and its server."""

    def __init__(self, fleet: Fleet, registry: Registry, raw: redis.Redis, *, slots: int) -> None:
        self.fleet, self.raw, self.slots = fleet, raw, slots
        self.link = WatchedLink(fleet.store.at, connect_timeout=5.0, socket_timeout=5.0)
        self.store = AsyncStore(fleet.store.at, link=self.link, patience=None)
        self.function: JobFunction[..., Any, Any] = registry.register(lambda: None, name="test.none", fleet=fleet)
        self.taken: list[str] = []
        self.untils: list[float] = []
        self.was_buried = False
        self.fault: Exception | None = None
        self.claimer = Claimer(
            self.store,
            replace(fleet.config, lease=60.0),  # so that a wait lasts longer than any test needs
            child=CHILD,
            free=lambda: self.slots - len(self.taken),
            events=self,
        )

    def admitted(self, lane: Lane, claimed: Claimed, until: float) -> None:
        """Take the jobs, or fail."""
        if self.fault is not None and claimed.grants:
            fault, self.fault = self.fault, None
            raise fault
        self.taken += [grant.id for grant in claimed.grants]
        self.untils += [until for _ in claimed.grants]

    def buried(self) -> None:
        """Remember it."""
        self.was_buried = True

    async def enqueue(self, queue: str = "default") -> str:
        return (await asyncio.to_thread(self.function.options(queue=queue).enqueue)).id

    async def until(self, condition: Any, why: str) -> None:
        async def holds() -> bool:
            return bool(condition())

        await await_until(holds, timeout=30, why=why)

    async def start(self) -> None:
        """Bring it to its first wait, which is a long one, for the marker alone."""
        self.claimer.serve((LANE,))
        self.claimer.start()
        await self.until(self.is_blocking, why="it waits")

    async def warm_up(self) -> None:
        """Bring it to a wait that has its claim with it, as a first job does."""
        await self.start()
        await self.enqueue()
        await self.until(lambda: len(self.link.waits) == 2 and self.is_blocking(), why="it waits with a claim")

    def blocking(self) -> list[str]:
        return [client["id"] for client in self.raw.client_list() if client["cmd"] == "bzpopmin"]

    def is_blocking(self) -> bool:
        return bool(self.blocking())

    def leased(self) -> list[str]:
        found: Any = self.raw.zrange(LANE.lease, 0, -1)
        return [job_id.decode() for job_id in found]
