from __future__ import annotations

import pytest

from jobfleet.store.calls.flow import GUARD, Edge, ParentEnd, block, parents, unblock
from jobfleet.store.keys import BLOCKED
from jobfleet.store.records import Entry
from tests.lua.world import World

TTL = 60_000


def waiting(world: World, *policies: str, when: str = "", name: str = "k") -> str:
    """A job that waits for mail.0.p0, mail.0.p1 …, its guard lifted."""
    edges = [Edge(f"mail.0.p{place}", place, policy) for place, policy in enumerate(policies)]
    world.run(block(world.lane, Entry(world.id(name), 2, when, "", b"call"), edges, ttl_ms=TTL))
    world.run(unblock(world.lane, [ParentEnd(world.id(name), GUARD, "completed", b"")], ttl_ms=TTL))
    world.raw.delete(world.lane.wake)
    return world.id(name)


def tell(world: World, child: str, parent: int, status: str = "completed", record: bytes = b"r") -> str:
    return world.run(unblock(world.lane, [ParentEnd(child, f"mail.0.p{parent}", status, record)], ttl_ms=TTL))


def test_the_last_parent_makes_it_due(world: World) -> None:
    child = waiting(world, "c", "c")

    assert tell(world, child, 0) == "b"
    assert world.raw.zscore(world.lane.ready[2], child) == BLOCKED
    assert "wake" not in world.state()

    assert tell(world, child, 1) == "u"
    assert world.state()["ready:2"] == {"mail.0.k": "now"}
    assert world.state()["wake"] == {"w": 0}
    states = [(row.parent, row.place, row.status, row.record) for row in world.run(parents(world.lane, child))]
    assert states == [("mail.0.p0", 0, "completed", b"r"), ("mail.0.p1", 1, "completed", b"r")]


def test_it_is_told_once(world: World) -> None:
    child = waiting(world, "c", "c")
    tell(world, child, 0)

    assert world.refused(unblock(world.lane, [ParentEnd(child, "mail.0.p0", "completed", b"r")], ttl_ms=TTL)) == "d"


def test_a_guard_holds_it(world: World) -> None:
    world.run(block(world.lane, Entry(world.id("k"), 2, "", "", b""), [Edge("mail.0.p0", 0, "c")], ttl_ms=TTL))

    assert tell(world, world.id("k"), 0) == "b"
    assert world.run(unblock(world.lane, [ParentEnd(world.id("k"), GUARD, "completed", b"")], ttl_ms=TTL)) == "u"


@pytest.mark.parametrize(
    ("policy", "status", "letter"),
    [
        ("c", "failed", "x"), ("c", "cancelled", "x"), ("c", "expired", "x"), ("c", "gone", "x"),
        ("r", "failed", "u"), ("r", "gone", "u"),
        ("w", "failed", "w"), ("w", "gone", "x"), ("w", "completed", "u"),
        ("~s", "completed", "u"), ("~s", "failed", "w"), ("~s", "cancelled", "x"), ("~s", "expired", "x"),
        ("~s", "gone", "x"), ("~f", "completed", "x"), ("~f", "failed", "u"), ("~f", "cancelled", "x"),
        ("~f", "expired", "u"), ("~f", "gone", "x"), ("~a", "completed", "x"), ("~a", "failed", "u"),
        ("~a", "cancelled", "x"), ("~a", "expired", "u"), ("~a", "gone", "x"),
    ],
)  # fmt: skip
def test_the_policy_says_what_follows(world: World, policy: str, status: str, letter: str) -> None:
    child = waiting(world, policy)

    assert tell(world, child, 0, status) == letter

    assert (world.state() == world.before) == (letter in "xw")


@pytest.mark.parametrize(("when", "due"), [("+50000000", "now+50s"), ("", "now")])
def test_its_own_due_time_counts_from_then(world: World, when: str, due: str) -> None:
    child = waiting(world, "c", when=when)

    tell(world, child, 0)

    assert world.state()["ready:2"] == {"mail.0.k": due}
    assert ("wake" in world.state()) == (due == "now")


def test_a_job_that_does_not_wait_is_told_nothing(world: World) -> None:
    world.seed.waiting("k")

    assert (
        world.refused(unblock(world.lane, [ParentEnd(world.id("k"), "mail.0.p0", "completed", b"")], ttl_ms=TTL)) == "g"
    )


def test_two_parents_in_one_call_count_as_two(world: World) -> None:
    child = waiting(world, "c", "c")
    told = [ParentEnd(child, f"mail.0.p{place}", "completed", b"") for place in (0, 1)]

    assert world.run(unblock(world.lane, told, ttl_ms=TTL)) == "bu"


def test_a_paused_queue_is_not_woken(world: World) -> None:
    child = waiting(world, "c")
    world.seed.paused()

    tell(world, child, 0)

    assert "wake" not in world.state()


def test_listeners_hear_of_it(world: World) -> None:
    child = waiting(world, "c")
    with world.listening(child) as heard:
        tell(world, child, 0)

    assert heard == [("events:mail.0.k", "1 unblocked k 0 0 now"), ("events", "1 unblocked k 0 0 now")]


def test_the_journal_keeps_which_are_due_once(world: World) -> None:
    child = waiting(world, "c", "c")
    world.seed.journal()

    tell(world, child, 0)
    assert "journal" not in world.state()
    tell(world, child, 1)

    assert world.state()["journal"] == [{"at": "now", "1": "unblocked mail.0.k 0 now"}]
    world.again(unblock(world.lane, [ParentEnd(child, "mail.0.p1", "completed", b"r")], ttl_ms=TTL))


def test_dependants_of_all_priorities_are_told_of_several_endings_in_one_call(world: World) -> None:
    children = [world.id(name) for name in "abcd"]
    for band, child in enumerate(children):
        edges = [Edge("mail.0.p0", 0, "c"), Edge("mail.0.p1", 1, "c")][: 1 + band % 2]
        world.run(block(world.lane, Entry(child, band, "", "", b"call"), edges, ttl_ms=TTL))
        world.run(unblock(world.lane, [ParentEnd(child, GUARD, "completed", b"")], ttl_ms=TTL))
    ends = [ParentEnd(child, "mail.0.p0", "completed", b"0") for child in children]
    ends += [
        ParentEnd(children[1], "mail.0.p1", "completed", b"1"),
        ParentEnd(world.id("no"), "mail.0.p1", "gone", b""),
    ]

    letters = world.run(unblock(world.lane, ends, ttl_ms=TTL))

    assert letters == "ububug"
    assert [world.state().get(f"ready:{band}") for band in range(4)] == [
        {"mail.0.a": "now"}, {"mail.0.b": "now"}, {"mail.0.c": "now"}, {"mail.0.d": BLOCKED},
    ]  # fmt: skip
    assert [row.record for row in world.run(parents(world.lane, children[1]))] == [b"0", b"1"]


def test_its_parents_are_remembered_until_it_is_due_and_then_as_long_as_said(world: World) -> None:
    child = waiting(world, "c", when="+500000000")

    tell(world, child, 0)

    left = int(str(world.raw.pttl(world.lane.parents(child))))
    assert TTL + 490_000 < left <= TTL + 500_000


def test_a_proof_stays_with_the_status_for_a_record_that_is_read_later(world: World) -> None:
    child = waiting(world, "c", "c")

    assert tell(world, child, 0, "completed 7 s:proof", b"") == "b"
    assert tell(world, child, 1) == "u"

    states = [(row.status, row.token, row.proof, row.record) for row in world.run(parents(world.lane, child))]
    assert states == [("completed", 7, "s:proof", b""), ("completed", 0, "", b"r")]


def test_the_first_failure_of_a_flow_is_enough_and_the_other_parents_are_forgotten(world: World) -> None:
    child = waiting(world, "~a", "~a", "~a", "~a")

    assert [tell(world, child, 0), tell(world, child, 1, "cancelled")] == ["b", "b"]
    kept = [row.parent for row in world.run(parents(world.lane, child)) if not row.parent.startswith(":")]
    assert (kept, world.raw.hget(world.lane.parents(child), ":open")) == (["mail.0.p2", "mail.0.p3"], b"2")
    assert world.refused(unblock(world.lane, [ParentEnd(child, "mail.0.p0", "completed", b"r")], ttl_ms=TTL)) == "g"

    assert tell(world, child, 2, "failed", b"why") == "u"
    assert world.state()["ready:2"] == {"mail.0.k": "now"}
    assert [(row.parent, row.status, row.record) for row in world.run(parents(world.lane, child))] == [
        ("mail.0.p2", "failed", b"why")
    ]
    assert world.refused(unblock(world.lane, [ParentEnd(child, "mail.0.p3", "failed", b"r")], ttl_ms=TTL)) == "g"


def test_a_callback_of_a_flow_is_cancelled_by_the_last_ending_without_a_failure(world: World) -> None:
    child = waiting(world, "~a", "~a", "~a")
    ends = [ParentEnd(child, f"mail.0.p{place}", "completed", b"r") for place in range(3)]

    assert world.run(unblock(world.lane, ends, ttl_ms=TTL)) == "bbx"
    assert world.raw.hget(world.lane.parents(child), ":open") == b"1"
