from __future__ import annotations

from jobfleet.store.calls.flow import Edge, ParentEnd, block, follow, parents, unblock
from jobfleet.store.records import Entry
from tests.lua.flow.test_unblock import TTL, tell, waiting
from tests.lua.world import World

THERE = "bulk.0.p0"


def edges(world: World, child: str) -> list[tuple[str, int, str, str]]:
    return [(row.parent, row.place, row.policy, row.status) for row in world.run(parents(world.lane, child))]


def test_the_edge_goes_over_with_its_place_and_its_policy(world: World) -> None:
    child = waiting(world, "w", "c")
    call = follow(world.lane, [child], parent="mail.0.p0", to=THERE)

    assert world.run(call) == "f"

    assert edges(world, child) == [(THERE, 0, "w", ""), ("mail.0.p1", 1, "c", "")]
    assert world.again(call) == "g"


def test_all_parents_still_count(world: World) -> None:
    child = waiting(world, "c", "c")
    world.run(follow(world.lane, [child], parent="mail.0.p0", to=THERE))

    assert tell(world, child, 1) == "b"
    assert world.run(unblock(world.lane, [ParentEnd(child, THERE, "completed", b"r")], ttl_ms=TTL)) == "u"


def test_who_waits_for_the_other_anyway_keeps_both_edges(world: World) -> None:
    parents_of = [Edge("mail.0.p0", 0, "c"), Edge(THERE, 1, "c")]
    world.run(block(world.lane, Entry(world.id("k"), 2, "", "", b""), parents_of, ttl_ms=TTL))

    assert world.refused(follow(world.lane, [world.id("k")], parent="mail.0.p0", to=THERE)) == "s"


def test_who_was_told_already_or_never_waited_is_left_alone(world: World) -> None:
    child = waiting(world, "c", "c")
    tell(world, child, 0)

    assert world.refused(follow(world.lane, [child, world.id("none")], parent="mail.0.p0", to=THERE)) == "gg"
