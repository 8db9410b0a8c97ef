"""What the tests run on: `scripts/test --on NAME` runs any of them on another server, or behind Sentinels or TLS."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import cast

import pytest
import redis
import trustme

from tests.support.cluster import ClusterServers
from tests.support.sentinel import STAY_MS, SentinelServers
from tests.support.server import RedisServer, free_port

TOOLS = Path(__file__).parents[2] / ".venv" / "tools" / "bin"
SERVER = "JOBFLEET_SERVER_BIN"
VARIABLES = (SERVER, "JOBFLEET_TLS_CA_FILE", "JOBFLEET_TLS_CERT_FILE", "JOBFLEET_TLS_KEY_FILE")
"""The variables that choose a topology; programs that tests start inherit them."""
HERE = "127.0.0.1"
HELP = (
    "run the tests on: here (the server of the wheel), redis (Debian's Redis 8), valkey (Debian's Valkey 8), sentinel "
    "(a primary, two replicas, three Sentinels), cluster (three primaries and three replicas), tls (Debian's Redis "
    "with client certificates)"
)


@contextmanager
def _alone() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@contextmanager
def _behind_sentinels() -> Iterator[RedisServer]:
    with SentinelServers(down_after_ms=STAY_MS) as group:
        group.await_whole()
        server = group.nodes[0]
        server.url = group.url
        yield server


@contextmanager
def _in_cluster() -> Iterator[RedisServer]:
    """The first node, with the address of the whole."""
    with ClusterServers() as cluster:
        node = cluster.nodes[0]
        node.url = cluster.url
        node.flush = cluster.flush  # type: ignore[method-assign]  # tests begin with an empty cluster, not node
        yield node


def plain(server: RedisServer) -> redis.Redis:
    """A plain client for looking and seeding: of the whole cluster, or past Sentinels and TLS."""
    if server.url.startswith("cluster:"):
        return cast(redis.Redis, redis.RedisCluster(HERE, server.port, protocol=2))
    return redis.Redis.from_url(server.direct, protocol=2)


@contextmanager
def _with_tls() -> Iterator[RedisServer]:
    """A server that asks for client certificates; all processes get theirs from the environment."""
    authority = trustme.CA()
    with tempfile.TemporaryDirectory(prefix="jobfleet-tls-") as name, pytest.MonkeyPatch.context() as patch:
        folder, port = Path(name), free_port()
        authority.cert_pem.write_to_path(str(folder / "ca.pem"))
        for role, host in (("server", HERE), ("client", "worker.example.org")):
            pair = authority.issue_cert(host)
            pair.private_key_pem.write_to_path(str(folder / f"{role}.key"))
            pair.cert_chain_pems[0].write_to_path(str(folder / f"{role}.pem"))
        arguments = [f"--tls-port {port}", "--tls-auth-clients yes", f"--tls-ca-cert-file {folder / 'ca.pem'}"]
        arguments += [f"--tls-cert-file {folder / 'server.pem'}", f"--tls-key-file {folder / 'server.key'}"]
        for variable, file in zip(VARIABLES[1:], ("ca.pem", "client.pem", "client.key"), strict=True):
            patch.setenv(variable, str(folder / file))
        with RedisServer(*(part for argument in arguments for part in argument.split(" ", 1)), tcp=True) as server:
            server.url = f"rediss://{HERE}:{port}/0"
            yield server


TOPOLOGIES: dict[str, tuple[str, Callable[[], AbstractContextManager[RedisServer]]]] = {
    "here": ("", _alone),
    "redis": ("redis-server", _alone),
    "valkey": ("valkey-server", _alone),
    "sentinel": ("", _behind_sentinels),
    "cluster": ("", _in_cluster),
    "tls": ("redis-server", _with_tls),
}
"""The program that `scripts/tools` brings, empty for the one of the wheel, and how it is started."""


def missing(name: str) -> str:
    """Why the tests cannot run there; empty if they can."""
    program, _ = TOPOLOGIES[name]
    if program and not (TOOLS / program).exists():
        return f"no {program}: scripts/tools {program.removesuffix('-server')} could not bring it"
    return ""


def variables(name: str) -> dict[str, str]:
    """The variables with which all servers that tests start are of this kind."""
    program, _ = TOPOLOGIES[name]
    return {SERVER: str(TOOLS / program)} if program else {}


def choose(name: str) -> None:
    """Let all servers that tests start be of this kind.

    Raises:
        UsageError: Its program is not there.
    """
    if reason := missing(name):
        raise pytest.UsageError(reason)
    os.environ.update(variables(name))


def started(name: str) -> AbstractContextManager[RedisServer]:
    """The server of a session."""
    return TOPOLOGIES[name][1]()
