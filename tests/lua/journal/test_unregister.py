from __future__ import annotations

from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.calls.journal import register, unregister
from jobfleet.store.records import Entry
from tests.lua.journal.test_register import groups
from tests.lua.world import World


def test_without_its_last_reader_a_journal_goes_and_is_not_written(world: World) -> None:
    world.run(register(world.lane, "archive", most=1000))
    world.run(enqueue(world.lane, [Entry(world.id("a"), 2, "", "", b"envelope")]))

    assert world.run(unregister(world.lane, "archive")) is True

    totals = {"enqueued": "1", "journal": "now", "journal_low": "now"}
    assert world.state() == world.moved({"conf": None, "journal": None, "totals": totals})
    assert world.again(unregister(world.lane, "archive")) is False
    assert world.raw.hget(world.lane.totals, "journal") == world.raw.hget(world.lane.totals, "journal_low")


def test_other_readers_go_on(world: World) -> None:
    world.run(register(world.lane, "archive", most=1000))
    world.run(register(world.lane, "notify", most=1000))

    assert world.run(unregister(world.lane, "archive")) is True

    assert groups(world) == {"notify": "0"}
    assert world.state()["conf"] == {"journal": "1000"}


def test_a_lane_without_a_journal_has_nothing_to_let_go(world: World) -> None:
    assert world.refused(unregister(world.lane, "archive")) is False
