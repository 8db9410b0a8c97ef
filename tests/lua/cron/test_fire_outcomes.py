from __future__ import annotations

from jobfleet.store.calls.cron import fire_outcomes
from tests.lua.world import World


def test_the_numbers_of_all_entries_or_of_some_are_read(world: World) -> None:
    world.raw.hset(world.keys.cron_outcomes, mapping={"a": "1", "b": "2", "c": "3"})

    assert world.again(fire_outcomes(world.keys)) == {"a": b"1", "b": b"2", "c": b"3"}
    assert world.again(fire_outcomes(world.keys, ["c", "none", "a"])) == {"c": b"3", "a": b"1"}
