"""Whatever makes a job puts it into the indexes that come with it, and keeps their names out of its clear record."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.cron import PASS, fire
from jobfleet.store.calls.enqueue import debounce, enqueue, indexes_of, marked, names, parted, replace
from jobfleet.store.calls.flow import Edge, block
from jobfleet.store.records import Entry
from tests.lua.world import World
from tests.support.seed import S

NAMES = names({"tags": ["eu", "b-b"], "user": "ann", "session": "s-1"})
DAY = 86_400


def entry(world: World, suffix: str, *, meta: str = "", indexes: list[str] | None = None, when: str = "") -> Entry:
    return Entry(world.id(suffix), 2, when, marked(meta, NAMES if indexes is None else indexes), b"envelope")


def enqueuing(world: World) -> Call[Any]:
    return enqueue(world.lane, [entry(world, "a", meta="r 5000")])


def blocking(world: World) -> Call[Any]:
    return block(world.lane, entry(world, "a", meta="r 5000"), [Edge("mail.0.p", 0, "c")], ttl_ms=1000)


def firing(world: World) -> Call[Any]:
    return fire(
        world.lane, "nightly", world.now, entry(world, "a", meta="r 5000", when=str(world.now)), overlap="allow"
    )


def replacing(world: World) -> Call[Any]:
    world.seed.holds("k", world.seed.waiting("old", meta="u k"))
    return replace(world.lane, entry(world, "a", meta="r 5000\nu k"), key="k", holder=world.id("old"), ttl_ms=600_000)


def debouncing(world: World) -> Call[Any]:
    world.seed.holds("k", world.seed.waiting("a", meta="u k"))
    later = entry(world, "later", meta="r 5000\nu k")
    return debounce(world.lane, later, key="k", holder=world.id("a"), longest_us=S)


WAYS = (enqueuing, blocking, firing, replacing, debouncing)


@pytest.mark.parametrize("way", WAYS)
def test_a_job_that_comes_stands_in_each_of_its_indexes(world: World, way: Callable[[World], Call[Any]]) -> None:
    world.run(way(world))

    state = world.state()
    assert {name: state[name] for name in state if name.startswith("index")} == {
        "index:tag:eu": {"mail.0.a": "now"},
        "index:tag:b-b": {"mail.0.a": "now"},
        "index:user:ann": {"mail.0.a": "now"},
        "index:session:s-1": {"mail.0.a": "now"},
        "indexes": dict.fromkeys(NAMES, "now+600s"),
    }
    assert state["meta"][world.id("a")] in {"r 5000", "r 5000\nu k"}
    for name in NAMES:
        assert 40 * DAY < world.raw.ttl(world.lane.index_of(name)) <= 41 * DAY


@pytest.mark.parametrize("way", WAYS)
def test_a_repeated_call_changes_nothing(world: World, way: Callable[[World], Call[Any]]) -> None:
    call = way(world)
    world.run(call)

    world.again(call)


def test_a_job_that_carries_nothing_else_has_no_clear_record(world: World) -> None:
    world.run(enqueue(world.lane, [entry(world, "a")]))

    assert "meta" not in world.state()


def test_jobs_of_one_call_keep_their_order(world: World) -> None:
    world.run(enqueue(world.lane, [entry(world, suffix) for suffix in "cab"]))

    assert world.raw.zrange(world.lane.index_of("tag:eu"), 0, -1) == [b"mail.0.c", b"mail.0.a", b"mail.0.b"]


def test_jobs_of_several_tags_go_in_one_call(world: World) -> None:
    entries = [entry(world, f"{n:02}", indexes=names({"tags": [f"t{n % 3}"], "user": "ann"})) for n in range(50)]

    assert world.run(enqueue(world.lane, entries)) == [True] * 50

    assert [world.raw.zcard(world.lane.index_of(f"tag:t{n}")) for n in range(3)] == [17, 17, 16]
    assert world.raw.zcard(world.lane.index_of("user:ann")) == 50


def test_what_was_there_already_is_not_named_again(world: World) -> None:
    world.seed.waiting("a")
    world.seed.completed("b")

    assert world.refused(enqueue(world.lane, [entry(world, "a"), entry(world, "b")])) == [False, False]


def test_a_job_whose_key_is_held_is_not_named(world: World) -> None:
    world.seed.holds("k", world.seed.waiting("old", meta="u k"))

    world.refused(enqueue(world.lane, [entry(world, "a", meta="u k")]))


@pytest.mark.parametrize("overlap", [PASS, "skip"])
def test_a_fire_without_a_job_names_none(world: World, overlap: str) -> None:
    world.raw.hset(world.lane.fired, "nightly", f"{world.now - S} {world.seed.waiting('old')}")

    world.run(fire(world.lane, "nightly", world.now, entry(world, "a"), overlap=overlap))

    assert "index:tag:eu" not in world.state()


def test_an_index_outlives_the_latest_due_time(world: World) -> None:
    world.run(enqueue(world.lane, [entry(world, "later", when=f"+{100 * DAY * S}")]))
    world.run(enqueue(world.lane, [entry(world, "now")]))

    assert 140 * DAY < world.raw.ttl(world.lane.index_of("tag:eu")) <= 141 * DAY


def test_an_index_that_is_looked_at_soon_stays_so(world: World) -> None:
    world.raw.zadd(world.lane.indexes, {"tag:eu": world.now + 10 * S})

    world.run(enqueue(world.lane, [entry(world, "a", indexes=["tag:eu"])]))

    assert world.state()["indexes"] == {"tag:eu": "now+10s"}


@pytest.mark.parametrize(
    ("lines", "sizes"),
    [
        ([0] * 120, [50, 50, 20]),
        ([1] * 120, [50, 50, 20]),
        ([2] * 50, [50]),
        ([22] * 10, [4, 4, 2]),
        ([3] * 49 + [0], [33, 17]),
        ([0, 200, 0, 200, 1], [2, 2, 1]),
        ([], []),
    ],
)
def test_a_call_takes_fewer_jobs_that_stand_in_many_indexes(lines: list[int], sizes: list[int]) -> None:
    entries = [
        Entry(f"mail.0.{n}", 2, "", marked("r 5000" if n % 2 else "", [f"tag:{k}" for k in range(count)]), b"")
        for n, count in enumerate(lines)
    ]

    parts = list(parted(entries, lambda entry: entry))

    assert [len(part) for part in parts] == sizes
    assert [entry for part in parts for entry in part] == entries


def test_the_names_follow_from_a_header_whoever_wrote_it() -> None:
    assert indexes_of({"tags": ["eu", "eu"], "user": "ann", "session": "s"}) == ["tag:eu", "user:ann", "session:s"]
    assert indexes_of({"tags": ["e\nu", 7], "user": 7, "session": ""}) == []
    assert indexes_of({"tags": "eu"}) == []
