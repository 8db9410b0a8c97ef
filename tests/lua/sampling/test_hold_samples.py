from __future__ import annotations

from typing import Any

from jobfleet.store.calls.samples import Hold, hold_samples
from tests.lua.world import World
from tests.support.seed import S

LEASE = 20 * S


def test_the_first_process_has_the_duty_and_renews_it(world: World) -> None:
    first = world.run(hold_samples(world.keys, "a", lease_us=LEASE))
    again = world.run(hold_samples(world.keys, "a", lease_us=LEASE))

    assert isinstance(first, Hold)
    assert isinstance(again, Hold)
    assert first[1:] == again[1:] == (None, 0, None)
    assert world.state() == {"samples": {"holder": "a", "until": "now+20s"}}


def test_another_process_waits_until_the_end_of_the_lease(world: World) -> None:
    world.run(hold_samples(world.keys, "a", lease_us=LEASE))

    rest = world.refused(hold_samples(world.keys, "b", lease_us=LEASE))

    assert isinstance(rest, int)
    assert 0 < rest <= LEASE


def test_the_duty_of_a_dead_process_is_taken_over_with_its_state(world: World) -> None:
    seeded: dict[Any, Any] = {"holder": "a", "until": world.now - S, "last": 7, "epoch": 2, "hour": 3}
    world.raw.hset(world.keys.samples, mapping=seeded)

    held = world.run(hold_samples(world.keys, "b", lease_us=LEASE))

    assert isinstance(held, Hold)
    assert held[1:] == (7, 2, 3)
    assert world.state()["samples"]["holder"] == "b"


def test_an_end_from_before_the_clock_was_set_back_does_not_count(world: World) -> None:
    world.raw.hset(world.keys.samples, mapping={"holder": "a", "until": world.now + 3600 * S})

    assert isinstance(world.run(hold_samples(world.keys, "b", lease_us=LEASE)), Hold)


def test_a_process_gives_the_duty_up_and_nobody_else_can(world: World) -> None:
    world.run(hold_samples(world.keys, "a", lease_us=LEASE))
    world.refused(hold_samples(world.keys, "b", lease_us=0))

    world.run(hold_samples(world.keys, "a", lease_us=0))

    assert world.state() == {}
