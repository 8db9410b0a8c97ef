"""A server that has loaded deploy/redis/users.acl as it is; the password of each user is its name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support import users
from tests.support.fleet import ROOT
from tests.support.server import RedisServer

FILE = ROOT / "deploy" / "redis" / "users.acl"
ROLES = ("producer", "canceller", "worker", "reaper", "host", "web", "exporter", "operator")
As = Callable[[str], redis.Redis]


@pytest.fixture(scope="session")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server."""
    file: Path = tmp_path_factory.mktemp("acl") / "users.acl"
    file.write_text(FILE.read_text())
    with RedisServer("--aclfile", str(file)) as server:
        execute: Any = server.client().execute_command
        for role in ROLES:
            execute("ACL", "SETUSER", role, f">{role}")
        yield server


@pytest.fixture
def admin(guarded: RedisServer) -> Iterator[redis.Redis]:
    """A client that may do anything, on the emptied server."""
    with redis.Redis.from_url(guarded.url, protocol=2, decode_responses=True) as client:
        client.flushall()
        users.denials(client)
        yield client
        sys.stdout.write(f"{users.denials(client)}\n")  # shown with a failure


@pytest.fixture
def url_of(guarded: RedisServer, admin: redis.Redis) -> users.UrlOf:
    """The URL of the server for a role."""
    return lambda role: users.url_as(guarded.url, role)


@pytest.fixture
def as_role(url_of: users.UrlOf) -> Iterator[As]:
    """Connect as a role."""
    made: list[redis.Redis] = []

    def connect(role: str) -> redis.Redis:
        made.append(redis.Redis.from_url(url_of(role), protocol=2))
        return made[-1]

    yield connect
    for client in made:
        client.close()
