"""Fixtures for all tests."""

from __future__ import annotations

import gc
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import redis
from hypothesis import HealthCheck, settings

from jobfleet import AsyncFleet, Fleet
from jobfleet.functions import default_fleet
from jobfleet.functions.registry import Registry
from jobfleet.store.aio import AsyncStore
from jobfleet.store.target import target
from tests.support import dispositions, fork_server, order, tools, topologies, users
from tests.support.fleet import Programs
from tests.support.server import RedisServer

if TYPE_CHECKING:
    from tests.support.postgres import Postgres

EXAMPLES = int(os.environ.get("JOBFLEET_TEST_EXAMPLES", "100"))
"""Examples of a property that does not state its own number; other ones in each run."""

# A machine that stands still for a moment says nothing about an example, nor about how it is made.
settings.register_profile(
    "jobfleet", max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("jobfleet")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option that names what the tests run on."""
    parser.addoption("--on", choices=list(topologies.TOPOLOGIES), default="here", help=topologies.HELP)


def pytest_configure(config: pytest.Config) -> None:
    """Let servers be of the chosen kind, fetch the programs that tests need, and unblock the signals of programs."""
    config.pluginmanager.register(tools.Tools(config))
    topologies.choose(config.getoption("--on"))
    dispositions.hand_on_defaults()
    fork_server.install()
    gc.disable()  # until all tests are collected: what is made by then stays, so the collector would search in vain


def pytest_itemcollected(item: pytest.Item) -> None:
    """Leave most cases of some tests to the slow run."""
    order.leave_to_the_slow_run(item, item.session.stash.setdefault(order.CASES, Counter()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests of what the topology does not have."""
    topologies.skip_foreign(config.getoption("--on"), items)


def pytest_collection_finish() -> None:
    """Let the collector of garbage pass over all tests and modules, which stay until the end."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """No worker has offered settings in this process: those of an earlier test would be taken for a worker's."""
    default_fleet._offered = None
    fork_server.use(is_on=item.get_closest_marker("fresh") is None)


def pytest_sessionfinish() -> None:
    """Remove the folder in which Streamlit keeps the pages of tests; it would warn that nothing has removed it."""
    bench = sys.modules.get("streamlit.testing.v1.app_test")
    if bench is not None:
        bench.TMP_DIR.cleanup()


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """One server for the session; under xdist one for each worker. `--on` names what stands around it."""
    with topologies.started(request.config.getoption("--on")) as server:
        if users.ARE_USED:
            with server.client() as client:
                users.create(client)
        yield server


@pytest.fixture
def url_of(server: RedisServer) -> Iterator[users.UrlOf]:
    """The URL of the session's server, emptied, for a role. With `JOBFLEET_TEST_USERS=1`, it names the role's user."""
    server.flush()
    if not users.ARE_USED:
        yield lambda _: server.url
        return
    with redis.Redis.from_url(server.url, protocol=2, decode_responses=True) as client:
        users.denials(client)
        client.close()  # tests count the connections; it connects again at the end
        with pytest.MonkeyPatch.context() as patch:
            users.swap_users(patch, server.url)
            yield lambda role: users.url_as(server.url, role)
        assert users.denials(client) == []


@pytest.fixture
def redis_url(url_of: users.UrlOf, request: pytest.FixtureRequest) -> str:
    """The URL of the session's server, emptied, for the role that the tests of this folder play."""
    return url_of(users.role_of(request.path))


@pytest.fixture
def raw(server: RedisServer, redis_url: str) -> Iterator[redis.Redis]:
    """A plain client of the emptied server, for looking and seeding."""
    with topologies.plain(server) as client:
        yield client


@pytest.fixture
def registry() -> Registry:
    """Functions of this test alone."""
    return Registry()


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    """A fleet that blocks, on the emptied server."""
    with Fleet(redis_url) as fleet:
        yield fleet


@pytest.fixture
async def afleet(redis_url: str) -> AsyncIterator[AsyncFleet]:
    """A fleet that is awaited, on the emptied server."""
    async with AsyncFleet(redis_url) as fleet:
        yield fleet


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[AsyncStore]:
    """A store that is awaited, on the emptied server."""
    store = AsyncStore(target(redis_url))
    yield store
    await store.close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """One cluster of PostgreSQL for the session; a test that stops it starts it again."""
    from tests.support.postgres import serving

    yield from serving()


@contextmanager
def local_zone(name: str) -> Iterator[None]:
    """Set the local zone of this process."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TZ", name)
            time.tzset()
            yield
    finally:
        time.tzset()


@pytest.fixture
def in_berlin() -> Iterator[None]:
    """The local zone is that of Berlin."""
    with local_zone("Europe/Berlin"):
        yield


@pytest.fixture
def in_utc() -> Iterator[None]:
    """The local zone is UTC."""
    with local_zone("UTC"):
        yield


@pytest.fixture
def programs(redis_url: str, url_of: users.UrlOf, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Programs]:
    """Starts workers and reapers on the emptied server of the session; on failure their logs are shown."""
    is_fresh = request.node.get_closest_marker("fresh") is not None
    programs = Programs(redis_url, tmp_path, url_of=url_of if users.ARE_USED else None, is_fresh=is_fresh)
    try:
        yield programs
    finally:
        programs.close()
        sys.stdout.write(programs.logs())
