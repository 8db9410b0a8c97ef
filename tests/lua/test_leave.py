from __future__ import annotations

from jobfleet.store.calls.presence import beat, leave
from tests.lua.world import World
from tests.support.seed import S


def test_a_worker_leaves_and_nothing_of_it_stays(world: World) -> None:
    world.run(beat(world.keys, "w1", account=b"busy", gone_us=20 * S))

    assert world.run(leave(world.keys, "w1")) is True

    assert world.state() == {}
    assert world.again(leave(world.keys, "w1")) is False


def test_others_stay_when_one_leaves(world: World) -> None:
    world.run(beat(world.keys, "w1", account=b"busy", gone_us=20 * S))

    assert world.refused(leave(world.keys, "w2")) is False
