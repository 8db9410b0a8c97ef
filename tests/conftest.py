"""Fixtures for all tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from tests.support.server import RedisServer


@pytest.fixture(scope="session")
def server() -> Iterator[RedisServer]:
    """One server for the session; under xdist one for each worker."""
    with RedisServer() as server:
        yield server


@pytest.fixture
def redis_url(server: RedisServer) -> str:
    """The URL of the session's server, emptied."""
    server.flush()
    return server.url


@pytest.fixture
def raw(redis_url: str) -> Iterator[redis.Redis]:
    """A plain client of the emptied server, for looking and seeding."""
    with redis.Redis.from_url(redis_url, protocol=2) as client:
        yield client
