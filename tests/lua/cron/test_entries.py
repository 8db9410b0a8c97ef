from __future__ import annotations

from jobfleet.store.calls.cron import Scheduled, entries
from tests.lua.world import World


def test_entries_come_by_name_with_who_paused_them(world: World) -> None:
    world.raw.hset(world.keys.cron, mapping={"b": "18 x\nrecord\nof two lines", "a": "17 x\nr"})
    world.raw.hset(world.keys.cron_paused, "b", "ann@99")

    _, rows = world.again(entries(world.keys))

    assert rows == [Scheduled("a", 17, b"r"), Scheduled("b", 18, b"record\nof two lines", "ann", 99)]


def test_a_fleet_without_entries(world: World) -> None:
    assert world.again(entries(world.keys))[1] == []
