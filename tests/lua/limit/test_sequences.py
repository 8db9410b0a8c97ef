from __future__ import annotations

from jobfleet.store.calls.limits import SequenceRow, sequences
from jobfleet.store.calls.settle import settle, wait
from tests.lua.world import World
from tests.support.sequences import Worker, enter


def test_the_jobs_behind_a_head_are_listed_in_order(world: World) -> None:
    enter(world, "abc")

    now, rows = world.refused(sequences(world.lane, "acme", limit=2))

    assert world.time(now) == "now"
    (row,) = rows
    assert (world.time(row.due), row._replace(due=0)) == (
        "now", SequenceRow("acme", "mail.0.a", "waiting", 0, 2, ("mail.0.b", "mail.0.c")),
    )  # fmt: skip
    Worker(world).claim()
    _, rows = world.refused(sequences(world.lane))
    assert rows == [SequenceRow("acme", "mail.0.a", "running", 0, 2, ())]


def test_a_head_that_sleeps_says_for_what(world: World) -> None:
    enter(world, "ab")
    enter(world, "z", group="other")
    worker = Worker(world)
    worker.claim()
    for name, signal in (("a", "go on"), ("z", "")):
        held = worker.held[name]
        item = wait(held.id, held.token, key="1", name=signal, delay_us=3_600_000_000, ttl_ms=60_000)
        assert world.go(settle(world.lane, [item])).letters == "s"

    _, rows = world.refused(sequences(world.lane))

    assert [row._replace(due=0) for row in rows] == [
        SequenceRow("acme", "mail.0.a", "sleeping", 0, 1, (), "go on"),
        SequenceRow("other", "mail.0.z", "sleeping", 0, 0, ()),
    ]


def test_pages_of_sequences_follow_each_other_by_name(world: World) -> None:
    for name, group in zip("wxyz", ("a", "b", "ab", "c"), strict=True):
        enter(world, name, group=group)

    _, first = world.go(sequences(world.lane, limit=2))
    _, second = world.go(sequences(world.lane, after=first[-1].group, limit=2))

    assert [one.group for one in first + second] == ["a", "ab", "b", "c"]
