from __future__ import annotations

from jobfleet.model.limits import Demand
from jobfleet.store.calls import limits
from jobfleet.store.calls.limits import FOREVER, Leaving, Opening, define_limit, leave_gates, openings, shut_gate
from tests.lua.world import World

WORDS = "0.5 1 1 60000000 1000000"


def names(world: World, *, used: int = 0, opened: int = 0, skip: int = 0) -> list[str]:
    seen = world.refused(openings(world.keys, used_us=used, opened_us=opened, skip=skip))
    return [one.name for one in seen.rows]


def test_breakers_that_have_opened_are_returned_however_they_did(world: World) -> None:
    by_hand, by_runs, timed = (f"breaker:function:{name}" for name in ("hand", "runs", "timed"))
    demand, sound = Demand(by_runs, words=WORDS), Demand("breaker:function:sound", words=WORDS)
    runs = [
        Leaving("7 0 mail.0.a", (demand,), "fail", "ConnectionError", 0),
        Leaving("7 0 mail.0.b", (sound,), "ok", "", 0),
    ]
    world.run(define_limit(world.keys, "limit:x", most=1))
    world.run(shut_gate(world.keys, "limit:x", FOREVER, by="ann"))
    world.run(shut_gate(world.keys, by_hand, FOREVER, by="ann", reason="they are down"))
    world.run(shut_gate(world.keys, timed, 60_000_000, by="ann"))
    world.run(leave_gates(world.keys, "c", runs))

    seen = world.refused(openings(world.keys, used_us=world.now - 5, opened_us=0))

    assert sorted(one.name for one in seen.rows) == [by_hand, by_runs, timed]
    (first, *_) = seen.rows
    assert first == Opening(by_hand, first.at, "ann", "they are down")
    assert seen.looked == 3
    assert names(world, opened=seen.now) == []
    assert names(world, used=seen.now + 3_600_000_000) == []


def test_open_breakers_come_before_others_that_were_used_and_a_damaged_one_hides_none(world: World) -> None:
    used = {f"breaker:group:mail:{number}": world.now + number for number in range(limits.LOOKED)}
    world.raw.zadd(world.keys.gates, used)
    world.raw.set(world.keys.gate("breaker:group:mail:7"), "no hash")
    world.run(shut_gate(world.keys, "breaker:function:f", 60_000_000, by="ann"))

    seen = world.refused(openings(world.keys, used_us=world.now - 5, opened_us=0))

    assert ([one.name for one in seen.rows], seen.looked) == (["breaker:function:f"], limits.LOOKED)
    assert names(world, skip=1) == []


def test_a_breaker_that_nobody_has_used_since_is_not_looked_at(world: World) -> None:
    world.raw.zadd(world.keys.gates, {"breaker:function:f": world.now - 60_000_000})
    world.raw.hset(world.keys.gate("breaker:function:f"), "opened", world.now - 60_000_000)

    assert names(world, used=world.now - 61_000_000) == ["breaker:function:f"]
    assert names(world, used=world.now - 59_000_000) == []
