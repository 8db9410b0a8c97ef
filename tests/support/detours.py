"""How often jobs go to a child that cannot run them first, and how long that holds them up: a trial with many children.

All children run in this process, on one event loop; each has connections of its own, as in a process of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from random import Random
from time import monotonic
from typing import Literal, NamedTuple

from jobfleet.codec import seal
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Mute
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import enqueue, open_queue
from jobfleet.store.calls.presence import know
from jobfleet.store.channels import AsyncChannels
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Claimed, Entry, Known
from jobfleet.store.target import target
from jobfleet.worker.child.engine import Engine
from jobfleet.worker.ipc.lease_board import LeaseBoard, board_capacity
from jobfleet.worker.ipc.protocol import Kind, kind_of
from jobfleet.worker.run.handlers import Handlers

KEYS = Keyspace("detours")
LANE = KEYS.lane("default", 0)
GONE_US = 600_000_000
SLOTS = 10
SETTLED = 0.3
"""Seconds after which all children wait for jobs and the announcements are listened to."""
Heard = Literal["before", "now", "never"]
"""Before the first job; by an announcement on its way at the first job; not at all, where the announcement is lost."""


@dataclass(frozen=True)
class Detours:
    """What became of the jobs that one child of all knows.

    Attributes:
        detours: Of each job, how often a child claimed it that does not know its function.
        delays: Of each job, the seconds from its enqueue to its start.
    """

    detours: Sequence[int]
    delays: Sequence[float]

    @property
    def share(self) -> float:
        """The share of jobs that made a detour."""
        return sum(1 for count in self.detours if count) / len(self.detours)


def at_share(values: Sequence[float], share: float) -> float:
    """The value below which such a share of the values lies, or that is there."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Counted(Engine):
    """A child that counts what it claims."""

    claims: Counter[str]

    def admitted(self, lane: Lane, claimed: Claimed, until: float) -> None:
        """Count what was claimed."""
        self.claims.update(grant.id for grant in claimed.grants)
        super().admitted(lane, claimed, until)


class Child(NamedTuple):
    """A child, of what kind it is, and its connections."""

    worker: str
    engine: Engine
    kind: Kind
    store: AsyncStore


class Trial:
    """Some children that do not know a function, and one that does.

    Args:
        url: The server.
        blind: How many do not.
        seed: Of the order of the jobs.
    """

    def __init__(self, url: str, blind: int, *, seed: int) -> None:
        self._at = target(url)
        self._random = Random(seed)
        self._blind = blind
        self._claims: Counter[str] = Counter()
        self._started: dict[int, float] = {}
        self._stack = AsyncExitStack()

    def _connected(self) -> AsyncStore:
        store = AsyncStore(self._at, patience=None)
        self._stack.push_async_callback(store.close)
        return store

    def _child(self, number: int, function: str) -> Child:
        registry, config = Registry(), JobConfig(url=self._at.url, namespace=KEYS.namespace, slots=SLOTS, lease=30)

        async def run(job: int) -> None:
            self._started[job] = monotonic()

        registry.register(run, name=function)
        store = self._connected()
        engine = Counted(
            config,
            Handlers(registry, (), config),
            child=f"w{number}.1",
            board=LeaseBoard(None, board_capacity(SLOTS)),
            store=store,
            tally=Mute(),
        )
        engine.claims = self._claims
        kind = kind_of(registry.functions, [LANE.queue])
        engine.set_kind(kind)
        return Child(f"w{number}", engine, kind, store)

    async def _tell(self, child: Child) -> Known:
        told = child.kind.functions
        return await child.store.run(know(KEYS, child.worker, child.kind.id, gone_us=GONE_US, functions=told))

    async def _hear(self, children: Sequence[Child]) -> None:
        """Take announcements as supervisors do: with a sign of life, whose answer the children hear."""
        channels = AsyncChannels(self._at)
        channels.subscribe((KEYS.control,))
        self._stack.push_async_callback(channels.close)
        while True:
            if "kinds" in [message.text for message in await channels.read(5.0)]:
                for child, known in zip(children, await asyncio.gather(*map(self._tell, children)), strict=True):
                    child.engine.router.heard(known.kinds)

    async def run(self, jobs: int, *, heard: Heard, pause: float) -> Detours:
        """Enqueue jobs of both functions, in a random order, one after the other.

        Args:
            jobs: How many.
            heard: What the other children have heard of the child that knows the function.
            pause: Seconds between two jobs.
        """
        async with self._stack:
            store = self._connected()
            await store.run(open_queue(KEYS, LANE.queue, 1))
            rest = [self._child(number, "shop.blind") for number in range(self._blind)]
            knowing = self._child(self._blind, "shop.known")
            children = [*rest, knowing]
            for child in children if heard == "before" else rest:
                await self._tell(child)
            hearing = asyncio.ensure_future(self._hear(rest if heard == "now" else ()))
            await asyncio.gather(*(child.engine.router.look() for child in children))
            for child in children:
                child.engine.start((LANE,))
            await asyncio.sleep(SETTLED)
            if heard != "before":
                await self._tell(knowing)
            try:
                return await self._measure(store, jobs, pause)
            finally:
                hearing.cancel()
                await asyncio.wait((hearing,))
                await asyncio.gather(*(child.engine.drain(5.0) for child in children))

    async def _measure(self, store: AsyncStore, jobs: int, pause: float) -> Detours:
        functions = ("shop.known", "shop.blind")
        sent: dict[int, tuple[str, float]] = {}
        for number in range(jobs):
            function = self._random.choice(functions) if self._blind else functions[0]
            job_id = f"{LANE.id_prefix}job{number:06}"
            entry = Entry(job_id, 2, "", "", seal({"function": function}, [number]))
            if function == functions[0]:
                sent[number] = (job_id, monotonic())
            await store.run(enqueue(LANE, [entry]))
            await asyncio.sleep(pause)
        async with asyncio.timeout(60):
            while not sent.keys() <= self._started.keys():
                await asyncio.sleep(0.01)
        return Detours(
            [self._claims[job_id] - 1 for job_id, _ in sent.values()],
            [self._started[number] - at for number, (_, at) in sent.items()],
        )
