"""The endings of durable jobs: replicas confirm them, and a failover during the confirmation loses none."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from jobfleet import AsyncFleet, DurabilityUncertain, Fleet, Job, JobContext, JobStatus
from jobfleet.codec import seal_record
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.services.confirmations import Confirmations
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Command
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.settle import complete
from jobfleet.store.keys import Keyspace
from jobfleet.store.link.aio import AsyncSocketLink
from jobfleet.store.target import target
from jobfleet.worker.run.conclusion import Completer
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writer import RunWriter
from tests.support.replicated import ReplicatedServer
from tests.support.run_events import QuietEvents
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@pytest.fixture(scope="module")
def group() -> Iterator[ReplicatedServer]:
    with ReplicatedServer() as group:
        yield group


@pytest.fixture
def servers(group: ReplicatedServer) -> Iterator[ReplicatedServer]:
    group.primary.flush()
    yield group
    group.replica.resume()


@pytest.fixture
def patient(servers: ReplicatedServer, registry: Registry) -> Iterator[Fleet]:
    registry.register(lambda: "done", name="app.done")
    with Fleet(servers.url, registry=registry, durability_timeout=0.1) as fleet:
        yield fleet


def ended(fleet: Fleet, *levels: Any) -> list[JobStatus]:
    """Run one job per level, which is written without a confirmation, and return how they ended."""
    fleet.context.ignores_levels = True
    ids = [fleet.enqueue(Job("x", "app.done", durability=level)) for level in levels]
    fleet.context.ignores_levels = False
    fleet.run_worker(burst=True)
    return [fleet.poll(job_id).status for job_id in ids]


def test_the_ending_of_a_durable_job_is_confirmed(patient: Fleet, servers: ReplicatedServer) -> None:
    before = servers.calls("wait")
    assert ended(patient, "fast", None) == [JobStatus.COMPLETED] * 2
    assert servers.calls("wait") == before

    assert ended(patient, "replicated") == [JobStatus.COMPLETED]

    assert servers.calls("wait") > before


def test_an_ending_that_is_not_confirmed_counts_and_is_logged_once(
    patient: Fleet, servers: ReplicatedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.worker")
    servers.replica.pause()

    assert ended(patient, "replicated") == [JobStatus.COMPLETED]

    (line,) = [record.getMessage() for record in caplog.records if "redis.uncertain" in record.getMessage()]
    assert "level=replicated" in line
    assert "the ending of default.0." in line


async def test_the_next_waits_are_short_until_a_confirmation_comes(
    servers: ReplicatedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.probe")
    link = Heard(servers.url)
    store = AsyncStore(target(servers.url), link=link)
    confirmations = Confirmations(store, JobConfig(durability_timeout=0.1), logging.getLogger("jobfleet.probe"))
    await confirmations.run_many(LANE, (), {"replicated"}, what="the probe")  # the server learns the script
    link.waits.clear()
    servers.replica.pause()
    for _ in range(3):
        await confirmations.run_many(LANE, (), {"replicated"}, what="the probe")
    servers.replica.resume()
    while not any("redis.confirmed" in record.getMessage() for record in caplog.records):
        await confirmations.run_many(LANE, (), {"replicated"}, what="the probe")
    await confirmations.run_many(LANE, (), {"replicated"}, what="the probe")
    await store.close()

    assert [wait[2] for wait in link.waits[:3]] == [100, 1, 1]
    assert link.waits[-1][2] == 100
    assert [record.getMessage().split()[0] for record in caplog.records] == ["redis.uncertain", "redis.confirmed"]


class Heard(AsyncSocketLink):
    """A link that remembers the waits that it sends."""

    def __init__(self, url: str) -> None:
        super().__init__(target(url), connect_timeout=5.0, socket_timeout=5.0)
        self.waits: list[Command] = []

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands in one pipeline."""
        self.waits += [command for command in commands if command[0] == "WAIT"]
        return await super().exchange(commands)


class Failover(AsyncSocketLink):
    """A link that loses its primary in the first wait, and leads to the promoted replica from then on."""

    def __init__(self, servers: ReplicatedServer) -> None:
        super().__init__(target(servers.url), connect_timeout=5.0, socket_timeout=12.0)
        self.servers = servers
        self.heir: AsyncSocketLink | None = None

    async def exchange(self, commands: Sequence[Command]) -> list[Any]:
        """Send commands; in the first wait, the primary dies."""
        if self.heir is not None:
            return await self.heir.exchange(commands)
        names = [command[0] for command in commands]
        if "WAIT" not in names:
            return await super().exchange(commands)
        replies = await super().exchange(commands[: names.index("WAIT")])
        self.servers.promote()
        self.heir = AsyncSocketLink(target(self.servers.replica.url), connect_timeout=5.0, socket_timeout=12.0)
        error = RedisConnectionError("Connection closed by server.")
        return replies + [error] * (len(commands) - len(replies))

    async def greet(self, *, leaves: bool) -> Mapping[str, str] | BaseException:
        """What the server of a new connection says of itself."""
        if self.heir is not None:
            return await self.heir.greet(leaves=leaves)
        return await super().greet(leaves=leaves)

    async def exchange_as_made(self, parts: Iterator[Sequence[Command]]) -> list[Any]:
        """Send commands; in the first wait, the primary dies."""
        return await self.exchange(list(chain.from_iterable(parts)))


async def test_an_ending_that_only_the_dead_primary_had_is_written_to_the_new_one() -> None:
    with ReplicatedServer() as servers:
        link = Failover(servers)
        store = AsyncStore(target(servers.url), link=link, patience=None)
        async with AsyncFleet(servers.url) as fleet:
            await fleet.enqueue(Job("x", "app.done"))
        (grant,) = (await store.run(claim(LANE, child="w.1", nonce=1, lease_us=60_000_000, limit=1))).grants
        wait_until(servers.confirms, why="the replica has the run")
        servers.link.silence()  # the replica will not hear of the ending
        # Within this time it must find the new primary, which has no replica to wait for.
        confirmations = Confirmations(
            store, JobConfig(durability_timeout=8.0, socket_timeout=12.0), logging.getLogger("jobfleet.probe")
        )
        completer = Completer(LANE, "w.1", store, progress_ttl_ms=1, events=QuietEvents(), confirmations=confirmations)
        run = Run(LANE, grant, 0, 0.0, cast(RunWriter, None))
        run.header = {"durability": "replicated"}
        record = seal_record({"function": "app.done"})

        try:
            completer.add(run, complete(grant.id, grant.token, record=record, ttl_ms=60_000, duration_us=1))
            assert await completer.drained(30.0)

            assert link.heir is not None
            assert servers.replica.client().exists(LANE.result(grant.id))
        finally:
            if link.heir is not None:
                await link.heir.close()
            await store.close()


def test_a_step_of_a_durable_job_is_used_once_it_is_confirmed(
    patient: Fleet, servers: ReplicatedServer, registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "jobfleet.worker")
    used: list[bool] = []

    def charge() -> int:
        servers.replica.pause()
        return 7

    async def pay(ctx: JobContext) -> int:
        charged = await ctx.step("charge", charge)
        used.append(is_back.is_set())
        return charged

    def is_uncertain() -> bool:
        return any("redis.uncertain" in one.getMessage() and "a step of" in one.getMessage() for one in caplog.records)

    def bring_back() -> None:
        wait_until(is_uncertain, why="the step is not confirmed")
        is_back.set()
        servers.replica.resume()

    is_back = threading.Event()
    registry.register(pay, name="app.pay")
    job_id = patient.enqueue(Job("x", "app.pay", durability="replicated"))
    rescuer = threading.Thread(target=bring_back)
    rescuer.start()
    patient.run_worker(burst=True)
    rescuer.join()

    ended = patient.poll(job_id)
    assert (ended.status, ended.result, ended.attempt, ended.retry_count) == (JobStatus.COMPLETED, 7, 1, 0)
    assert used == [True]


def test_a_place_of_a_durable_job_in_a_limit_is_confirmed(
    patient: Fleet, servers: ReplicatedServer, registry: Registry
) -> None:
    registry.register(lambda: 1, name="app.limited", limits=["api"])
    patient.limits.named("api", concurrency=1)
    waits: list[int] = []
    for function in ("app.done", "app.done", "app.limited", "app.limited"):  # the server learns the scripts first
        before = servers.calls("wait")
        patient.enqueue(Job("x", function, durability="replicated"))
        patient.run_worker(burst=True)
        waits.append(servers.calls("wait") - before)

    assert waits[3] == waits[1] + 1


def test_a_signal_is_acknowledged_once_it_is_confirmed(servers: ReplicatedServer, registry: Registry) -> None:
    registry.register(lambda: 1, name="app.wait")
    settings: dict[str, Any] = {"durability": "replicated", "durability_timeout": 0.1}
    with Fleet(servers.url, registry=registry, **settings) as fleet:
        job_id = fleet.enqueue(Job("x", "app.wait", delay=60))
        servers.replica.pause()
        with pytest.raises(DurabilityUncertain, match=r"The signal 'go' of .* was sent, but not confirmed"):
            fleet.signal(job_id, "go", 1)
        with pytest.raises(DurabilityUncertain):
            fleet.signal(job_id, "go", 1)
        servers.replica.resume()
        wait_until(servers.confirms, why="the replica is back")
        assert fleet.signal(job_id, "go", 1) is False  # the first one counts, and is confirmed now
