"""Tokens leave a minute free whenever another primary may have lost writes: real servers restart and are promoted."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.lease import claim
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Claimed, Entry
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.support.server import RedisServer
from tests.support.waiting import wait_until

LANE = Keyspace("jf").lane("mail", 0)
MINUTE = 60_000_000


def lead(server: RedisServer, nonce: int) -> int:
    """How far ahead of Redis's clock a token is that is granted now, µs."""
    claimed = claim_one(server, nonce)
    return claimed.grants[0].token - claimed.now


def granted(server: RedisServer, nonce: int) -> int:
    """A token that is granted now."""
    return claim_one(server, nonce).grants[0].token


def claim_one(server: RedisServer, nonce: int) -> Claimed:
    """Enqueue a job and claim it."""
    store = Store(target(server.url), patience=5.0)
    try:
        store.run(enqueue(LANE, [Entry(f"mail.0.{nonce}", 2, "", "", b"envelope")]))
        return store.run(claim(LANE, child="w.1", nonce=nonce, lease_us=MINUTE, limit=1))
    finally:
        store.close()


def let_a_minute_pass(server: RedisServer) -> None:
    """Let the last token of the lane lie in the past, as it does a minute after the first claim of a lane."""
    server.client().hset(LANE.lane, "token", 1)


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
        assert lead(server, 1) == MINUTE
        let_a_minute_pass(server)
        assert lead(server, 2) == 0

        server.restart()

        assert lead(server, 3) == MINUTE
    finally:
        server.stop()


def test_a_replica_that_is_promoted_counts_as_another(pair: tuple[RedisServer, RedisServer]) -> None:
    primary, replica = pair
    lead(primary, 1)
    let_a_minute_pass(primary)
    follow(replica, primary)

    promote(replica, primary)

    assert lead(replica, 2) == MINUTE


def test_a_primary_that_takes_over_again_counts_as_another_though_it_never_restarted(
    pair: tuple[RedisServer, RedisServer],
) -> None:
    primary, replica = pair
    lead(primary, 1)
    let_a_minute_pass(primary)
    follow(replica, primary)
    promote(replica, primary)

    promote(primary, replica)

    assert lead(primary, 2) == MINUTE


@pytest.mark.parametrize("how", ["flushed", "restarted", "replaced"])
def test_tokens_never_go_back_when_all_data_is_lost(how: str) -> None:
    with RedisServer(tcp=True) as server, RedisServer(tcp=True) as empty:
        server.client().set("mark", "data")
        tokens = [granted(server, nonce) for nonce in (1, 2)]
        if how == "flushed":
            server.client().flushall()
        elif how == "restarted":
            server.restart()
        heir = empty if how == "replaced" else server

        tokens += [granted(heir, nonce) for nonce in (1, 2)]

    assert tokens == sorted(set(tokens))
