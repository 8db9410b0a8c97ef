"""A cluster for tests: by default three primaries with a replica each, on free ports of loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import redis
from redis.crc import key_slot

from tests.support.certificates import Certificates
from tests.support.server import RedisServer, free_port, is_running
from tests.support.waiting import wait_until

NODE_TIMEOUT_MS = 1000
SLOTS = 16384
NEEDS = 30.0


class Node(RedisServer):
    """One node of a cluster.

    Args:
        arguments: Further arguments of the server.
        tls: Speak TLS, with these certificates.
    """

    def __init__(self, *arguments: str, tls: Certificates | None = None) -> None:
        self.bus = free_port()
        settings = ["--cluster-enabled", "yes", "--cluster-port", str(self.bus)]
        settings += ["--cluster-node-timeout", str(NODE_TIMEOUT_MS), "--cluster-replica-validity-factor", "0"]
        settings += ["--cluster-announce-ip", "127.0.0.1", "--cluster-require-full-coverage", "no"]
        settings += ["--tls-cluster", "yes"] if tls is not None else []
        super().__init__(*settings, "--repl-diskless-sync-delay", "0", *arguments, tcp=True, tls=tls)

    def asked(self, *words: str | int) -> Any:
        """Send a command, and return the reply as it came."""
        first, *rest = words
        with redis.Redis.from_url(self.direct, protocol=2, decode_responses=True) as client:
            client.response_callbacks.clear()
            return client.execute_command(*str(first).split(" "), *rest)

    @property
    def id(self) -> str:
        """Its id in the cluster."""
        return str(self.asked("CLUSTER MYID"))

    @property
    def is_primary(self) -> bool:
        """Whether it is a primary."""
        return bool(self.asked("ROLE")[0] == "master")

    def info(self) -> dict[str, str]:
        """Its view of the cluster."""
        lines = (line.partition(":") for line in self.asked("CLUSTER INFO").splitlines())
        return {name: value for name, _, value in lines}


class ClusterServers:
    """The cluster.

    Args:
        arguments: Further arguments of the nodes.
        primaries: How many primaries.
        replicas: How many replicas each has.
        tls: All speak TLS, with these certificates.

    Attributes:
        nodes: The primaries first, then their replicas in the same order, as they were at the beginning.
        url: Where to connect.
    """

    def __init__(self, *arguments: str, primaries: int = 3, replicas: int = 1, tls: Certificates | None = None) -> None:
        self.nodes: list[Node] = []
        self._primaries, self._replicas = primaries, replicas
        try:
            self.nodes += [Node(*arguments, tls=tls) for _ in range(primaries * (1 + replicas))]
            self._join()
        except BaseException:
            self.stop()
            raise
        self.url = f"cluster{'s' * (tls is not None)}://" + ",".join(
            f"127.0.0.1:{node.port}" for node in self.nodes[:2]
        )

    def _join(self) -> None:
        count = self._primaries
        primaries, replicas = self.nodes[:count], self.nodes[count:]
        for index, node in enumerate(primaries):
            last = SLOTS * (index + 1) // count - 1
            node.asked("CLUSTER SET-CONFIG-EPOCH", index + 1)
            node.asked("CLUSTER ADDSLOTSRANGE", SLOTS * index // count, last)
        for node in self.nodes[1:]:
            self.nodes[0].asked("CLUSTER MEET", "127.0.0.1", node.port, node.bus)
        for primary, replica in zip(primaries * self._replicas, replicas, strict=True):
            wait_until(partial(_knows, replica, primary.id), timeout=NEEDS, why="the replica knows its primary")
            replica.asked("CLUSTER REPLICATE", primary.id)
        self.await_whole()

    def await_whole(self) -> Self:
        """Wait until each node knows all slots, and each primary has a replica that is up to date."""
        for node in self.nodes:
            wait_until(partial(self._is_whole, node), timeout=NEEDS, why="the cluster is whole")
        return self

    def _is_whole(self, node: Node) -> bool:
        rows = node.asked("CLUSTER SLOTS")
        if node.info()["cluster_state"] != "ok" or {len(row) for row in rows} != {3 + self._replicas}:
            return False
        info = str(node.asked("INFO", "replication"))
        return not self._replicas or info.count("state=online") == self._replicas or "master_link_status:up" in info

    def flush(self) -> None:
        """Delete all keys and scripts."""
        for node in self.nodes:
            if is_running(node.pid) and node.is_primary:
                RedisServer.flush(node)  # the tests may have given the first node the flush of the whole

    def owner(self, key: str) -> Node:
        """The primary that serves the slot of a key, as the first living node sees it."""
        slot = key_slot(key.encode())
        for first, last, primary, *_ in self.living.asked("CLUSTER SLOTS"):
            if first <= slot <= last:
                return self.at(primary[1])
        raise LookupError(slot)

    @property
    def living(self) -> Node:
        """The first node that runs."""
        return next(node for node in self.nodes if is_running(node.pid))

    def at(self, port: int) -> Node:
        """The node at a port."""
        return next(node for node in self.nodes if node.port == port)

    def migration(self, key: str, to: Node) -> Migration:
        """Prepare to move the slot of a key to another primary."""
        return Migration(self, key_slot(key.encode()), self.owner(key), to)

    def stop(self) -> None:
        """End all servers and remove their files."""
        for node in self.nodes:
            node.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class Migration:
    """A slot that moves from one primary to another.

    Args:
        cluster: The cluster.
        slot: The slot.
        source: The primary that serves it.
        target: The primary that will.
    """

    def __init__(self, cluster: ClusterServers, slot: int, source: Node, target: Node) -> None:
        self._cluster = cluster
        self.slot = slot
        self.source = source
        self.target = target

    def begin(self) -> Self:
        """Announce it; keys are still at the source."""
        self.target.asked("CLUSTER SETSLOT", self.slot, "IMPORTING", self.source.id)
        self.source.asked("CLUSTER SETSLOT", self.slot, "MIGRATING", self.target.id)
        return self

    def move(self, most: int = 1_000_000) -> int:
        """Move keys; return how many."""
        moved = 0
        while moved < most and (keys := self.source.asked("CLUSTER GETKEYSINSLOT", self.slot, min(10, most - moved))):
            where = ("127.0.0.1", self.target.port, "", 0, 5000, "KEYS")
            self.source.asked("MIGRATE", *where, *keys)
            moved += len(keys)
        return moved

    def end(self) -> None:
        """Give the slot to the target. Keys that came meanwhile are moved first."""
        self.move()
        self.target.asked("CLUSTER SETSLOT", self.slot, "NODE", self.target.id)
        for node in self._cluster.nodes:
            if node is not self.target and is_running(node.pid) and node.is_primary:
                node.asked("CLUSTER SETSLOT", self.slot, "NODE", self.target.id)

    def run(self) -> None:
        """Move the slot."""
        self.begin()
        self.move()
        self.end()


@contextmanager
def moved_back(cluster: ClusterServers, key: str, to: Node) -> Iterator[Migration]:
    """Prepare to move the slot of a key. Afterwards it moves back, so that other tests find the cluster as it was."""
    migration = cluster.migration(key, to)
    try:
        yield migration
    finally:
        migration.end()
        Migration(cluster, migration.slot, to, migration.source).run()


def _rows(node: Node) -> list[str]:
    return str(node.asked("CLUSTER NODES")).splitlines()


def _knows(node: Node, other: str) -> bool:
    return any(row.startswith(other) for row in _rows(node))
