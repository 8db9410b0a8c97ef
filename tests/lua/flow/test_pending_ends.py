from __future__ import annotations

from typing import Any

from jobfleet.store.calls.flow import PendingEnd, pending_ends
from tests.lua.world import World


def ended(world: World, name: str, *children: str, result: bytes = b"completed 17 7\nrecord") -> str:
    job_id = world.id(name)
    world.raw.zadd(world.lane.dependants(job_id), dict.fromkeys(children, 0))
    if result:
        world.raw.set(world.lane.result(job_id), result)
    entry: Any = world.raw.xadd(world.lane.outbox, {"id": job_id})
    return str(entry.decode())


def test_endings_come_oldest_first_with_who_is_not_told(world: World) -> None:
    entries = [ended(world, name, f"mail.0.{name}1", f"other.0.{name}2") for name in "ab"]
    world.raw.zadd(world.lane.dependants("mail.0.a"), {"mail.0.a1": int(entries[0].partition("-")[0])})

    found = world.again(pending_ends(world.lane))

    assert [(one.entry, one.job_id, one.ending.children) for one in found] == [
        (entries[0], "mail.0.a", ("other.0.a2",)), (entries[1], "mail.0.b", ("mail.0.b1", "other.0.b2")),
    ]  # fmt: skip
    assert {(one.ending.status, one.ending.copied) for one in found} == {("completed", b"completed 17 7\nrecord")}
    assert world.again(pending_ends(world.lane, limit=1)) == found[:1]


def test_each_state_is_told_apart(world: World) -> None:
    ended(world, "gone", "mail.0.k", result=b"")
    ended(world, "dead", "mail.0.k", result=b"")
    world.seed.dead("dead", result=False)
    ended(world, "open", "mail.0.k", result=b"")
    world.raw.set(world.lane.job("mail.0.open"), b"envelope")

    found = world.again(pending_ends(world.lane))

    assert [(one.ending.state, len(one.ending.children)) for one in found] == [("gone", 1), ("dead", 1), ("open", 0)]


def test_a_page_ends_with_many_dependants_or_large_results(world: World) -> None:
    for name in "abcd":
        ended(world, name, *(f"mail.0.{name}{n:03}" for n in range(60)))
    assert [len(one.ending.children) for one in world.again(pending_ends(world.lane))] == [60, 60]
    ended(world, "a", *(f"mail.0.k{n:03}" for n in range(150)))
    assert [len(one.ending.children) for one in world.again(pending_ends(world.lane))] == [100]

    world.raw.flushall()
    for name in "abcd":
        ended(world, name, "mail.0.k", result=b"completed 17 7\n" + bytes(600_000))
    assert [one.job_id for one in world.again(pending_ends(world.lane))] == ["mail.0.a", "mail.0.b"]


def test_what_is_no_job_id_is_set_apart(world: World) -> None:
    ended(world, "a", "mail.0.k")
    world.raw.zadd(world.lane.dependants("mail.0.a"), {b"no id \xff": 0})
    world.raw.xadd(world.lane.outbox, {"strange": "record"})

    first, second = world.again(pending_ends(world.lane))

    assert (first.ending.children, first.ending.strangers) == (("mail.0.k",), (b"no id \xff",))
    assert (second.job_id, second.ending.state) == ("", "gone")


def test_there_may_be_none(world: World) -> None:
    none: list[PendingEnd] = []
    assert world.again(pending_ends(world.lane)) == none
