from __future__ import annotations

from typing import Any

from jobfleet.model.limits import Demand
from jobfleet.store.calls.limits import Leaving, Passed, Passing, Room, define_limit, leave_gates, pass_gates, shut_gate
from tests.lua.world import World

YEAR_US = 365 * 86_400_000_000
BREAKER = Demand("breaker:function:f", words="0.5 2 2 60000000 1000000")


def passing(suffix: str, *demands: Demand) -> Passing:
    return Passing(f"mail.0.{suffix}", 7, demands)


def inside(world: World, gate: str) -> list[bytes]:
    return sorted(bytes(one) for one in world.raw.zrange(world.keys.inside(gate), 0, -1))  # type: ignore[arg-type]


def test_a_limit_without_a_definition_lets_all_pass_and_says_so(world: World) -> None:
    seen = world.run(pass_gates(world.keys, "c", [passing("a", Demand("limit:x"))]))

    assert seen[1:] == Passed(0, ("",), frozenset(), {"limit:x": Room(-1, -1, 0, 0, -1)})[1:]
    assert world.state() == {}


def test_as_many_pass_as_there_are_places_and_the_child_is_to_be_notified(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", most=2))
    runs = [passing(suffix, Demand("limit:x")) for suffix in "abc"]

    seen = world.run(pass_gates(world.keys, "c", runs))

    assert seen.refusals == ("", "", "limit:x")
    assert seen.rooms == {"limit:x": Room(0, -1, 0, 0, 0)}
    assert inside(world, "limit:x") == [b"7 0 mail.0.a", b"7 0 mail.0.b"]
    waiting: Any = world.raw.hget(world.keys.gate("limit:x"), "waiting")
    assert waiting.endswith(b"@c")


def test_costs_count_against_the_rate_until_the_period_is_over(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", count=10, period_us=YEAR_US, rate="10/365d"))
    runs = [passing("a", Demand("limit:x", 6)), passing("b", Demand("limit:x", 5)), passing("c", Demand("limit:x", 4))]

    seen = world.run(pass_gates(world.keys, "c", runs[:2]))

    assert seen.refusals == ("", "limit:x")
    room = seen.rooms["limit:x"]
    assert (room.units, room.then, room.period) == (4, 10, YEAR_US)
    assert YEAR_US < room.at - seen.now <= 68 * YEAR_US / 64
    # The refused job is the first for a moment, so that one of a lower cost does not overtake it.
    assert world.run(pass_gates(world.keys, "c", runs[2:])).refusals == ("limit:x",)


def test_a_cost_that_can_never_fit_is_named(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", count=10, period_us=YEAR_US, rate="10/365d"))

    seen = world.run(pass_gates(world.keys, "c", [passing("a", Demand("limit:x", 11))]))

    assert seen.impossible == {0}
    assert seen.rooms["limit:x"].units == 10


def test_a_run_takes_all_of_its_limits_or_none(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", most=5))
    world.run(define_limit(world.keys, "limit:y", most=1))
    demands = (Demand("limit:x"), Demand("limit:y"))

    seen = world.run(pass_gates(world.keys, "c", [passing("a", *demands), passing("b", *demands)]))

    assert seen.refusals == ("", "limit:y")
    assert seen.rooms["limit:x"].places == 4
    assert inside(world, "limit:x") == inside(world, "limit:y") == [b"7 0 mail.0.a"]


def test_no_run_passes_a_limit_that_is_closed(world: World) -> None:
    world.run(shut_gate(world.keys, "limit:x", 60_000_000, by="ann"))

    seen = world.run(pass_gates(world.keys, "c", [passing("a", Demand("limit:x"))]))

    assert seen.refusals == ("limit:x",)
    assert seen.rooms["limit:x"].places == 0
    assert 0 < seen.rooms["limit:x"].at - seen.now <= 60_000_000


def test_an_open_breaker_lets_a_few_runs_try_after_its_cooldown(world: World) -> None:
    world.run(shut_gate(world.keys, BREAKER.gate, 3_600_000_000, by="ann"))
    assert world.run(pass_gates(world.keys, "c", [passing("a", BREAKER)])).refusals == (BREAKER.gate,)
    world.raw.hset(world.keys.gate(BREAKER.gate), "until", world.now - 1)

    seen = world.run(pass_gates(world.keys, "c", [passing(suffix, BREAKER) for suffix in "abc"]))

    assert seen.refusals == ("", "", BREAKER.gate)
    assert inside(world, BREAKER.gate) == [b"7 0 mail.0.a", b"7 0 mail.0.b"]
    assert world.raw.hget(world.keys.gate(BREAKER.gate), "state") == b"half"


def test_a_rate_that_was_used_long_ago_is_free_again(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", count=10, period_us=YEAR_US, rate="10/365d"))
    bucket = world.now // (YEAR_US // 64)
    world.raw.hset(world.keys.gate("limit:x"), "used", f"{bucket - 68}:9 {bucket - 67}:3")

    seen = world.run(pass_gates(world.keys, "", [], look=[Demand("limit:x")]))

    assert seen.rooms["limit:x"].units == 7


def test_an_unused_run_gives_its_cost_back(world: World) -> None:
    world.run(define_limit(world.keys, "limit:x", count=10, period_us=YEAR_US, rate="10/365d"))
    demands = (Demand("limit:x", 6),)
    seen = world.run(pass_gates(world.keys, "c", [passing("a", *demands)]))

    world.run(leave_gates(world.keys, "c", [Leaving("7 0 mail.0.a", demands, "unused", "", seen.now)]))

    assert world.run(pass_gates(world.keys, "", [], look=demands)).rooms["limit:x"].units == 10


def test_the_list_of_children_that_wait_is_bounded_and_forgets_those_that_do_not_ask_again(world: World) -> None:
    key = world.keys.gate("limit:x")
    world.run(define_limit(world.keys, "limit:x", most=1))
    world.run(pass_gates(world.keys, "c", [passing("a", Demand("limit:x"))]))
    world.raw.hset(key, "waiting", f"{world.now // 1_000_000 - 31}@dead {world.now // 1_000_000 - 20}@slow c-of-old")

    for child in ("c1", "slow"):
        world.run(pass_gates(world.keys, child, [passing("b", Demand("limit:x"))]))

    waiting: Any = world.raw.hget(key, "waiting")
    assert [one.partition("@")[2] for one in waiting.decode().split()] == ["slow", "c1"]
    assert int(waiting.split(b"@")[0]) >= world.now // 1_000_000 - 1, "it has renewed its time"
    many = " ".join(f"{world.now // 1_000_000}@machine-{number}.example.com:{number}:9ecf70.0" for number in range(199))
    world.raw.hset(key, "waiting", many)
    for child in ("c2", "c3"):
        world.go(pass_gates(world.keys, child, [], look=[Demand("limit:x")]))
    assert len(world.raw.hget(key, "waiting").split()) == 200  # type: ignore[union-attr]
