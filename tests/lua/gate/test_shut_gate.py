from __future__ import annotations

from jobfleet.store.calls.gate.state import FOREVER, define_limit, shut_gate
from tests.lua.world import World

BREAKER = "breaker:function:f"


def closed(world: World) -> int:
    return int(world.raw.hget(world.keys.gate("limit:x"), "closed") or 0)


def test_a_service_that_refuses_can_only_lengthen_the_closing(world: World) -> None:
    assert world.run(shut_gate(world.keys, "limit:x", 60_000_000, by="c", since=5)) is True
    until = closed(world)

    assert world.run(shut_gate(world.keys, "limit:x", 1_000_000, by="c", since=5)) is False
    assert closed(world) == until
    assert world.run(shut_gate(world.keys, "limit:x", 1_000_000, by="ann")) is True
    assert closed(world) < until


def test_a_limit_that_is_opened_was_closed(world: World) -> None:
    world.run(shut_gate(world.keys, "limit:x", FOREVER, by="ann"))

    assert world.run(shut_gate(world.keys, "limit:x", 0, by="ann")) is True
    assert world.run(shut_gate(world.keys, "limit:x", 0, by="ann")) is False


def test_an_adaptive_limit_halves_once_for_all_runs_that_were_refused_together(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", bounds=(2, 40)))
    world.raw.hset(world.keys.gate("limit:x"), "level", "20")
    before = world.now - 1

    for _ in range(3):
        world.run(shut_gate(world.keys, "limit:x", 1_000_000, by="c", since=before))

    assert world.raw.hget(world.keys.gate("limit:x"), "level") == b"10.0000"


def test_a_breaker_is_opened_and_closed_by_an_operator(world: World) -> None:
    assert world.run(shut_gate(world.keys, BREAKER, FOREVER, by="ann", reason="they are down")) is True
    kept = world.raw.hmget(world.keys.gate(BREAKER), "state", "until", "by", "why")
    assert kept == [b"open", b"0", b"ann", b"they are down"]

    assert world.run(shut_gate(world.keys, BREAKER, 0, by="bob")) is True
    assert world.run(shut_gate(world.keys, BREAKER, 0, by="bob")) is False
    assert world.raw.hmget(world.keys.gate(BREAKER), "state", "by") == [b"", b"bob"]
