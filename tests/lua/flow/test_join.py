from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.flow import join, parents
from tests.lua.flow.test_unblock import tell, waiting
from tests.lua.world import World

MORE = ["mail.0.m0", "bulk.0.m1"]


def joining(world: World, child: str, *, most: int = 10) -> Call[str]:
    return join(world.lane, child, via="mail.0.p0", parents=MORE, most=most)


@pytest.mark.parametrize("policy", ["c", "r", "w", "~a"])
def test_a_job_that_waits_waits_for_more_by_the_same_policy(world: World, policy: str) -> None:
    child = waiting(world, policy, "c")

    assert world.run(joining(world, child)) == policy

    rows = [(row.parent, row.policy) for row in world.run(parents(world.lane, child))]
    assert rows == [("mail.0.p0", policy), ("mail.0.p1", "c"), (MORE[0], policy), (MORE[1], policy)]
    assert world.raw.hget(world.lane.parents(child), ":open") == b"4"
    assert world.again(joining(world, child)) == policy


def test_who_was_told_of_that_one_or_never_waited_is_late(world: World) -> None:
    child = waiting(world, "c", "c")
    tell(world, child, 0)

    assert world.refused(joining(world, child)) == "late"
    assert world.refused(joining(world, world.id("none"))) == "late"


def test_who_waits_no_more_is_late(world: World) -> None:
    child = waiting(world, "c")
    world.raw.zadd(world.lane.ready[2], {child: 1})

    assert world.refused(joining(world, child)) == "late"


def test_more_than_a_job_may_wait_for_is_refused(world: World) -> None:
    child = waiting(world, "c", "c")

    assert world.refused(joining(world, child, most=3)) == "full"
    assert world.run(joining(world, child, most=4)) == "c"
