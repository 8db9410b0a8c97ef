"""Links to a real cluster: replies in order, redirections, nodes that do not reply."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import redis
from redis.crc import key_slot
from redis.exceptions import ClusterDownError, ResponseError, TryAgainError

from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError, StoreUnavailable
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, Command
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.link.cluster_aio import AsyncClusterLink
from jobfleet.store.link.cluster_sync import ClusterLink
from jobfleet.store.link.watched import install
from jobfleet.store.records import Entry
from jobfleet.store.sync import Store
from jobfleet.store.target import target, target_of
from tests.support.cluster import ClusterServers, Node, moved_back
from tests.support.server import ClusterNode, RedisServer, free_port
from tests.support.waiting import wait_until

KEYS = [f"k{number}" for number in range(60)]
BOTH = "{tag}a", "{tag}b"
LANES = [Keyspace("jf").lane(f"q{number}", 0) for number in range(12)]
UNDECLARED = "#!lua flags=no-writes\nreturn redis.call('GET', ARGV[1])"
Exchange = Callable[[Sequence[Command]], list[Any]]


@pytest.fixture(params=["blocking", "asyncio"])
def exchange(cluster: ClusterServers, request: pytest.FixtureRequest) -> Iterator[Exchange]:
    """Exchanges of either link."""
    if request.param == "blocking":
        link = ClusterLink(target(cluster.url), connect_timeout=5.0, socket_timeout=5.0)
        yield link.exchange
        link.close()
        return
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(0))
        awaited = AsyncClusterLink(target(cluster.url), connect_timeout=5.0, socket_timeout=5.0)
        yield lambda commands: runner.run(awaited.exchange(commands))
        runner.run(awaited.close())


def added(lane: Lane, number: int = 1) -> Call[Any]:
    """The call that adds a job to a lane."""
    return enqueue(lane, [Entry(f"{lane.id_prefix}{number}", 2, "", "", b"envelope")])


def test_each_primary_gets_the_library_of_functions(cluster: ClusterServers) -> None:
    store = Store(target_of(JobConfig(url=cluster.url, scripts="functions")), patience=5)
    with pytest.raises(ConfigError, match="acl install"):
        store.run(added(LANES[0]))

    install(store.link)

    assert [len(store.run(added(lane))) for lane in LANES] == [1] * len(LANES)  # the call raises no error
    store.close()


def other(cluster: ClusterServers, key: str) -> Node:
    """A primary that does not serve a key."""
    return next(node for node in cluster.nodes if node.is_primary and node is not cluster.owner(key))


def test_replies_come_in_the_order_of_the_commands(exchange: Exchange) -> None:
    assert exchange([("SET", key, f"of {key}") for key in KEYS]) == [b"OK"] * len(KEYS)

    replies = exchange([*(("GET", key) for key in KEYS), ("TIME",), ("NOPE", "k1"), ("GET", "k2")])

    assert replies[: len(KEYS)] == [f"of {key}".encode() for key in KEYS]
    assert len(replies[-3]) == 2
    assert isinstance(replies[-2], ResponseError)
    assert replies[-1] == b"of k2"
    assert exchange([]) == []


def test_a_command_without_a_key_goes_to_all_primaries_if_each_needs_it(
    cluster: ClusterServers, exchange: Exchange
) -> None:
    (sha,) = exchange([("SCRIPT", "LOAD", "return 1")])

    primaries = [node for node in cluster.nodes if node.is_primary]
    assert [node.asked("SCRIPT EXISTS", sha.decode()) for node in primaries] == [[1]] * 3


def test_a_slot_that_has_moved_is_followed_and_remembered(cluster: ClusterServers, exchange: Exchange) -> None:
    exchange([("SET", key, "1") for key in ("moving", "k1")])
    with moved_back(cluster, "moving", other(cluster, "moving")) as migration:
        migration.run()

        assert exchange([("GET", "moving"), ("GET", "k1"), ("GET", "moving")]) == [b"1"] * 3
        assert exchange([("GET", "moving")]) == [b"1"]


def test_a_key_that_has_moved_before_its_slot_is_asked_for(cluster: ClusterServers, exchange: Exchange) -> None:
    exchange([("SET", key, key) for key in BOTH])
    with moved_back(cluster, "{tag}", other(cluster, "{tag}")) as migration:
        migration.begin().move(1)

        assert exchange([*(("GET", key) for key in BOTH), ("SET", "{tag}new", "1")]) == [b"{tag}a", b"{tag}b", b"OK"]
        assert exchange([("GET", "{tag}new")]) == [b"1"]
        split = exchange([("EVAL", "return 1", 2, *BOTH)])
        undeclared = [exchange([("EVAL_RO", UNDECLARED, 1, own, far)])[0] for own, far in (BOTH, BOTH[::-1])]

        assert isinstance(split[0], TryAgainError)
        assert [type(reply) for reply in undeclared] == [TryAgainError] * 2  # not None, as if a key did not exist
        migration.end()
        assert exchange([("EVAL", "return 1", 2, *BOTH)]) == [1]


def test_a_call_is_retried_until_its_slot_has_moved(cluster: ClusterServers) -> None:
    lane, store = LANES[0], Store(target(cluster.url), patience=30.0)
    store.run(added(lane))
    with moved_back(cluster, lane.lane, other(cluster, lane.lane)) as migration:
        migration.begin().move(1)
        adding = threading.Thread(target=store.run, args=(added(lane, 2),))
        adding.start()
        migration.end()
        adding.join()

        with redis.Redis(port=migration.target.port, protocol=2) as raw:
            assert raw.zcard(lane.ready[2]) == 2
    store.close()


def test_a_slot_that_no_node_serves_is_a_cluster_that_is_down(cluster: ClusterServers, exchange: Exchange) -> None:
    lane = LANES[0]
    owner, slot = cluster.owner(lane.lane), key_slot(lane.lane.encode())
    exchange([("GET", lane.lane)])
    owner.asked("CLUSTER DELSLOTS", slot)
    try:
        assert isinstance(exchange([("GET", lane.lane)])[0], ClusterDownError)
        store = Store(target(cluster.url), patience=0.2)
        with pytest.raises(StoreUnavailable, match="its cluster is down"):
            store.run(added(lane))
        store.close()
    finally:
        owner.asked("CLUSTER ADDSLOTS", slot)
        cluster.await_whole()


def test_each_node_learns_a_script(cluster: ClusterServers) -> None:
    assert len({cluster.owner(lane.lane).port for lane in LANES}) == 3
    store = Store(target(cluster.url))

    created = store.run_many([added(lane) for lane in LANES])
    cluster.flush()
    again = store.run_many([added(lane) for lane in LANES])

    assert not [one for one in (*created, *again) if isinstance(one, Exception)]
    store.close()


async def test_a_wait_leads_to_the_node_of_its_lane(cluster: ClusterServers) -> None:
    store = AsyncStore(target(cluster.url))
    for lane in LANES:
        with redis.Redis(port=cluster.owner(lane.wake).port, protocol=2) as raw:
            raw.zadd(lane.wake, {"1": 1})
        assert await store.wait_wake((lane,), 5.0) == lane
    assert await store.any_exist([(lane.wake,) for lane in LANES]) == [False] * len(LANES)
    assert store.server == ",".join(sorted(node.id for node in cluster.nodes if node.is_primary))
    assert not await store.look_again()
    await store.close()


async def test_a_wait_ends_with_an_error_when_its_slot_moves(cluster: ClusterServers) -> None:
    store, lane = AsyncStore(target(cluster.url)), LANES[0]
    with moved_back(cluster, lane.wake, other(cluster, lane.wake)) as migration:
        waiting = asyncio.create_task(store.wait_wake((lane,), 30.0))
        await asyncio.to_thread(await_blocked, migration.source)
        await asyncio.to_thread(migration.run)

        with pytest.raises(StoreUnavailable):
            await waiting
        with redis.Redis(port=migration.target.port, protocol=2) as raw:
            raw.zadd(lane.wake, {"1": 1})
        assert await store.wait_wake((lane,), 5.0) == lane
    await store.close()


def await_blocked(node: Node) -> None:
    wait_until(lambda: "blocked_clients:1\r" in node.asked("INFO", "clients"), why="a client waits")


@pytest.mark.parametrize("is_awaited", [False, True])
def test_a_server_that_is_not_a_cluster_is_named(is_awaited: bool) -> None:
    call = added(LANES[0])
    with RedisServer(tcp=True) as plain:
        at = target(f"cluster://127.0.0.1:{plain.port}")
        with pytest.raises(ConfigError, match="is not a cluster"):
            asyncio.run(AsyncStore(at).run(call)) if is_awaited else Store(at).run(call)


def test_a_node_of_a_cluster_behind_a_plain_url_is_named(cluster: ClusterServers) -> None:
    lane = next(lane for lane in LANES if cluster.owner(lane.lane) is not cluster.nodes[0])
    with pytest.raises(ConfigError, match="is a node of a cluster"):
        Store(target(cluster.nodes[0].url)).run(added(lane))


def test_a_cluster_without_any_node_is_unavailable() -> None:
    at = target(f"cluster://u:secret@127.0.0.1:{free_port()}")
    with pytest.raises(StoreUnavailable, match=r"No Redis at cluster://u:\*\*\*@127.* \(connection refused\)"):
        Store(at, patience=0.1).run(added(LANES[0]))


def test_a_cluster_of_one_node_is_one() -> None:
    with ClusterNode() as node:
        store = Store(target(node.cluster_url))
        assert store.run_many([added(lane) for lane in LANES]) == [[True]] * len(LANES)
        store.close()
