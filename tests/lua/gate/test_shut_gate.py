from __future__ import annotations

import pytest

from jobfleet.model.limits import Demand
from jobfleet.store.calls.limits import FOREVER, MOST_LIMITS, Passing, define_limit, pass_gates, shut_gate
from tests.lua.world import World

BREAKER = "breaker:function:f"

WORDS = "0.5 2 2 60000000 1000000"
DAY_MS = 86_400_000


def lifetime_ms(world: World, gate: str) -> int:
    """For how long the state of a gate is kept; -1 without an end."""
    return int(str(world.raw.pttl(world.keys.gate(gate))))


def last_use(world: World, gate: str) -> float:
    return float(str(world.raw.zscore(world.keys.gates, gate)))


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


@pytest.mark.parametrize("gate", [BREAKER, "limit:x"])
def test_what_is_shut_until_somebody_opens_it_has_no_end_until_then(world: World, gate: str) -> None:
    world.run(shut_gate(world.keys, gate, FOREVER, by="ann"))
    demand = Demand(gate, words=WORDS if gate == BREAKER else "")
    assert world.run(pass_gates(world.keys, "c", [Passing(world.id("a"), 7, (demand,))])).refusals == (gate,)

    assert lifetime_ms(world, gate) == -1
    assert last_use(world, gate) >= 9e15

    world.run(shut_gate(world.keys, gate, 0, by="ann"))
    assert 29 * DAY_MS < lifetime_ms(world, gate) <= 30 * DAY_MS
    assert last_use(world, gate) < 9e15


@pytest.mark.parametrize("gate", [BREAKER, "limit:x"])
def test_what_is_shut_for_long_is_kept_for_as_long(world: World, gate: str) -> None:
    world.run(shut_gate(world.keys, gate, 90 * DAY_MS * 1000, by="ann"))
    demand = Demand(gate, words=WORDS if gate == BREAKER else "")
    assert world.run(pass_gates(world.keys, "c", [Passing(world.id("a"), 7, (demand,))])).refusals == (gate,)

    assert lifetime_ms(world, gate) > 90 * DAY_MS
    assert last_use(world, gate) > world.now + 89 * DAY_MS * 1000


def test_so_many_gates_without_an_end_are_refused(world: World) -> None:
    world.raw.zadd(world.keys.gates, {f"limit:{number}": 9e15 for number in range(MOST_LIMITS)})

    assert world.refused(shut_gate(world.keys, BREAKER, FOREVER, by="ann")) is None
    assert world.run(shut_gate(world.keys, "limit:1", FOREVER, by="ann")) is True
    assert world.run(shut_gate(world.keys, BREAKER, 60_000_000, by="ann")) is True
