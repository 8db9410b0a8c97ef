"""Fixtures for tests with real processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet
from tests.support.fleet import Programs
from tests.support.server import RedisServer

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let these tests enqueue what no worker has published yet."""
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.filterwarnings("ignore:No worker has published:UserWarning"))


@pytest.fixture
def programs(redis_url: str, tmp_path: Path) -> Iterator[Programs]:
    """Starts workers on the emptied server of the session; on failure their logs are shown."""
    programs = Programs(redis_url, tmp_path)
    try:
        yield programs
    finally:
        programs.close()
        sys.stdout.write(programs.logs())


@pytest.fixture
def fleet(redis_url: str) -> Iterator[Fleet]:
    """A producer on the same server."""
    with Fleet(redis_url) as fleet:
        yield fleet


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server for one test, which may stop it; it writes all it is told to disk."""
    with RedisServer("--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def own_programs(own_server: RedisServer, tmp_path: Path) -> Iterator[Programs]:
    """Starts workers on the test's own server."""
    programs = Programs(own_server.url, tmp_path)
    try:
        yield programs
    finally:
        programs.close()
        sys.stdout.write(programs.logs())


@pytest.fixture
def own_fleet(own_server: RedisServer) -> Iterator[Fleet]:
    """A producer on the test's own server."""
    with Fleet(own_server.url, patience=60) as fleet:
        yield fleet
