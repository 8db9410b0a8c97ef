from __future__ import annotations

from typing import Any

from jobfleet.store.calls.flow import NOTIFIED, READS, WAITS, Notified, unwatch_many
from tests.lua.world import World


def ended(world: World, name: str, *children: str) -> str:
    world.raw.zadd(world.lane.dependants(world.id(name)), dict.fromkeys(children, 0))
    entry: Any = world.raw.xadd(world.lane.outbox, {"id": world.id(name)})
    return str(entry.decode())


def test_only_the_record_of_an_ending_of_which_all_were_told_goes(world: World) -> None:
    p, q = ended(world, "p", "mail.0.a", "mail.0.b"), ended(world, "q", "mail.0.c", "mail.0.d")
    first = Notified(p, "mail.0.p", 500, [("mail.0.a", NOTIFIED)])
    second = Notified(q, "mail.0.q", 500, [("mail.0.c", NOTIFIED), ("mail.0.d", WAITS)])

    assert world.run(unwatch_many(world.lane, [first, second])) == [1, 0]

    assert world.state() == world.moved(
        {
            "dependants:mail.0.p": {"mail.0.b": 0},
            "dependants:mail.0.q": {"mail.0.d": 500},
            "outbox": [{"id": "mail.0.p"}],
        }
    )
    assert world.again(unwatch_many(world.lane, [first, second])) == [1, 0]


def test_the_record_of_an_ending_that_was_undone_goes_and_all_stay(world: World) -> None:
    entry = ended(world, "p", "mail.0.a")

    assert world.run(unwatch_many(world.lane, [Notified(entry, "mail.0.p", 0, [])])) == [0]

    assert world.state() == world.moved({"dependants:mail.0.p": {"mail.0.a": 0}, "outbox": []})


def test_who_reads_the_record_later_stays_as_long_as_the_record(world: World) -> None:
    entry = ended(world, "p", "mail.0.a", "mail.0.b")
    world.seed.completed("p")

    assert world.run(unwatch_many(world.lane, [Notified(entry, "mail.0.p", 500, [("mail.0.a", READS)])])) == [1]
    assert world.raw.ttl(world.lane.dependants("mail.0.p")) == -1  # one is still to be told

    told = Notified(entry, "mail.0.p", 500, [("mail.0.b", NOTIFIED), ("mail.0.a", READS)])
    assert world.run(unwatch_many(world.lane, [told])) == [0]
    assert world.state()["dependants:mail.0.p"] == {"mail.0.a": 500}
    assert 990 < world.raw.ttl(world.lane.dependants("mail.0.p")) <= 1000
    assert world.again(unwatch_many(world.lane, [told])) == [0]


def test_nobody_stays_for_a_record_that_is_not_there(world: World) -> None:
    entry = ended(world, "p", "mail.0.a", "mail.0.b")
    told = Notified(entry, "mail.0.p", 500, [(f"mail.0.{one}", READS) for one in "ab"])

    assert world.run(unwatch_many(world.lane, [told])) == [0]

    assert world.state() == world.moved({"dependants:mail.0.p": None, "outbox": []})
