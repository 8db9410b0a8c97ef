from __future__ import annotations

from jobfleet.store.calls.steps import keep, shorten_kept
from tests.lua.world import World

HOUR, MINUTE = 3_600_000, 60_000


def left(world: World, job_id: str) -> int:
    return int(str(world.raw.pttl(world.lane.steps(job_id))))


def test_what_was_kept_for_a_wait_is_kept_for_less_and_never_for_longer(world: World) -> None:
    job_id = world.seed.running("a")
    world.run(keep(world.lane, job_id, 7, ttl_ms=HOUR, step="s:x", record=b"x"))

    assert world.run(shorten_kept(world.lane, job_id, 7, ttl_ms=MINUTE)) == "kept"

    assert 0 < left(world, job_id) <= MINUTE
    assert world.again(shorten_kept(world.lane, job_id, 7, ttl_ms=HOUR)) == "kept"
    assert 0 < left(world, job_id) <= MINUTE


def test_a_run_that_was_overtaken_shortens_nothing(world: World) -> None:
    world.seed.running("a", token=8)
    world.seed.waiting("b")

    for suffix in "abc":
        assert world.refused(shorten_kept(world.lane, world.id(suffix), 7, ttl_ms=MINUTE)) == "lost"
