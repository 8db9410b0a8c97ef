"""Durability on a cluster: each node that jobs go to confirms them, and a slot that moves proves nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from functools import partial

import pytest
import redis

from jobfleet import AsyncFleet, DurabilityUncertain, Fleet, Job, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.store.call import KnownHeirs
from jobfleet.store.keys import Keyspace
from tests.client.either import Either
from tests.support.cluster import NODE_TIMEOUT_MS, ClusterServers, Node, moved_back
from tests.support.waiting import await_until, wait_until

LANES = 6
KEYS = Keyspace("jobfleet")
SHORT = 0.2


@pytest.fixture(scope="module")
def six() -> Iterator[ClusterServers]:
    with ClusterServers("--appendonly", "yes", "--appendfsync", "always") as made:
        yield made


@pytest.fixture
def cluster(six: ClusterServers) -> ClusterServers:
    """The cluster, emptied, with all replicas in step."""
    six.flush()
    return six.await_whole()


@pytest.fixture(params=[Fleet, AsyncFleet])
async def producer(
    request: pytest.FixtureRequest, cluster: ClusterServers, registry: Registry
) -> AsyncIterator[Either]:
    producer = Either(request.param(cluster.url, registry=registry, lanes={"wide": LANES}, durability_timeout=SHORT))
    yield producer
    await producer.close()


def job(number: int, queue: str = "wide", level: str = "replicated") -> Job[int]:
    return Job("Sum", "app.add", (number, 2), queue=queue, id=f"n{number}", durability=level)  # type: ignore[arg-type]


async def confirmed(producer: Either, job: Job[int]) -> None:
    """A busy machine may confirm a job later than within `SHORT`; then it is repeated, as the error says."""

    async def is_confirmed() -> bool:
        try:
            return bool((await producer("submit", job)).durability == "replicated")
        except DurabilityUncertain:
            return False

    await await_until(is_confirmed, why="all replicas have confirmed the job")


def replica_of(cluster: ClusterServers, key: str) -> Node:
    primary = cluster.owner(key)
    row = next(row for row in cluster.living.asked("CLUSTER SLOTS") if row[2][1] == primary.port)
    return cluster.at(row[3][1])


def has(replica: Node, key: str) -> bool:
    with redis.Redis.from_url(replica.direct, single_connection_client=True) as raw:
        raw.readonly()
        return bool(raw.exists(key))


@pytest.mark.filterwarnings("ignore:The server took")  # its disk may be slow
@pytest.mark.parametrize("level", ["replicated", "fsync"])
async def test_all_nodes_confirm_a_batch(producer: Either, cluster: ClusterServers, level: str) -> None:
    receipts = await producer.all("enqueue_many", [job(number, level=level) for number in range(60)])

    assert {(one.created, one.durability, one.error) for one in receipts} == {(True, level, None)}
    for receipt in receipts if level == "replicated" else ():
        key = KEYS.lane_of(receipt.id).job(receipt.id)
        assert has(replica_of(cluster, key), key)


async def test_a_node_whose_replica_hears_nothing_confirms_nothing(producer: Either, cluster: ClusterServers) -> None:
    for number, queue in enumerate(("mail", "default")):
        await confirmed(producer, job(number, queue))
    silent = replica_of(cluster, KEYS.lane("mail", 0).lane)
    assert silent is not replica_of(cluster, KEYS.lane("default", 0).lane)
    silent.pause()
    try:
        with pytest.raises(DurabilityUncertain):
            await producer("submit", job(7, "mail"))
        await confirmed(producer, job(8, "default"))
        receipts = await producer.all("enqueue_many", [job(9, "default"), job(10, "mail")])
        assert {type(one.error) for one in receipts} == {DurabilityUncertain}
        with pytest.raises(DurabilityUncertain):
            await producer("submit", job(7, "mail"))  # it is there, and this writes nothing but the mark
    finally:
        silent.resume()

    wait_until(partial(cluster.await_whole), why="the replica is back")
    await confirmed(producer, job(7, "mail"))


async def test_a_wait_at_the_node_that_a_slot_has_left_confirms_nothing(
    producer: Either, cluster: ClusterServers
) -> None:
    await producer("submit", job(1, "mail"))
    key = KEYS.lane("mail", 0).lane
    owner = cluster.owner(key)
    target = next(node for node in cluster.nodes if node.is_primary and node is not owner)
    with moved_back(cluster, key, target) as migration:
        migration.run()
        before = waits_at(target)

        receipt = await producer("submit", job(2, "mail"))  # the client has the old map

        assert receipt.durability == "replicated"
        assert waits_at(target) > before


def test_the_ending_of_a_durable_job_is_confirmed_by_its_node(cluster: ClusterServers, registry: Registry) -> None:
    with Fleet(cluster.url, registry=registry) as fleet:
        fleet.enqueue(job(1, "default"))
        owner = cluster.owner(KEYS.lane("default", 0).lane)
        before = waits_at(owner)

        fleet.run_worker(burst=True)

        ended = fleet.poll("default.0.n1")
        assert ended is not None
        assert ended.status is JobStatus.COMPLETED
        assert waits_at(owner) > before


def waits_at(node: Node) -> int:
    lines = str(node.asked("INFO", "commandstats")).splitlines()
    found = next((line for line in lines if line.startswith("cmdstat_wait:")), "calls=0,")
    return int(found.partition("calls=")[2].partition(",")[0])


@pytest.mark.first(1)
@pytest.mark.parametrize("kind", [Fleet, AsyncFleet])
async def test_each_replica_of_a_node_confirms_until_the_cluster_holds_it_for_failed(
    registry: Registry, kind: type[Fleet | AsyncFleet]
) -> None:
    with ClusterServers(primaries=1, replicas=2) as three:
        producer = Either(kind(three.url, registry=registry, durability_timeout=SHORT))
        receipt = await producer("submit", job(1, "mail"))
        assert all(has(node, KEYS.lane_of(receipt.id).job(receipt.id)) for node in three.nodes[1:])
        three.nodes[0].asked("CONFIG SET", "cluster-node-timeout", 60_000)
        three.nodes[1].pause()

        with pytest.raises(DurabilityUncertain):  # the other replica has it
            await producer("submit", job(2, "mail"))
        three.nodes[0].asked("CONFIG SET", "cluster-node-timeout", NODE_TIMEOUT_MS)
        wait_until(lambda: len(three.nodes[0].asked("CLUSTER SLOTS")[0]) == 4, timeout=30, why="it counts as failed")
        producer.fleet.store.heirs = KnownHeirs()  # ask now
        receipt = await producer("submit", job(2, "mail"))
        three.nodes[1].resume()
        await producer.close()

        assert (receipt.created, receipt.durability) == (False, "replicated")
