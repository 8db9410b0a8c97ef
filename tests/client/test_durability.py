"""Durability levels: what a receipt promises, and what happens if the server cannot confirm it."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import redis

from jobfleet import (
    AsyncFleet,
    DurabilityUnavailable,
    DurabilityUncertain,
    Fleet,
    Flow,
    InvalidJob,
    Job,
    StoreUnavailable,
)
from jobfleet.codec import read_header
from jobfleet.functions.registry import Registry
from jobfleet.model import JobStatus
from jobfleet.store.keys import Keyspace
from tests.client.either import Either, finished
from tests.support.replicated import ReplicatedServer
from tests.support.server import ClusterNode, RedisServer
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)
SHORT = 0.1
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
OTHER = "app.other"


def job(number: object = "1", **options: Any) -> Job[Any]:
    return Job("Sum", "app.add", (1, 2), id=f"n{number}", **options)


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
async def producer(servers: ReplicatedServer, registry: Registry) -> AsyncIterator[Either]:
    producer = Either(AsyncFleet(servers.url, registry=registry))
    yield producer
    await producer.close()


@pytest.fixture
async def hasty(producer: Either, registry: Registry) -> AsyncIterator[Either]:
    """A client that soon gives up waiting for a confirmation."""
    hasty = Either(type(producer.fleet)(producer.fleet.config.url, registry=registry, durability_timeout=SHORT))
    yield hasty
    await hasty.close()


async def test_a_fast_job_asks_the_server_for_nothing(producer: Either, servers: ReplicatedServer) -> None:
    before = servers.calls("wait")

    receipt = await producer("submit", job())
    receipts = await producer.all("enqueue_many", [job(2), job(3)])

    assert [one.durability for one in (receipt, *receipts)] == ["fast"] * 3
    assert servers.calls("wait") == before
    assert not servers.raw.exists(LANE.barrier)


async def test_the_receipt_of_a_replicated_job_says_so(producer: Either, servers: ReplicatedServer) -> None:
    await producer("submit", job(0, durability="replicated"))  # the server learns the scripts
    before = servers.calls("wait")

    receipt = await producer("submit", job(durability="replicated"))

    assert (receipt.id, receipt.created, receipt.durability) == ("default.0.n1", True, "replicated")
    assert servers.replica.client().exists(LANE.job(receipt.id))
    assert servers.calls("wait") == before + 1


async def test_a_chunk_of_many_jobs_waits_once(producer: Either, servers: ReplicatedServer) -> None:
    await producer("enqueue", job(0, durability="replicated"))
    before = servers.calls("wait")
    jobs = [job(number, durability="replicated") for number in range(1, 401)]

    receipts = await producer.all("enqueue_many", jobs, chunk=200)

    assert {(one.created, one.durability, one.error) for one in receipts} == {(True, "replicated", None)}
    assert servers.calls("wait") == before + 2


async def test_jobs_that_are_enqueued_side_by_side_share_their_waits(servers: ReplicatedServer) -> None:
    async with AsyncFleet(servers.url, durability="replicated") as fleet:
        await fleet.enqueue(Job("x", OTHER))
        before = servers.calls("wait")

        receipts = await asyncio.gather(*[fleet.submit(Job("x", OTHER)) for _ in range(60)])

    assert {one.durability for one in receipts} == {"replicated"}
    assert servers.calls("wait") - before <= 3


async def test_a_replica_that_does_not_confirm_makes_the_outcome_uncertain(
    producer: Either, hasty: Either, servers: ReplicatedServer
) -> None:
    servers.replica.pause()
    wanted = job(durability="replicated")

    for _ in range(2):  # the repetition writes nothing, and must not be confirmed for it
        with pytest.raises(DurabilityUncertain) as caught:
            await hasty("enqueue", wanted)
        assert caught.value.job_id == "default.0.n1"
    async with AsyncFleet(servers.url, durability_timeout=SHORT) as other:  # its connection has written nothing yet
        with pytest.raises(DurabilityUncertain):
            await other.enqueue(Job("Sum", OTHER, id="n1", durability="replicated"))
    (many,) = await hasty.all("enqueue_many", [wanted])
    servers.replica.resume()
    receipt = await producer("submit", wanted)

    assert isinstance(many.error, DurabilityUncertain)
    assert (receipt.created, receipt.durability) == (False, "replicated")
    assert servers.raw.zcard(LANE.ready[2]) == 1
    assert servers.replica.client().zcard(LANE.ready[2]) == 1


async def test_only_the_durable_jobs_of_a_chunk_are_uncertain(hasty: Either, servers: ReplicatedServer) -> None:
    servers.replica.pause()

    receipts = await hasty.all("enqueue_many", [job(1), job(2, durability="replicated"), job(3, priority=2)])

    assert [type(one.error) for one in receipts] == [type(None), DurabilityUncertain, type(None)]
    assert [one.durability for one in receipts] == ["fast"] * 3
    assert "default.0.n2" in str(receipts[1].error)


async def test_many_at_once_are_each_uncertain(servers: ReplicatedServer) -> None:
    async with AsyncFleet(servers.url, durability_timeout=SHORT) as fleet:
        servers.replica.pause()
        jobs = [Job("x", OTHER, durability="replicated", id=f"n{number}") for number in range(5)]

        done = await asyncio.gather(*map(fleet.enqueue, jobs), return_exceptions=True)

    assert [one.job_id for one in done if isinstance(one, DurabilityUncertain)] == [f"default.0.n{n}" for n in range(5)]


async def test_a_job_that_waits_and_a_flow_have_their_level(
    producer: Either, hasty: Either, servers: ReplicatedServer
) -> None:
    parent = await producer("submit", job(0, durability="replicated"))
    flow, other = Flow("f"), Flow("g")
    flow.add(job(1, durability="replicated"))
    other.add(job(2, durability="replicated"))
    child = await producer("submit", job(3, depends_on=[parent.id], durability="replicated"))
    called = await producer("submit", job(4, on_success=Job("Done", "app.add", (1, 2)), durability="replicated"))
    await finished(producer.fleet.flows.enqueue, flow)
    assert (child.status, child.durability, called.durability) == (JobStatus.BLOCKED, "replicated", "replicated")
    assert servers.replica.client().exists(*(LANE.job(f"default.0.n{number}") for number in (1, 3, 4))) == 3
    servers.replica.pause()

    more: tuple[dict[str, Any], ...] = ({"depends_on": [parent.id]}, {"on_failure": Job("Done", "app.add", (1, 2))})
    for options in more:
        with pytest.raises(DurabilityUncertain):
            await hasty("submit", job(len(options), durability="replicated", **options))
    with pytest.raises(DurabilityUncertain):
        await finished(hasty.fleet.flows.enqueue, other)


async def test_the_holder_of_a_unique_key_is_confirmed_too(
    producer: Either, hasty: Either, servers: ReplicatedServer
) -> None:
    await producer("submit", job(1, unique="k"))

    kept = await producer("submit", job(2, unique="k", durability="replicated"))
    replaced = await producer("submit", job(3, unique="k", on_conflict="replace", durability="replicated"))
    (many,) = await producer.all("enqueue_many", [job(4, unique="k", on_conflict="replace", durability="replicated")])

    assert [(one.id[-2:], one.durability) for one in (kept, replaced, many)] == [
        ("n1", "replicated"),
        ("n3", "replicated"),
        ("n4", "replicated"),
    ]
    servers.replica.pause()
    with pytest.raises(DurabilityUncertain):
        await hasty("submit", job(5, unique="k", on_conflict="replace", durability="replicated"))


@pytest.mark.not_on("cluster", "sentinel", reason="the primaries have replicas")
async def test_a_server_without_a_replica_refuses_before_it_writes(client: Either, raw: redis.Redis) -> None:
    for wanted, missing in (("replicated", "1 connected replica "), ("fsync", "append-only file")):
        with pytest.raises(DurabilityUnavailable, match=f"{missing}.*nothing was written"):
            await client("enqueue", job(durability=wanted))
        (receipt,) = await client.all("enqueue_many", [job(durability=wanted)])
        assert isinstance(receipt.error, DurabilityUnavailable)
        with pytest.raises(DurabilityUnavailable):
            await client("enqueue", job(durability=wanted, on_success=Job("Done", "app.add", (1, 2))))

    assert list(raw.scan_iter("*:ready:*")) == list(raw.scan_iter("*:job:*")) == []


def is_confirmed(fleet: Fleet) -> bool:
    try:
        fleet.enqueue(job(1, durability="replicated"))
    except DurabilityUncertain:
        return False
    return True


def test_a_replica_that_goes_is_missed(registry: Registry) -> None:
    with ReplicatedServer() as servers, Fleet(servers.url, registry=registry, durability_timeout=SHORT) as fleet:
        wait_until(lambda: is_confirmed(fleet), why="the replica confirms a job")
        servers.replica.kill()
        servers.await_replicas(0)
        with pytest.raises(DurabilityUncertain):  # it was there a moment ago
            fleet.enqueue(job(2, durability="replicated"))

        with pytest.raises(DurabilityUnavailable, match="the server has 0"):
            fleet.enqueue(job(3, durability="replicated"))

        assert not servers.raw.exists(LANE.job("default.0.n3"))


def test_a_job_in_memory_has_no_level(registry: Registry) -> None:
    with Fleet("memory://levels", registry=registry) as fleet:
        for level in ("replicated", "fsync"):
            with pytest.raises(DurabilityUnavailable, match="memory://"):
                fleet.enqueue(job(durability=level))


def test_a_node_of_a_cluster_without_replicas_has_no_level(registry: Registry) -> None:
    with ClusterNode() as node, Fleet(node.cluster_url, registry=registry) as fleet:
        assert fleet.submit(job(1)).durability == "fast"

        with pytest.raises(DurabilityUnavailable, match="the server has 0"):
            fleet.enqueue(job(2, durability="replicated"))

        assert not node.client().exists(LANE.job("default.0.n2"))


def test_the_whole_id_of_a_job_repeats_its_enqueue(redis_url: str, registry: Registry) -> None:
    """The id that an error, a receipt or a log has; in a queue whose lanes have grown, too."""
    with Fleet(redis_url, registry=registry, lanes="mail=2") as fleet:
        fleet.enqueue(Job("Sum", OTHER, queue="mail"))
    with Fleet(redis_url, registry=registry, lanes="mail=5") as fleet:
        first = [fleet.submit(Job("Sum", OTHER, queue="mail")) for _ in range(20)]

        again = [fleet.submit(Job("Sum", OTHER, queue="mail", id=one.id)) for one in first]

        assert len({one.id.split(".")[1] for one in first}) > 2
        assert [(one.id, one.created) for one in again] == [(one.id, False) for one in first]
        with pytest.raises(InvalidJob, match=r"id is 'mail\.9\.x', but this job goes to one of 5 lanes of mail"):
            fleet.enqueue(Job("Sum", OTHER, queue="mail", id="mail.9.x"))
        with pytest.raises(InvalidJob, match=r"one of 1 lanes of default"):
            fleet.enqueue(Job("Sum", OTHER, id=first[0].id))


@pytest.mark.filterwarnings("ignore:The server took")  # its disk may be slow
def test_a_durable_job_is_not_kept_in_a_buffer(registry: Registry) -> None:
    with (
        RedisServer("--appendonly", "yes", "--appendfsync", "always") as server,
        Fleet(server.url, registry=registry, patience=0.2, buffer=10) as fleet,
    ):
        assert fleet.submit(job(1, durability="fsync")).durability == "fsync"
        server.kill()

        with pytest.raises(StoreUnavailable, match="the server must confirm its durability"):
            fleet.enqueue(job(2, durability="fsync"))
        with (
            Fleet(server.url, registry=registry, patience=0.0, buffer=10, durability="fsync") as durable,
            pytest.raises(StoreUnavailable, match="the server must confirm its durability"),
        ):  # it has not read the queue
            durable.enqueue(Job("Sum", "app.add", (1, 2)))
        fleet.enqueue(job(3))
        (receipt,) = fleet.enqueue_many([job(4, durability="fsync")])

        assert "must confirm" in str(receipt.error)
        assert fleet.buffered == 1
        server.restart()
        wait_until(lambda: not fleet.buffered, why="the buffer is flushed")
        assert server.client().zcard(LANE.ready[2]) == 2


def test_more_replicas_can_be_asked_for(servers: ReplicatedServer) -> None:
    with (
        Fleet(servers.url, durability="replicated", durability_replicas=2) as fleet,
        pytest.raises(DurabilityUnavailable, match=r"needs 2 connected replicas .* the server has 1"),
    ):
        fleet.enqueue(Job("x", OTHER))


def test_fsync_waits_for_the_disk(registry: Registry) -> None:
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        fleet = Fleet(server.url, registry=registry)
        assert fleet.submit(job(1, durability="fsync")).durability == "fsync"
        (receipt,) = fleet.enqueue_many([job(2, durability="fsync")])
        assert receipt.durability == "fsync"
        fleet.close()
        server.kill()
        server.restart()

        assert server.client().zcard(LANE.ready[2]) == 2


def test_a_disk_that_is_never_synced_confirms_nothing(registry: Registry) -> None:
    with (
        RedisServer("--appendonly", "yes", "--appendfsync", "no") as server,
        Fleet(server.url, registry=registry, durability_timeout=SHORT) as fleet,
        pytest.raises(DurabilityUncertain, match="but the disk did not confirm it within"),
    ):
        fleet.enqueue(job(durability="fsync"))


def test_a_slow_disk_is_reported_once(registry: Registry) -> None:
    with (
        RedisServer("--appendonly", "yes", "--appendfsync", "everysec") as server,
        Fleet(server.url, registry=registry, durability="fsync") as fleet,
        warnings.catch_warnings(record=True) as caught,
    ):
        warnings.simplefilter("always")
        wait_until(lambda: fleet.submit(Job("Sum", "app.add", (1, 2))) and caught, why="a confirmation is slow")
        list(fleet.enqueue_many([Job("Sum", "app.add", (1, 2)) for _ in range(9)]))
        for _ in range(3):
            fleet.enqueue(Job("Sum", "app.add", (1, 2)))

    (warning,) = [str(one.message) for one in caught]
    assert warning.startswith("The server took ")
    assert "set appendfsync always" in warning


@pytest.mark.parametrize(
    ("of_job", "of_function", "of_queue", "of_fleet", "reached"),
    [
        ("fast", "replicated", "replicated", "replicated", "fast"),
        (None, "fast", "replicated", "replicated", "fast"),
        (None, None, "fast", "replicated", "fast"),
        (None, None, None, "replicated", "replicated"),
        (None, None, "replicated", "fast", "replicated"),
        (None, "replicated", "fast", "fast", "replicated"),
        ("replicated", "fast", "fast", "fast", "replicated"),
        (None, None, None, None, "fast"),
    ],
)
def test_the_job_precedes_its_function_which_precedes_its_queue_and_the_fleet(
    servers: ReplicatedServer, of_job: Any, of_function: Any, of_queue: Any, of_fleet: Any, reached: str
) -> None:
    registry = Registry()
    registry.register(lambda: None, name="app.f", durability=of_function)
    with Fleet(servers.url, registry=registry, durability=of_fleet) as fleet:
        fleet.set_durability("default", of_queue)

        receipt = fleet.submit(Job("x", "app.f", durability=of_job))
        (many,) = fleet.enqueue_many([Job("x", "app.f", durability=of_job)])

        assert (receipt.durability, many.durability) == (reached, reached)
        stored: Any = servers.raw.get(LANE.job(receipt.id))
    assert read_header(stored).get("durability", "fast") == reached


async def test_an_operator_sets_the_level_of_a_queue(producer: Either, servers: ReplicatedServer) -> None:
    assert await producer("set_durability", "default", "replicated") is True
    assert await producer("set_durability", "default", "replicated") is False
    assert (await producer("queues"))[0].durability == "replicated"
    assert (await producer("submit", job(1))).durability == "replicated"
    async with AsyncFleet(servers.url) as other:
        assert (await other.submit(Job("x", OTHER))).durability == "replicated"

    assert await producer("set_durability", "default", None) is True

    assert (await producer("queues"))[0].durability is None
    assert (await producer("submit", job(2))).durability == "fast"
    with pytest.raises(InvalidJob) as caught:
        await producer("set_durability", "default", "eager")
    assert str(caught.value) == "durability is 'eager'; use 'fast', 'replicated' or 'fsync'."
