from __future__ import annotations

from jobfleet.store.calls.samples import samples
from tests.lua.world import World


def test_a_fleet_that_was_never_sampled(world: World) -> None:
    assert world.refused(samples(world.keys))[1:] == (None, {})


def test_the_last_step_and_the_versions(world: World) -> None:
    world.raw.hset(world.keys.samples, "last", 7)
    world.raw.zadd(world.keys.versions, {"1.0": 5, "2.0": 6})

    assert world.refused(samples(world.keys))[1:] == (7, {"1.0": 5, "2.0": 6})


def test_a_last_step_that_is_no_number_counts_as_none(world: World) -> None:
    world.raw.hset(world.keys.samples, "last", "spoilt")

    assert world.refused(samples(world.keys)).last is None
