from __future__ import annotations

from typing import Any

import pytest

from jobfleet.store.calls.flow import GUARD, Blocked, Edge, ParentEnd, block, block_many, unblock
from jobfleet.store.keys import BLOCKED
from jobfleet.store.records import Entry
from tests.lua.world import World

A, B = Edge("mail.0.a", 0, "c"), Edge("other.0.b", 1, "w")
TTL = 60_000


def item(
    world: World, name: str, *edges: Edge, children: tuple[str, ...] = (), guard: bool = False, **more: Any
) -> Any:
    entry = Entry(world.id(name), more.get("band", 2), more.get("when", ""), "", b"call " + name.encode())
    return Blocked(entry, edges, children, guard)


def parents_of(world: World, name: str) -> dict[bytes, bytes]:
    found: Any = world.raw.hgetall(world.lane.parents(world.id(name)))
    return dict(found)


def test_jobs_stand_where_no_claim_looks_and_are_watched(world: World) -> None:
    first = item(world, "r", guard=True, children=("mail.0.k", "other.0.z"), when="+5", band=1)
    call = block_many(world.lane, [first, item(world, "k", A, B, Edge("mail.0.r", 2, "r"))], ttl_ms=TTL)

    assert world.run(call) == "cc"

    assert world.raw.zscore(world.lane.ready[1], "mail.0.r") == BLOCKED
    assert world.raw.zscore(world.lane.ready[2], "mail.0.k") == BLOCKED
    assert parents_of(world, "r") == {b":when": b"+5", b":open": b"1", b":guard": b"?c 0"}
    assert parents_of(world, "k") == {
        b":when": b"", b":open": b"3", b"mail.0.a": b"?c 0", b"other.0.b": b"?w 1", b"mail.0.r": b"?r 2",
    }  # fmt: skip
    state = world.state()
    assert {name: state[name] for name in sorted(state) if not name.startswith(("parents:", "ready:"))} == {
        "dependants:mail.0.r": {"mail.0.k": 0, "other.0.z": 0},
        "job:mail.0.k": "call k",
        "job:mail.0.r": "call r",
        "totals": {"enqueued": "2"},
        "watched": {"mail.0.r": "1"},
    }
    assert all(0 < world.raw.pttl(world.lane.parents(world.id(name))) <= TTL for name in "rk")
    assert world.again(call) == "ww"


def test_they_are_as_block_writes_them(world: World) -> None:
    world.run(block_many(world.lane, [item(world, "k", A, B, guard=True)], ttl_ms=TTL))
    here = world.state()
    world.raw.flushall()

    world.run(block(world.lane, Entry(world.id("k"), 2, "", "", b"call k"), [A, B], ttl_ms=TTL))

    assert world.state() == here


def test_a_job_that_waits_already_learns_of_more_parents_and_dependants_but_not_of_a_guard(world: World) -> None:
    world.run(block_many(world.lane, [item(world, "k", A, guard=True)], ttl_ms=TTL))
    world.run(unblock(world.lane, [ParentEnd(world.id("k"), GUARD, "completed", b"")], ttl_ms=TTL))

    more = item(world, "k", A, B, guard=True, children=("mail.0.z",))
    assert world.run(block_many(world.lane, [more, item(world, "new", A)], ttl_ms=TTL)) == "wc"

    assert parents_of(world, "k")[b":open"] == b"2"
    assert parents_of(world, "k")[b":guard"] == b"0 completed\n"
    assert world.state()["dependants:mail.0.k"] == {"mail.0.z": 0}
    assert world.state()["totals"] == {"enqueued": "2"}


@pytest.mark.parametrize("is_over", [False, True])
def test_a_job_that_does_not_wait_is_left_alone(world: World, is_over: bool) -> None:
    if is_over:
        world.seed.completed("k")
    else:
        world.seed.waiting("k")

    assert world.run(block_many(world.lane, [item(world, "k", A, children=("mail.0.z",))], ttl_ms=TTL)) == "e"

    assert world.state() == world.before


def test_what_is_left_of_the_parents_of_a_job_that_is_gone_is_not_mixed_in(world: World) -> None:
    world.raw.hset(world.lane.parents(world.id("k")), mapping={":open": 7, "mail.0.old": "?c 0"})

    assert world.run(block_many(world.lane, [item(world, "k", A)], ttl_ms=TTL)) == "c"

    assert parents_of(world, "k") == {b":when": b"", b":open": b"1", b"mail.0.a": b"?c 0"}


def test_listeners_hear_of_it(world: World) -> None:
    with world.listening("mail.0.k") as heard:
        world.run(block_many(world.lane, [item(world, "k", A)], ttl_ms=TTL))

    assert heard == [("events:mail.0.k", "1 enqueued k 0 0 now"), ("events", "1 enqueued k 0 0 now")]


def test_the_journal_keeps_it_once(world: World) -> None:
    world.seed.journal()
    call = block_many(world.lane, [item(world, "k", A, band=1)], ttl_ms=TTL)

    world.run(call)

    raw: Any = world.raw
    assert raw.xrange(world.lane.journal)[0][1][b"1"].decode() == f"enqueued mail.0.k 0 1 {BLOCKED}"
    assert world.state()["journal"][0]["1e"] == "call k"
    world.again(call)


def test_items_that_wait_alike_and_others_are_written_in_one_call(world: World) -> None:
    alike = [Edge("mail.0.p", 0, "c")]
    items = [
        Blocked(Entry(world.id("a"), 2, "", "", b"A"), alike, ["mail.0.z"], is_guarded=False),
        Blocked(Entry(world.id("b"), 2, "", "", b"B"), alike, ["mail.0.z"], is_guarded=False),
        Blocked(Entry(world.id("c"), 0, "+5", "", b"C"), [Edge("mail.0.q", 0, "r")], [], is_guarded=True),
        Blocked(Entry(world.id("d"), 2, "", "", b"D"), alike, ["mail.0.z"], is_guarded=False),
    ]

    assert world.run(block_many(world.lane, items, ttl_ms=60_000)) == "cccc"

    for name, envelope in zip("abd", (b"A", b"B", b"D"), strict=True):
        assert world.raw.hgetall(world.lane.parents(world.id(name))) == {
            b":when": b"",
            b":open": b"1",
            b"mail.0.p": b"?c 0",
        }
        assert world.raw.zrange(world.lane.dependants(world.id(name)), 0, -1) == [b"mail.0.z"]
        assert world.raw.get(world.lane.job(world.id(name))) == envelope
    assert world.raw.hgetall(world.lane.parents(world.id("c"))) == {
        b":when": b"+5", b":open": b"2", b":guard": b"?c 0", b"mail.0.q": b"?r 0",
    }  # fmt: skip
    assert world.raw.exists(world.lane.dependants(world.id("c"))) == 0
