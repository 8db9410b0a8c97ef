from __future__ import annotations

from pathlib import Path

import pytest
import redis

from jobfleet.store import script
from jobfleet.store.calls.enqueue import enqueue, in_full
from jobfleet.store.records import Entry
from tests.lua.world import World

LUA = Path(script.__file__).parent / "lua"


def entry(world: World, suffix: str, *, band: int = 2, when: str = "", meta: str = "") -> Entry:
    return Entry(world.id(suffix), band, when, meta, b"envelope of " + suffix.encode())


def test_plain_jobs_are_put_in_order_and_wake_a_child(world: World) -> None:
    call = enqueue(world.lane, [entry(world, "a"), entry(world, "b")])

    answer = world.run(call)

    assert (call.script.name, answer) == ("enqueue_plain", [True, True])
    assert world.state() == {
        "job:mail.0.a": "envelope of a",
        "job:mail.0.b": "envelope of b",
        "ready:2": {"mail.0.a": "now", "mail.0.b": "now"},
        "totals": {"enqueued": "2"},
        "wake": {"w": 0},
    }
    assert world.again(call) == [False, False]


@pytest.mark.parametrize("other", [{"band": 1}, {"when": "+1"}, {"when": "5"}, {"meta": "r 5000"}])
def test_a_job_that_is_not_plain_takes_all_of_its_call_the_long_way(world: World, other: dict[str, str]) -> None:
    call = enqueue(world.lane, [entry(world, "a"), entry(world, "b", **other)])  # type: ignore[arg-type]

    assert (call.script.name, call.instead) == ("enqueue", None)


def test_both_ways_come_to_the_same(world: World) -> None:
    entries = [entry(world, suffix) for suffix in "abc"]
    world.run(enqueue(world.lane, entries))
    short = world.state()
    world.raw.flushall()

    world.run(in_full(world.lane, entries))

    assert world.state() == short


@pytest.mark.parametrize("place", ["waiting", "running", "finished", "dead"])
def test_new_jobs_beside_a_known_one_are_put(world: World, place: str) -> None:
    if place == "waiting":
        world.seed.waiting("b", due=-10)
    elif place == "running":
        world.seed.running("b")
    elif place == "finished":
        world.seed.completed("b")
    else:
        world.seed.dead("b")
    call = enqueue(world.lane, [entry(world, suffix) for suffix in "abc"])

    answer = world.run(call)

    assert answer == [True, False, True]
    waiting = world.before.get("ready:2", {})
    assert world.state() == world.moved(
        {
            "job:mail.0.a": "envelope of a",
            "job:mail.0.c": "envelope of c",
            "ready:2": {**waiting, "mail.0.a": "now", "mail.0.c": "now"},
            "totals": {**world.before.get("totals", {}), "enqueued": "2"},
            "wake": {"w": 0},
        }
    )
    assert world.again(call) == [False, False, False]


def test_of_an_id_twice_in_one_call_the_first_counts(world: World) -> None:
    twice = [Entry(world.id("a"), 2, "", "", envelope) for envelope in (b"first", b"second")]
    call = enqueue(world.lane, [*twice, entry(world, "b")])

    answer = world.run(call)

    assert answer == [True, False, True]
    assert world.state() == {
        "job:mail.0.a": "first",
        "job:mail.0.b": "envelope of b",
        "ready:2": {"mail.0.a": "now", "mail.0.b": "now"},
        "totals": {"enqueued": "2"},
        "wake": {"w": 0},
    }


def test_a_lane_where_something_is_set_is_left_to_the_long_way(world: World) -> None:
    world.seed.paused()

    answer = world.run(enqueue(world.lane, [entry(world, "a")]))

    assert answer == [True]
    assert world.state() == world.moved(
        {"job:mail.0.a": "envelope of a", "ready:2": {"mail.0.a": "now"}, "totals": {"enqueued": "1"}}
    )


def test_who_listens_hears_of_plain_jobs(world: World) -> None:
    with world.listening(world.id("a")) as heard:
        world.run(enqueue(world.lane, [entry(world, "a"), entry(world, "b")]))

    assert heard == [
        ("events:mail.0.a", "1 enqueued a 0 0 now"),
        ("events", "1 enqueued a 0 0 now\n1 enqueued b 0 0 now"),
    ]


def test_the_journal_hears_of_plain_jobs(world: World) -> None:
    world.seed.journal()

    world.run(enqueue(world.lane, [entry(world, "a")]))

    assert world.state()["journal"] == [{"at": "now", "1": "enqueued mail.0.a 0 2 now", "1e": "envelope of a"}]


def test_fifty_plain_jobs_go_in_one_call(world: World) -> None:
    answer = world.run(enqueue(world.lane, [entry(world, f"{n:02}") for n in range(50)]))

    assert answer == [True] * 50
    assert len(world.state()["ready:2"]) == 50


@pytest.mark.parametrize(("microseconds", "digits"), [("0", "000000"), ("42", "000042"), ("123456", "123456")])
def test_a_moment_has_all_its_digits(raw: redis.Redis, microseconds: str, digits: str) -> None:
    text = (LUA / "lib" / "base" / "stamp.lua").read_text()
    at_that_moment = text.replace("redis.call('TIME')", f"{{'1795643456', '{microseconds}'}}")

    assert at_that_moment != text
    assert raw.eval(f"{at_that_moment}return now_stamp()", 0) == f"1795643456{digits}".encode()
