from __future__ import annotations

from jobfleet.store.calls.flow import keep_parents
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


def test_a_job_that_has_ended_meanwhile_keeps_its_short_lifetime(world: World) -> None:
    """A sweep has seen it blocked; it ran before the sweep came back, and shortened what is kept of its parents."""
    ended = waiting(world, "c")
    world.raw.delete(world.lane.job(ended))
    world.raw.pexpire(world.lane.parents(ended), 500)

    world.refused(keep_parents(world.lane, [ended], ttl_ms=HOUR))

    assert 0 < left(world, ended) <= 500
