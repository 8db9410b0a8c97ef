"""A server that has loaded deploy/redis/users.acl as it is, and one with users-functions.acl and its library.

The password of each user is its name. On the second server, programs take the setting ``scripts`` from the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobfleet.store.link.watched import install
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.support import users
from tests.support.fleet import ROOT
from tests.support.server import RedisServer

FILES = {
    "eval": ROOT / "deploy" / "redis" / "users.acl",
    "functions": ROOT / "deploy" / "redis" / "users-functions.acl",
}
ROLES = ("producer", "canceller", "approver", "worker", "reaper", "host", "web", "exporter", "operator")
As = Callable[[str], redis.Redis]


@pytest.fixture(scope="session", params=list(FILES))
def variant(request: pytest.FixtureRequest) -> str:
    """How the users run scripts."""
    return str(request.param)


@pytest.fixture(scope="session")
def guarded(variant: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server."""
    file: Path = tmp_path_factory.mktemp("acl") / "users.acl"
    file.write_text(FILES[variant].read_text())
    with RedisServer("--aclfile", str(file)) as server:
        if variant == "functions":
            install(Store(target(server.url)).link)
        execute: Any = server.client().execute_command
        for role in ROLES:
            execute("ACL", "SETUSER", role, f">{role}")
        yield server


@pytest.fixture
def admin(guarded: RedisServer, variant: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[redis.Redis]:
    """A client that may do anything, on the emptied server."""
    monkeypatch.setenv("JOBFLEET_SCRIPTS", variant)
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
