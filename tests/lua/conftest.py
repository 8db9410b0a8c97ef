"""The floors on which every case of a script runs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from jobfleet.store.server.target import target
from jobfleet.store.sync import Store
from tests.lua.world import PASSWORD, USER, World, granting
from tests.support import topologies
from tests.support.server import ClusterNode, RedisServer

FLOORS = ("as_root", "as_granted", "on_cluster")


@pytest.fixture(scope="session")
def cluster() -> Iterator[ClusterNode]:
    """A cluster of one node: it refuses a key outside the slot of the script's keys."""
    with ClusterNode() as node:
        yield node


@pytest.fixture(scope="session")
def floor(request: pytest.FixtureRequest) -> str:
    """The floor's name."""
    return str(request.param)


@pytest.fixture(scope="session")
def floor_raw(floor: str, request: pytest.FixtureRequest) -> Iterator[redis.Redis]:
    """A client of the floor's server that may do anything."""
    server: RedisServer = request.getfixturevalue("cluster" if floor == "on_cluster" else "server")
    with topologies.plain(server) as client:
        yield client


@pytest.fixture(scope="session")
def floor_store(floor: str, floor_raw: redis.Redis, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store that connects as the floor's user."""
    if floor == "on_cluster":
        node: ClusterNode = request.getfixturevalue("cluster")
        url = node.cluster_url
    else:
        server: RedisServer = request.getfixturevalue("server")
        url = server.url.replace("://", f"://{USER}:{PASSWORD}@", 1) if floor == "as_granted" else server.url
    store = Store(target(url), patience=2.0)
    yield store
    store.close()


@pytest.fixture
def world(floor: str, floor_raw: redis.Redis, floor_store: Store) -> World:
    """An empty lane on the floor."""
    floor_raw.flushall()
    if floor == "as_granted":
        return World(floor_store, floor_raw, granting(floor_raw))
    return World(floor_store, floor_raw)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run every case on every floor."""
    if "floor" in metafunc.fixturenames:
        metafunc.parametrize("floor", FLOORS, indirect=True, scope="session")
