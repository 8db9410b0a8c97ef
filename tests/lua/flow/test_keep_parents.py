from __future__ import annotations

from jobfleet.store.calls.flow import keep_parents, shorten_parents
from tests.lua.flow.test_unblock import TTL, waiting
from tests.lua.world import World

HOUR = 3_600_000


def left(world: World, child: str) -> int:
    return int(str(world.raw.pttl(world.lane.parents(child))))


def test_the_parents_are_remembered_for_longer_and_never_for_less(world: World) -> None:
    child = waiting(world, "c")
    call = keep_parents(world.lane, [child, world.id("nobody")], ttl_ms=HOUR)

    world.run(call)

    assert TTL < left(world, child) <= HOUR
    world.again(call)
    world.run(keep_parents(world.lane, [child], ttl_ms=TTL))
    assert TTL < left(world, child) <= HOUR
    assert world.raw.exists(world.lane.parents(world.id("nobody"))) == 0


def test_the_parents_of_an_ended_job_are_kept_for_less_and_never_for_longer(world: World) -> None:
    ended, still_open = waiting(world, "c", name="c"), waiting(world, "c", name="d")
    world.raw.delete(world.lane.job(ended))
    call = shorten_parents(world.lane, [(ended, 500), (still_open, 500), (world.id("nobody"), 500)])

    assert world.run(call) == 1

    assert 0 < left(world, ended) <= 500 < left(world, still_open)
    assert world.again(call._replace(args=tuple(HOUR if part == 500 else part for part in call.args))) == 0
    assert 0 < left(world, ended) <= 500
