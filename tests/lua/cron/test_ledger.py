from __future__ import annotations

from jobfleet.store.calls.cron import LEDGER_MOST, ledger
from tests.lua.world import World


def test_the_first_note_on_a_fire_stands(world: World) -> None:
    world.raw.hset(world.keys.cron, "a", "its record")
    assert world.run(ledger(world.keys, "a", [(17, "fired x"), (18, "late y")])) == 2

    assert world.state() == {"cron": {"a": "its record"}, "cron-ledger:a": {"17 fired x": 17, "18 late y": 18}}
    assert world.again(ledger(world.keys, "a", [(17, "missed"), (18, "late y")])) == 0


def test_a_note_that_comes_after_its_entry_was_removed_is_dropped(world: World) -> None:
    world.raw.hset(world.keys.cron, "b", "its record")

    assert world.run(ledger(world.keys, "a", [(17, "fired x")])) is None

    assert world.state() == {"cron": {"b": "its record"}}


def test_old_notes_go(world: World) -> None:
    world.raw.hset(world.keys.cron, "a", "its record")
    world.raw.zadd(world.keys.cron_ledger("a"), {f"{n} fired": n for n in range(LEDGER_MOST)})

    world.run(ledger(world.keys, "a", [(LEDGER_MOST, "fired")]))

    assert world.raw.zcard(world.keys.cron_ledger("a")) == LEDGER_MOST
    assert world.raw.zrange(world.keys.cron_ledger("a"), 0, 0) == [b"1 fired"]
