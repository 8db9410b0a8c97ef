"""The servers that tests start by themselves."""

from __future__ import annotations

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.support import topologies
from tests.support.server import ClusterNode, RedisServer, is_running

ONCE = Retry(NoBackoff(), 0)


def test_the_servers_of_tests_can_be_paused_killed_and_restarted() -> None:
    with RedisServer("--appendonly", "yes", tcp=True) as server:
        server.client().set("k", "v")

        server.pause()
        with (
            redis.Redis(port=server.port, socket_timeout=0.05, retry=ONCE) as frozen,
            pytest.raises(redis.TimeoutError),
        ):
            frozen.ping()
        server.resume()
        assert server.client().get("k") == b"v"

        server.kill()
        assert not is_running(server.pid)
        server.restart()
        assert server.client().get("k") == b"v"

        server.flush()
        assert server.client().dbsize() == 0


def test_a_cluster_of_one_node_serves_all_slots() -> None:
    with ClusterNode() as node, redis.RedisCluster(host="127.0.0.1", port=node.port) as cluster:
        cluster.set("k", "v")
        assert cluster.get("k") == b"v"

        node.restart()
        assert cluster.ping()


def test_the_tests_of_a_cluster_look_at_all_its_nodes_and_begin_with_an_empty_one() -> None:
    with topologies.started("cluster") as server, topologies.plain(server) as raw:
        for number in range(30):
            raw.set(f"k{number}", number)
        with redis.RedisCluster("127.0.0.1", server.port) as cluster:
            sizes = [node.redis_connection.dbsize() for node in cluster.get_primaries()]

        assert len(sizes) == 3
        assert raw.dbsize() == sum(sizes) == 30
        server.flush()
        assert raw.dbsize() == 0
