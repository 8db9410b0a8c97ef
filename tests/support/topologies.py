"""What the tests run on: `scripts/test --on NAME` runs any of them on another server, or behind Sentinels or TLS."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
import redis

from jobfleet.store.target import driver
from tests.support.certificates import HOST, Certificates
from tests.support.cluster import ClusterServers
from tests.support.sentinel import STAY_MS, SentinelServers
from tests.support.server import RedisServer
from tests.support.whole import PlainClient, WholeCluster

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / ".venv" / "tools" / "bin"
SERVER = "JOBFLEET_SERVER_BIN"
"""The variable that chooses the servers that tests start; programs that tests start inherit it."""
HELP = (
    "run the tests on: here (the server of the wheel), redis (Debian's Redis 8), valkey (Debian's Valkey 8), sentinel "
    "(a primary, two replicas, three Sentinels), cluster (three primaries and three replicas), tls, sentinel-tls, "
    "cluster-tls (servers of Debian with client certificates)"
)


@contextmanager
def _alone() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@contextmanager
def _secure() -> Iterator[Certificates]:
    with tempfile.TemporaryDirectory(prefix="jobfleet-tls-") as folder:
        yield Certificates(Path(folder))


def _with_options(server: RedisServer, certificates: Certificates) -> RedisServer:
    """Name the certificates in the URL: as settings, they would also apply to the servers that tests start."""
    server.url += f"?{urlencode(certificates.options, safe='/')}"
    return server


@contextmanager
def _alone_with_tls() -> Iterator[RedisServer]:
    with _secure() as certificates, RedisServer(tcp=True, tls=certificates) as server:
        yield _with_options(server, certificates)


@contextmanager
def _behind_sentinels(tls: Certificates | None = None) -> Iterator[RedisServer]:
    with SentinelServers(down_after_ms=STAY_MS, tls=tls) as group:
        group.await_whole()
        server = group.nodes[0]
        server.url = group.url
        yield server


@contextmanager
def _behind_sentinels_with_tls() -> Iterator[RedisServer]:
    with _secure() as certificates, _behind_sentinels(certificates) as server:
        yield _with_options(server, certificates)


@contextmanager
def _in_cluster(tls: Certificates | None = None) -> Iterator[RedisServer]:
    """The first node, with the address of the whole."""
    with ClusterServers(tls=tls) as cluster:
        node = cluster.nodes[0]
        node.url = cluster.url
        node.flush = cluster.flush  # type: ignore[method-assign]  # tests begin with an empty cluster, not node
        yield node


@contextmanager
def _in_cluster_with_tls() -> Iterator[RedisServer]:
    with _secure() as certificates, _in_cluster(certificates) as node:
        yield _with_options(node, certificates)


def plain(server: RedisServer) -> redis.Redis:
    """A plain client for looking and seeding: of the whole cluster, or past Sentinels and TLS."""
    if not server.url.startswith("cluster"):
        return PlainClient.from_url(server.direct, protocol=2, **driver())
    options: dict[str, Any] = dict(parse_qsl(urlsplit(server.url).query))
    options |= {"ssl": True} if options else {}
    return cast(redis.Redis, WholeCluster(HOST, server.port, protocol=2, **options))


TOPOLOGIES: dict[str, tuple[str, Callable[[], AbstractContextManager[RedisServer]]]] = {
    "here": ("", _alone),
    "redis": ("redis-server", _alone),
    "valkey": ("valkey-server", _alone),
    "sentinel": ("", _behind_sentinels),
    "cluster": ("", _in_cluster),
    "tls": ("redis-server", _alone_with_tls),
    "sentinel-tls": ("valkey-server", _behind_sentinels_with_tls),
    "cluster-tls": ("valkey-server", _in_cluster_with_tls),
}
"""The program that `scripts/tools` brings, empty for the one of the wheel, and how it is started."""


def tool_of(name: str) -> str:
    """The name of the program in scripts/tools; empty for the one of the wheel."""
    return TOPOLOGIES[name][0].removesuffix("-server")


def missing(name: str) -> str:
    """Why the tests cannot run there; empty if they can."""
    program, _ = TOPOLOGIES[name]
    if program and not (TOOLS / program).exists():
        return f"no {program}: scripts/tools {tool_of(name)} could not bring it"
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
    if missing(name):
        subprocess.run([ROOT / "scripts" / "tools", tool_of(name)], check=False)
    if reason := missing(name):
        raise pytest.UsageError(reason)
    os.environ.update(variables(name))


def skip_foreign(name: str, items: Iterable[pytest.Item]) -> None:
    """Skip the tests with a mark `not_on` of the topology, or of a part of it: cluster is a part of cluster-tls."""
    parts = {name, *name.split("-")}
    for item in items:
        for mark in item.iter_markers("not_on"):
            if not parts.isdisjoint(mark.args):
                item.add_marker(pytest.mark.skip(reason=f"--on {name}: {mark.kwargs['reason']}"))


def started(name: str) -> AbstractContextManager[RedisServer]:
    """The server of a session."""
    return TOPOLOGIES[name][1]()
