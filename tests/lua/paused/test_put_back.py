from __future__ import annotations

import pytest

from jobfleet.store.calls.control import put_back
from tests.lua.world import World


@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_a_job_stands_where_it_stood_and_wakes_a_child(world: World, band: int) -> None:
    job_id = world.seed.withheld("a", band=band, due=-30)

    assert world.run(put_back(world.lane, [job_id])) == 1

    assert world.state() == world.moved({f"ready:{band}": {job_id: "now-30s"}, "wake": {"w": 0}})
    assert world.again(put_back(world.lane, [job_id])) == 0


def test_all_else_stays_where_it_stands(world: World) -> None:
    ids = [world.seed.waiting("now"), world.seed.waiting("later", due=30), world.seed.running("runs"), world.id("x")]
    blocked = world.seed.waiting("blocked")
    world.raw.zadd(world.lane.ready[2], {blocked: 9_000_000_000_000_000})

    assert world.refused(put_back(world.lane, [*ids, blocked])) == 0


def test_nobody_is_woken_in_a_paused_lane(world: World) -> None:
    world.seed.paused()
    ids = [world.seed.withheld("a"), world.seed.withheld("b")]

    assert world.run(put_back(world.lane, [*ids, ids[0]])) == 2

    assert world.state() == world.moved({"ready:2": dict.fromkeys(ids, "now")})


def test_fifty_go_in_one_call(world: World) -> None:
    ids = [world.seed.withheld(f"{number:02}", band=number % 4) for number in range(50)]

    assert world.run(put_back(world.lane, ids)) == 50
