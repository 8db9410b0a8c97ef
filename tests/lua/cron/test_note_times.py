from __future__ import annotations

from jobfleet.store.calls.cron import note_times
from tests.lua.world import World


def test_times_are_noted_for_entries_as_they_are_and_forgotten_with_them(world: World) -> None:
    """As after the former revision has added ``a``, changed ``b`` and removed ``gone``."""
    world.raw.hset(world.keys.cron, mapping={"a": "17 x\nr", "b": "18 x\nr", "c": "19 x\nr"})
    world.raw.hset(world.keys.cron_times, mapping={"b": "16\nold", "gone": "1\nt", "lost": "1\nt"})
    call = note_times(world.keys, [("a", 17, b"t"), ("b", 18, b"new"), ("c", 20, b"it has changed"), ("d", 1, b"t")])

    assert world.run(call) == 4

    assert world.state()["cron-times"] == {"a": "17\nt", "b": "18\nnew"}
    assert world.again(call) == 0


def test_entries_that_are_gone_are_forgotten_though_none_is_new(world: World) -> None:
    world.raw.hset(world.keys.cron_times, "gone", "1\nt")

    assert world.run(note_times(world.keys, [])) == 1

    assert world.state() == {}
