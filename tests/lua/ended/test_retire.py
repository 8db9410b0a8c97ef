from __future__ import annotations

from typing import Any

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.ended import retire
from tests.lua.world import World
from tests.support.seed import S

NAME = "keep:app.f"
HOUR_MS = 3_600_000
BESIDE = ("value", "progress", "reported", "log", "steps", "chunks")


def ended(world: World, suffix: str, *, ago: int = 1000, ttl: int = 5000, line: str = "completed {} 7") -> str:
    """An ended job of the index that has everything that a job can leave."""
    job_id, lane = world.id(suffix), world.lane
    world.raw.set(lane.result(job_id), f"{line.format(world.now - ago * S)}\nrecord", ex=ttl)
    for key in (lane.value(job_id), lane.progress(job_id), lane.reported(job_id)):
        world.raw.set(key, "x", ex=ttl)
    world.raw.rpush(lane.log(job_id), "a line")
    world.raw.hset(lane.steps(job_id), "step", "x")
    world.raw.xadd(lane.chunks(job_id), {"at": "1 1", "v": "x"}, id="7-1")
    world.raw.zadd(lane.index_of(NAME), {job_id: world.now})
    return job_id


def retiring(world: World, *suffixes: str, remembered_ms: int = 600_000, before: int = -600) -> Call[Any]:
    jobs = [(world.id(suffix), remembered_ms) for suffix in suffixes]
    return retire(world.lane, NAME, jobs, before_us=world.now + before * S)


def nothing_of(world: World, suffix: str) -> dict[str, None]:
    return {f"{kind}:{world.id(suffix)}": None for kind in ("result", *BESIDE)}


def test_an_ended_job_whose_id_cannot_come_again_is_removed(world: World) -> None:
    ended(world, "a")
    ended(world, "b", line="cancelled {} 0 0 - ann")
    ended(world, "other")

    assert world.run(retiring(world, "a", "b")) == "rr"

    changes = nothing_of(world, "a") | nothing_of(world, "b") | {f"index:{NAME}": {world.id("other"): "now"}}
    assert world.state() == world.moved(changes)
    assert world.again(retiring(world, "a", "b")) == "ss"


def test_of_a_job_whose_id_may_come_again_the_line_is_left_for_that_time(world: World) -> None:
    ended(world, "a", ago=1000)

    assert world.run(retiring(world, "a", remembered_ms=HOUR_MS)) == "l"

    state = world.state()
    assert state == world.moved(
        nothing_of(world, "a") | {f"result:{world.id('a')}": ("completed now-1000s 7\n", 2600), f"index:{NAME}": None}
    )
    assert world.again(retiring(world, "a", remembered_ms=HOUR_MS)) == "l"


def test_a_failed_job_keeps_its_record_which_may_be_the_only_thing_that_is_signed(world: World) -> None:
    ended(world, "a", line="failed {} 7 0 - - crashed")

    assert world.run(retiring(world, "a", remembered_ms=HOUR_MS)) == "l"

    kept = {f"result:{world.id('a')}": ("failed now-1000s 7 0 - - crashed\nrecord", 2600), f"index:{NAME}": None}
    assert world.state() == world.moved(nothing_of(world, "a") | kept)


def test_a_line_is_left_no_longer_than_the_result_would_have_been(world: World) -> None:
    ended(world, "a", ttl=100)

    assert world.run(retiring(world, "a", remembered_ms=HOUR_MS)) == "l"

    assert world.state()[f"result:{world.id('a')}"] == ("completed now-1000s 7\n", 100)


def test_a_result_that_lost_its_ttl_is_removed_as_well(world: World) -> None:
    world.raw.persist(world.lane.result(ended(world, "a")))
    world.raw.persist(world.lane.result(ended(world, "b", ago=700)))

    assert world.run(retiring(world, "a")) == "r"
    assert world.run(retiring(world, "b", remembered_ms=HOUR_MS)) == "l"

    assert world.state()[f"result:{world.id('b')}"][1] == 2900


def test_a_job_that_ended_later_stays(world: World) -> None:
    ended(world, "late", ago=500)
    ended(world, "early", ago=700)

    assert world.refused(retiring(world, "late")) == "s"
    assert world.run(retiring(world, "early")) == "r"


@pytest.mark.parametrize("why", ["open", "letter", "moved", "replaced", "awaited", "gone"])
def test_what_others_need_stays(world: World, why: str) -> None:
    lines = {"moved": "cancelled {} 0 0 - ann moved:x.0.a", "replaced": "cancelled {} 0 0 - replaced-by:mail.0.b"}
    job_id = ended(world, "a", line=lines.get(why, "completed {} 7"))
    if why == "open":
        world.seed.waiting("a")
    elif why == "letter":
        world.raw.hset(world.lane.dead, job_id, "1-1")
    elif why == "awaited":
        world.raw.zadd(world.lane.dependants(job_id), {"mail.0.k": 0})
    elif why == "gone":
        world.raw.delete(world.lane.result(job_id))

    assert world.refused(retiring(world, "a")) == "s"
