from __future__ import annotations

from typing import Any

from jobfleet.model.limits import Demand
from jobfleet.store.calls.limits import Leaving, Passing, define_limit, leave_gates, pass_gates
from tests.lua.world import World

LIMIT = Demand("limit:x")
BREAKER = Demand("breaker:function:f", words="0.5 4 2 60000000 1000000")


def passing(suffix: str, *demands: Demand) -> Passing:
    return Passing(f"mail.0.{suffix}", 7, demands)


def leaving(suffix: str, outcome: str, *demands: Demand) -> Leaving:
    return Leaving(f"7 0 mail.0.{suffix}", demands, outcome, "Busy" if outcome == "fail" else "", 0)


def state_of(world: World, *fields: str) -> list[bytes | None]:
    return list(world.raw.hmget(world.keys.gate(BREAKER.gate), fields))  # type: ignore[arg-type]  # not a pipeline


def waiting_at(world: World) -> list[str]:
    text: Any = world.raw.hget(world.keys.gate(LIMIT.gate), "waiting")
    return [one.partition("@")[2] for one in text.decode().split()]


def test_a_place_is_free_again_and_a_child_that_waits_is_notified(world: World) -> None:
    world.run(define_limit(world.keys, LIMIT.gate, most=1))
    world.run(pass_gates(world.keys, "c1", [passing("a", LIMIT)]))
    world.run(pass_gates(world.keys, "c2", [passing("b", LIMIT)]))
    raw: Any = world.raw
    heard = raw.pubsub(ignore_subscribe_messages=True)
    heard.subscribe(world.keys.gate_freed("c1"))
    heard.get_message(timeout=5)

    assert world.run(leave_gates(world.keys, "c1", [leaving("a", "ok", LIMIT)])) == []

    message = heard.get_message(timeout=5)
    heard.close()
    assert message is not None
    assert message["data"] == b"limit:x"
    assert world.raw.exists(world.keys.inside(LIMIT.gate)) == 0
    assert waiting_at(world) == ["c2"]

    world.run(leave_gates(world.keys, "c2", [], gone=[LIMIT]))
    assert waiting_at(world) == [], "a child that ends is notified no more"


def test_a_run_frees_its_place_although_the_limit_was_removed_while_it_ran(world: World) -> None:
    world.run(define_limit(world.keys, LIMIT.gate, most=1))
    world.run(pass_gates(world.keys, "c", [passing("a", LIMIT)]))
    world.run(define_limit(world.keys, LIMIT.gate, how="remove"))

    world.run(leave_gates(world.keys, "c", [leaving("a", "ok", LIMIT)]))

    assert world.state() == {}


def test_an_adaptive_limit_grows_by_one_when_all_of_its_runs_have_succeeded(world: World) -> None:
    world.run(define_limit(world.keys, LIMIT.gate, bounds=(2, 3)))
    levels = []
    for _ in range(4):
        world.run(pass_gates(world.keys, "c", [passing("a", LIMIT)]))
        world.run(leave_gates(world.keys, "c", [leaving("a", "ok", LIMIT)]))
        levels.append(float(str(world.raw.hget(world.keys.gate(LIMIT.gate), "level"), "ascii")))  # type: ignore[arg-type]

    assert levels == [2.5, 2.9, 3.0, 3.0]


def test_a_breaker_opens_when_enough_runs_have_failed_and_says_why(world: World) -> None:
    three = [leaving("a", "ok", BREAKER), leaving("b", "fail", BREAKER), leaving("c", "none", BREAKER)]
    assert world.run(leave_gates(world.keys, "c", [*three, leaving("d", "ok", BREAKER)])) == []

    changes = world.run(leave_gates(world.keys, "c", [leaving("e", "fail", BREAKER)]))

    why = "2 of 4 runs failed, the last one with Busy"
    assert changes == [(BREAKER.gate, "open", why)]
    assert state_of(world, "state", "by", "why") == [b"open", b"c", why.encode()]
    # Runs that began before it opened change nothing any more.
    assert world.run(leave_gates(world.keys, "c", [leaving("f", "fail", BREAKER)])) == []


def test_a_trial_that_succeeds_closes_the_breaker_and_one_failure_opens_it_again(world: World) -> None:
    key = world.keys.gate(BREAKER.gate)
    for outcomes, word, why in (
        (("ok", "ok"), "", "2 runs of its trial succeeded"),
        (("ok", "fail"), "open", "a run of its trial failed: Busy"),
    ):
        world.raw.hset(key, mapping={"state": "open", "until": world.now - 1})
        world.run(pass_gates(world.keys, "c", [passing("a", BREAKER), passing("b", BREAKER)]))
        ends = [leaving(suffix, outcome, BREAKER) for suffix, outcome in zip("ab", outcomes, strict=True)]

        assert world.run(leave_gates(world.keys, "c", ends)) == [(BREAKER.gate, word, why)]
        assert (state_of(world, "state")[0] or b"").decode() == word


def test_a_trial_of_one_run_is_named_in_the_singular(world: World) -> None:
    breaker = Demand(BREAKER.gate, words="0.5 4 1 60000000 1000000")
    world.raw.hset(world.keys.gate(BREAKER.gate), mapping={"state": "open", "until": world.now - 1})
    world.run(pass_gates(world.keys, "c", [passing("a", breaker)]))

    changes = world.run(leave_gates(world.keys, "c", [leaving("a", "ok", breaker)]))
    assert changes == [(BREAKER.gate, "", "1 run of its trial succeeded")]


def test_a_repeated_report_counts_once(world: World) -> None:
    call = leave_gates(world.keys, "c", [leaving("a", "fail", BREAKER)]).named()
    world.run(call)

    world.again(call)

    assert (state_of(world, "counts")[0] or b"").endswith(b":0:1")
