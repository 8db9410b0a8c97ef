from __future__ import annotations

from jobfleet.store.calls.cron import remove
from tests.lua.world import World


def test_an_entry_goes_with_its_pause_and_its_ledger(world: World) -> None:
    world.raw.hset(world.keys.cron, mapping={"a": "17 x\nr", "b": "18 x\nr"})
    world.raw.hset(world.keys.cron_paused, "a", "ann@1")
    world.raw.zadd(world.keys.cron_ledger("a"), {"17 fired": 17})
    world.raw.hset(world.keys.cron_outcomes, "a", "numbers")

    assert world.run(remove(world.keys, "a")) is True

    assert world.state() == {"cron": {"b": "18 x\nr"}}
    assert world.again(remove(world.keys, "a")) is False
