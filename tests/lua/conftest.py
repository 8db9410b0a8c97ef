"""The floor on which every case of a script runs, and those of the tests that are about floors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest
import redis

from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.lua.world import PASSWORD, USER, World, granting
from tests.support import topologies
from tests.support.server import ClusterNode, RedisServer

PLAIN = "as_root"
"""One server alone, and a user that may do anything: what most programs have."""
STRICT = "as_granted_on_cluster"
"""A cluster, and a user that may touch only what a script's header declares: whatever another floor refuses, too."""
FLOORS = (PLAIN, "as_granted", "on_cluster", STRICT)
ON_CLUSTER = {"on_cluster", STRICT}
AS_GRANTED = {"as_granted", STRICT}


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
    server: RedisServer = request.getfixturevalue("cluster" if floor in ON_CLUSTER else "server")
    with topologies.plain(server) as client:
        yield client


@pytest.fixture(scope="session")
def floor_store(floor: str, floor_raw: redis.Redis, request: pytest.FixtureRequest) -> Iterator[Store]:
    """A store that connects as the floor's user."""
    if floor in ON_CLUSTER:
        node: ClusterNode = request.getfixturevalue("cluster")
        url = node.cluster_url
    else:
        server: RedisServer = request.getfixturevalue("server")
        url = server.url
    if floor in AS_GRANTED:
        url = url.replace("://", f"://{USER}:{PASSWORD}@", 1)
    store = Store(target(url), patience=2.0)
    yield store
    store.close()


@pytest.fixture
def world(floor: str, floor_raw: redis.Redis, floor_store: Store) -> World:
    """An empty lane on the floor."""
    floor_raw.flushall()
    if floor in AS_GRANTED:
        return World(floor_store, floor_raw, granting(floor_raw))
    return World(floor_store, floor_raw)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a case on the strict floor, and a test that asks for its floor on each.

    `test_contracts.py` runs all cases again as the user with the derived permissions on a server that is no cluster.
    """
    if "floor" in metafunc.fixturenames:
        floors = FLOORS if "floor" in inspect.signature(metafunc.function).parameters else (STRICT,)
        metafunc.parametrize("floor", floors, indirect=True, scope="session")
