from __future__ import annotations

from jobfleet.store.damage import Damage
from jobfleet.store.round_trip.mending import mend
from tests.lua.world import World

MONTH = 30 * 86400


def test_a_key_of_another_type_is_moved_aside_whole(world: World) -> None:
    world.raw.set(world.lane.lease, "garbage")
    call = mend(world.lane.tag, [Damage("lease", "zset", b"", b"string"), Damage("wake", "zset", b"", b"string")])

    assert world.run(call) == "mn"
    assert world.state() == world.moved({"lease": None, "aside:lease": ("garbage", MONTH)})
    assert world.again(call) == "nn"


def test_a_field_is_taken_out_at_the_value_that_was_seen(world: World) -> None:
    world.raw.hset(world.lane.totals, mapping={"enqueued": "x", "failed": "y", "completed": "3"})
    seen = [Damage("totals", "hash", b"enqueued", b"x"), Damage("totals", "hash", b"failed", b"z")]

    assert world.run(mend(world.lane.tag, seen)) == "mn"
    assert world.state() == world.moved(
        {"totals": {"failed": "y", "completed": "3"}, "aside:totals:fields": {"enqueued": "x"}}
    )
    assert 0 < world.raw.pttl(f"{world.lane.tag}aside:totals:fields") <= MONTH * 1000


def test_what_was_moved_before_gives_way(world: World) -> None:
    world.raw.set(f"{world.lane.tag}aside:lease", "older")
    world.raw.rpush(f"{world.lane.tag}aside:lane:fields", "older")
    world.raw.set(world.lane.lease, "newer")
    world.raw.hset(world.lane.lane, "token", "x")
    seen = [Damage("lease", "zset", b"", b"string"), Damage("lane", "hash", b"token", b"x")]

    assert world.run(mend(world.lane.tag, seen)) == "mm"
    assert world.state() == {"aside:lease": ("newer", MONTH), "aside:lane:fields": {"token": "x"}}
