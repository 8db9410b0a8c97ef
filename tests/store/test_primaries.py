"""Tokens leave a minute free whenever another primary may have lost writes: real servers restart and are promoted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.lease import claim
from jobfleet.store.connect import target
from jobfleet.store.keys import Keyspace
from jobfleet.store.sync import Store
from jobfleet.store.values import Entry
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

LANE = Keyspace("jf").lane("mail", 0)
MINUTE = 60_000_000


def lead(server: RedisServer, nonce: int) -> int:
    """How far ahead of Redis's clock a token is that is granted now, µs."""
    store = Store(target(server.url), patience=5.0)
    try:
        store.run(enqueue(LANE, [Entry(f"mail.0.{nonce}", 2, "", "", b"envelope")]))
        claimed = store.run(claim(LANE, child="w.1", nonce=nonce, lease_us=MINUTE, limit=1))
    finally:
        store.close()
    return claimed.grants[0].token - claimed.now


def promote(replica: RedisServer, primary: RedisServer) -> None:
    """Let a server take over from another, which becomes its replica."""
    replica.client().replicaof("NO", "ONE")
    follow(primary, replica)


def follow(replica: RedisServer, primary: RedisServer) -> None:
    """Make a server a replica, and wait until it has all."""
    client, leader = replica.client(), primary.client()
    client.replicaof("127.0.0.1", str(primary.port))
    leader.set("mark", replica.port)
    wait_until(lambda: client.get("mark") == str(replica.port).encode(), why="the replica has the mark")


@pytest.fixture
def pair() -> Iterator[tuple[RedisServer, RedisServer]]:
    """A primary and its replica."""
    primary, replica = (RedisServer("--repl-diskless-sync-delay", "0", tcp=True) for _ in range(2))
    follow(replica, primary)
    yield primary, replica
    primary.stop()
    replica.stop()


def test_a_server_that_has_restarted_counts_as_another() -> None:
    server = RedisServer("--appendonly", "yes")
    try:
        assert lead(server, 1) == 0
        assert lead(server, 2) == 0

        server.restart()

        assert lead(server, 3) == MINUTE
    finally:
        server.stop()


def test_a_replica_that_is_promoted_counts_as_another(pair: tuple[RedisServer, RedisServer]) -> None:
    primary, replica = pair
    assert lead(primary, 1) == 0
    follow(replica, primary)

    promote(replica, primary)

    assert lead(replica, 2) == MINUTE


def test_a_primary_that_takes_over_again_counts_as_another_though_it_never_restarted(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, replica = pair
    assert lead(primary, 1) == 0
    follow(replica, primary)
    promote(replica, primary)

    promote(primary, replica)

    assert lead(primary, 2) == MINUTE
