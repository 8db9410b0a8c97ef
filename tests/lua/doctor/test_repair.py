from __future__ import annotations

from typing import Any

from jobfleet.store.calls.doctor import Broken, repair
from tests.lua.world import World

TTL = 60_000


def test_a_lease_without_a_run_becomes_a_run_whose_lease_has_ended(world: World) -> None:
    job_id = world.seed.running("a")
    world.raw.hdel(world.lane.runs, job_id)

    assert world.run(repair(world.lane, [Broken("lease", job_id)], ttl_ms=TTL)) == "r"

    state = world.state()
    run = state["runs"][job_id].split("|")
    assert run[1:] == ["repaired.0", "now", "000000001000000", "2", ""]
    raw: Any = world.raw
    assert int(raw.hget(world.lane.runs, job_id).split(b"|")[0]) >= world.now
    assert state["lease"] == {job_id: 1}
    assert world.again(repair(world.lane, [Broken("lease", job_id)], ttl_ms=TTL)) == "n"


def test_the_token_of_such_a_run_is_above_all_others(world: World) -> None:
    job_id = world.seed.running("a")
    world.raw.hdel(world.lane.runs, job_id)
    world.seed.lane_holds(token=8_000_000_000_000_000)

    world.run(repair(world.lane, [Broken("lease", job_id)], ttl_ms=TTL))

    raw: Any = world.raw
    assert raw.hget(world.lane.runs, job_id).startswith(b"8000000000000001|")
    assert raw.hget(world.lane.lane, "token") == b"8000000000000001"


def test_the_lease_of_a_job_that_has_ended_or_is_gone_is_deleted(world: World) -> None:
    ended, gone = world.seed.completed("a"), world.id("b")
    world.raw.zadd(world.lane.lease, {ended: world.now, gone: world.now})

    assert world.run(repair(world.lane, [Broken("lease", ended), Broken("lease", gone)], ttl_ms=TTL)) == "rr"

    assert world.state() == world.moved({"lease": None})


def test_a_run_without_a_lease_gets_one_that_has_ended(world: World) -> None:
    job_id = world.seed.running("a")
    world.raw.zrem(world.lane.lease, job_id)

    assert world.run(repair(world.lane, [Broken("run", job_id)], ttl_ms=TTL)) == "r"

    assert world.state() == world.moved({"lease": {job_id: 1}})


def test_a_key_of_a_job_that_is_not_open_is_released(world: World) -> None:
    world.seed.holds("left", world.seed.completed("a"))

    assert world.run(repair(world.lane, [Broken("key", world.id("a"), "left")], ttl_ms=TTL)) == "r"

    assert world.state() == world.moved({"unique": None})


def test_a_result_without_a_ttl_gets_one(world: World) -> None:
    job_id = world.seed.completed("a")
    world.raw.persist(world.lane.result(job_id))

    assert world.run(repair(world.lane, [Broken("ttl", job_id)], ttl_ms=TTL)) == "r"

    assert 0 < world.raw.pttl(world.lane.result(job_id)) <= TTL


def test_what_is_in_order_by_now_stays_as_it_is(world: World) -> None:
    runs, waits, done = world.seed.running("a"), world.seed.waiting("b"), world.seed.completed("c")
    world.seed.holds("waits", waits)
    world.seed.holds("for a time", done, till=60)
    found = [
        Broken("lease", runs), Broken("run", runs), Broken("lease", waits), Broken("run", waits), Broken("ttl", done),
        Broken("key", waits, "waits"), Broken("key", done, "for a time"), Broken("key", done, "none"),
    ]  # fmt: skip

    assert world.refused(repair(world.lane, found, ttl_ms=TTL)) == "n" * len(found)
