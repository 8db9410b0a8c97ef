from __future__ import annotations

from jobfleet.store.calls.flow import unwatch
from tests.lua.world import World


def seeded(world: World) -> str:
    world.raw.zadd(world.lane.dependants("mail.0.p"), {"mail.0.a": 0, "mail.0.b": 0, "mail.0.c": 0})
    entry = world.raw.xadd(world.lane.outbox, {"id": "mail.0.p"})
    assert isinstance(entry, bytes)
    return entry.decode()


def test_the_record_stays_until_all_were_told(world: World) -> None:
    entry = seeded(world)

    assert world.run(unwatch(world.lane, entry, "mail.0.p", [("mail.0.a", False)], ending_ms=500)) == 2

    assert world.state()["dependants:mail.0.p"] == {"mail.0.b": 0, "mail.0.c": 0}
    assert world.raw.xlen(world.lane.outbox) == 1


def test_the_last_takes_the_record_along_and_who_waits_for_a_replay_stays(world: World) -> None:
    entry = seeded(world)
    told = [("mail.0.a", False), ("mail.0.b", True), ("mail.0.c", False)]

    assert world.run(unwatch(world.lane, entry, "mail.0.p", told, ending_ms=500)) == 0

    assert world.state()["dependants:mail.0.p"] == {"mail.0.b": 500}
    assert world.raw.xlen(world.lane.outbox) == 0
    assert world.again(unwatch(world.lane, entry, "mail.0.p", told, ending_ms=500)) == 0


def test_the_record_of_an_ending_that_was_undone_goes_and_all_stay(world: World) -> None:
    entry = seeded(world)

    assert world.run(unwatch(world.lane, entry, "mail.0.p", [], ending_ms=0)) == 0

    assert world.state()["dependants:mail.0.p"] == {"mail.0.a": 0, "mail.0.b": 0, "mail.0.c": 0}
    assert world.raw.xlen(world.lane.outbox) == 0
