from __future__ import annotations

from jobfleet.store.damage import ALL, Place, survey
from tests.lua.world import World


def test_it_tells_the_type_of_each_key_and_what_stands_in_small_hashes(world: World) -> None:
    world.raw.set(world.lane.wake, "x")
    world.raw.hset(world.lane.lane, mapping={"token": "7"})
    world.raw.hset(world.lane.conf, mapping={"paused": "ann@1", "limit": "4 - - -"})
    world.raw.hset(world.lane.totals, mapping={"enqueued": "3"})
    looked = [
        Place("wake", "zset"),
        Place("lane", "hash", ALL),
        Place("conf", "hash", "limit\naging"),
        Place("runs", "hash"),
    ]

    answer = world.run(survey(world.lane.tag, [*looked, Place("totals", "hash")]))

    assert [list(row) for row in answer.rows] == [
        [b"string"], [b"hash", b"token", b"7"], [b"hash", b"limit", b"4 - - -"], [b"none"], [b"hash"],
    ]  # fmt: skip
    assert world.state() == world.before
    assert answer.now >= world.now
