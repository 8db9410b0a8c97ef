from __future__ import annotations

from jobfleet.store.calls.presence import beat, know, leave
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


def test_its_kind_lives_on_with_another_worker_of_it(world: World) -> None:
    for worker in ("w1", "w2"):
        world.run(beat(world.keys, worker, account=b"busy", gone_us=20 * S))
        world.run(know(world.keys, worker, "k1", gone_us=20 * S, functions={"": "default", "f": "default"}))

    assert world.run(leave(world.keys, "w1", ["k1"])) is True

    assert (world.state()["kinds"], world.state()["knowers:k1"]) == ({"k1": "now"}, {"w2": "now"})

    assert world.run(leave(world.keys, "w2", ["k1", "k2"])) is True
    assert world.state() == {"kind:k1": {"": "default", "f": "default"}}
