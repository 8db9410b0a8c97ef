from __future__ import annotations

from jobfleet.store.calls.cron import note_outcomes
from tests.lua.world import World


def test_numbers_are_written_over_those_that_were_read_and_forgotten_with_their_entries(world: World) -> None:
    """``b`` was written by another process since it was read; one of an older version has removed ``gone``."""
    world.raw.hset(world.keys.cron, mapping={"a": "17 x\nr", "b": "18 x\nr", "c": "19 x\nr"})
    world.raw.hset(world.keys.cron_outcomes, mapping={"b": "theirs", "c": "old", "gone": "old"})
    call = note_outcomes(world.keys, [("a", b"", b"a1"), ("b", b"old", b"b1"), ("c", b"old", b"c1"), ("d", b"", b"d1")])

    assert world.run(call) == 2

    assert world.state()["cron-outcomes"] == {"a": "a1", "b": "theirs", "c": "c1"}
    assert world.again(call) == 0
