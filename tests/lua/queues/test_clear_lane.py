from __future__ import annotations

from jobfleet.store.calls.control import Cleared, clear_lane
from tests.lua.world import World


def kept(world: World) -> None:
    """What an idle lane keeps."""
    world.raw.hset(world.lane.totals, mapping={"enqueued": 3, "completed": 3})
    world.raw.hset(world.lane.lane, "token", 17)
    world.raw.hset(world.lane.conf, "limit", "3 - - - -")
    world.raw.xadd(world.lane.done, {"jobs": "a co 1"}, id="1-1")


def test_an_idle_lane_leaves_nothing(world: World) -> None:
    kept(world)
    call = clear_lane(world.lane, drops_letters=False)

    assert world.run(call) == Cleared(is_done=True, letters=0)

    assert world.state() == {}
    assert world.again(call) == Cleared(is_done=True, letters=0)


def test_jobs_that_wait_keep_it(world: World) -> None:
    kept(world)
    world.raw.zadd(world.lane.ready[0], {"mail.0.a": 1})
    world.raw.zadd(world.lane.ready[3], {"mail.0.b": 1})

    assert world.refused(clear_lane(world.lane, drops_letters=True)) == Cleared(is_done=False, letters=0, waiting=2)


def test_jobs_that_run_and_endings_that_are_to_be_told_keep_it(world: World) -> None:
    world.seed.running("a", 1)
    world.raw.xadd(world.lane.outbox, {"id": "mail.0.p"}, id="1-1")

    cleared = world.refused(clear_lane(world.lane, drops_letters=True))

    assert cleared == Cleared(is_done=False, letters=0, running=1, unrelayed=1)


def test_dead_letters_keep_it_unless_they_are_to_go(world: World) -> None:
    world.raw.xadd(world.lane.dlq, {"id": "mail.0.a"}, id="1-1")
    world.raw.hset(world.lane.dead, "mail.0.a", "1-1")

    assert world.refused(clear_lane(world.lane, drops_letters=False)) == Cleared(is_done=False, letters=1)
    assert world.run(clear_lane(world.lane, drops_letters=True)) == Cleared(is_done=True, letters=1)
    assert world.state() == {}
