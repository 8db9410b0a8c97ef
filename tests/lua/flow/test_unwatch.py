from __future__ import annotations

from jobfleet.store.calls.flow import NOTIFIED, READS, WAITS, unwatch
from tests.lua.world import World


def seeded(world: World) -> str:
    world.raw.zadd(world.lane.dependants("mail.0.p"), {"mail.0.a": 0, "mail.0.b": 0, "mail.0.c": 0})
    entry = world.raw.xadd(world.lane.outbox, {"id": "mail.0.p"})
    assert isinstance(entry, bytes)
    return entry.decode()


def test_the_record_stays_until_all_were_told(world: World) -> None:
    entry = seeded(world)

    assert world.run(unwatch(world.lane, entry, "mail.0.p", [("mail.0.a", NOTIFIED)], ending_ms=500)) == 2

    assert world.state()["dependants:mail.0.p"] == {"mail.0.b": 0, "mail.0.c": 0}
    assert world.raw.xlen(world.lane.outbox) == 1


def test_the_last_takes_the_record_along_and_who_waits_for_a_replay_stays(world: World) -> None:
    entry = seeded(world)
    told = [("mail.0.a", NOTIFIED), ("mail.0.b", WAITS), ("mail.0.c", NOTIFIED)]

    assert world.run(unwatch(world.lane, entry, "mail.0.p", told, ending_ms=500)) == 0

    assert world.state()["dependants:mail.0.p"] == {"mail.0.b": 500}
    assert world.raw.xlen(world.lane.outbox) == 0
    assert world.again(unwatch(world.lane, entry, "mail.0.p", told, ending_ms=500)) == 0


def test_the_record_of_an_ending_that_was_undone_goes_and_all_stay(world: World) -> None:
    entry = seeded(world)

    assert world.run(unwatch(world.lane, entry, "mail.0.p", [], ending_ms=0)) == 0

    assert world.state()["dependants:mail.0.p"] == {"mail.0.a": 0, "mail.0.b": 0, "mail.0.c": 0}
    assert world.raw.xlen(world.lane.outbox) == 0


def test_who_reads_the_record_later_stays_as_long_as_the_record(world: World) -> None:
    entry = seeded(world)
    world.seed.completed("p")

    assert world.run(unwatch(world.lane, entry, "mail.0.p", [("mail.0.a", READS)], ending_ms=500)) == 2
    assert world.state()["dependants:mail.0.p"] == {"mail.0.a": 500, "mail.0.b": 0, "mail.0.c": 0}
    assert world.raw.ttl(world.lane.dependants("mail.0.p")) == -1  # two are still to be told

    told = [("mail.0.b", NOTIFIED), ("mail.0.c", NOTIFIED), ("mail.0.a", READS)]
    assert world.run(unwatch(world.lane, entry, "mail.0.p", told, ending_ms=500)) == 0

    assert world.state()["dependants:mail.0.p"] == {"mail.0.a": 500}
    assert 990 < world.raw.ttl(world.lane.dependants("mail.0.p")) <= 1000
    assert world.again(unwatch(world.lane, entry, "mail.0.p", told, ending_ms=500)) == 0


def test_nobody_stays_for_a_record_that_is_not_there(world: World) -> None:
    entry = seeded(world)
    told = [(f"mail.0.{one}", READS) for one in "abc"]

    assert world.run(unwatch(world.lane, entry, "mail.0.p", told, ending_ms=500)) == 0

    assert world.state() == world.moved({"dependants:mail.0.p": None, "outbox": []})
