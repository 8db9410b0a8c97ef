"""Enqueue with a unique key: who holds it, for how long, and what the others are told."""

from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.keys import BLOCKED
from jobfleet.store.records import Answer, Entry, Holder
from tests.lua.world import World
from tests.support.seed import S

SCOPES = {"open": "", "queued": "\ns q", "a minute": f"\ns {60 * S}"}
every_scope = pytest.mark.parametrize("scope", list(SCOPES))


def keyed(world: World, suffix: str, key: str = "once", *, scope: str = "open", when: str = "") -> Entry:
    return Entry(world.id(suffix), 2, when, f"u {key}{SCOPES[scope]}", b"envelope of " + suffix.encode())


def putting(world: World, *entries: Entry) -> Call[list[Answer]]:
    return enqueue(world.lane, entries)


@pytest.mark.parametrize(("scope", "till"), [("open", "0"), ("queued", "0"), ("a minute", "now+60s")])
def test_a_free_key_is_taken_with_its_job(world: World, scope: str, till: str) -> None:
    call = putting(world, keyed(world, "a", scope=scope))

    assert world.run(call) == [True]
    assert world.state() == {
        "job:mail.0.a": "envelope of a",
        "meta": {"mail.0.a": f"u once{SCOPES[scope]}"},
        "ready:2": {"mail.0.a": "now"},
        "totals": {"enqueued": "1"},
        "unique": {"once": f"mail.0.a {till} now"},
        "wake": {"w": 0},
    } | ({"locks": {"once": till}} if scope == "a minute" else {})
    assert world.again(call) == [False], "never a conflict with itself"


def waiting(world: World) -> str:
    return world.seed.waiting("a", due=-10, meta="u once")


def scheduled(world: World) -> str:
    return world.seed.waiting("a", due=60, meta="u once")


def retrying(world: World) -> str:
    return world.seed.waiting("a", due=60, meta="u once", tries="1:0:0:0:0")


def due_again(world: World) -> str:
    return world.seed.waiting("a", due=-10, meta="u once", tries="1:0:0:0:0")


def running(world: World) -> str:
    return world.seed.running("a", meta="u once")


def blocked(world: World) -> str:
    world.seed.waiting("a", meta="u once")
    world.raw.zadd(world.lane.ready[2], {world.id("a"): BLOCKED})
    return world.id("a")


def astray(world: World) -> str:
    world.raw.set(world.lane.job(world.id("a")), "envelope")
    return world.id("a")


HELD = [
    (waiting, "queued", False), (scheduled, "scheduled", False), (retrying, "retrying", True),
    (due_again, "queued", True), (running, "running", True), (blocked, "blocked", False),
    (astray, "blocked", True),
]  # fmt: skip


@pytest.mark.parametrize(("scope", "till"), [("open", None), ("queued", None), ("a minute", 30)])
@pytest.mark.parametrize(("holder", "status", "has_started"), HELD)
def test_the_holder_is_told_and_nothing_is_written(
    world: World, holder: object, status: str, has_started: bool, till: int | None, scope: str
) -> None:
    assert callable(holder)
    job_id = holder(world)
    world.seed.holds("once", job_id, till=till)

    answer = world.refused(putting(world, keyed(world, "b", scope=scope)))

    assert answer == [Holder(job_id, status, has_started)]


@pytest.mark.parametrize("ending", ["completed", "failed", "cancelled", "expired"])
def test_a_key_held_for_a_time_stays_taken_though_its_job_has_ended(world: World, ending: str) -> None:
    world.raw.set(world.lane.result(world.id("a")), f"{ending} {world.now} 7\nrecord", ex=1000)
    world.seed.holds("once", world.id("a"), till=30)

    answer = world.refused(putting(world, keyed(world, "b", scope="a minute")))

    assert answer == [Holder(world.id("a"), ending, has_started=True)]


def test_a_key_held_for_a_time_stays_taken_though_its_job_is_forgotten(world: World) -> None:
    world.seed.holds("once", world.id("a"), till=30)

    assert world.refused(putting(world, keyed(world, "b"))) == [Holder(world.id("a"), "completed", has_started=True)]


@every_scope
@pytest.mark.parametrize("till", [None, -10], ids=["whose job is gone", "whose time is over"])
def test_a_lock_that_does_not_stand_is_taken_over(world: World, till: int | None, scope: str) -> None:
    world.seed.holds("once", world.seed.completed("a"), till=till, since=-60)

    assert world.run(putting(world, keyed(world, "b", scope=scope))) == [True]

    assert world.state()["unique"]["once"].startswith("mail.0.b ")


def test_a_lock_whose_time_is_over_is_taken_over_though_its_job_is_open(world: World) -> None:
    world.seed.holds("once", world.seed.running("a"), till=-10)

    assert world.run(putting(world, keyed(world, "b"))) == [True]
    assert world.state()["unique"] == {"once": "mail.0.b 0 now"}


def test_a_job_that_has_been_forgotten_does_not_run_again_while_its_key_is_held(world: World) -> None:
    world.seed.holds("once", world.id("a"), till=30)

    assert world.refused(putting(world, keyed(world, "a", scope="a minute"))) == [False]


def test_one_call_gives_a_key_to_the_first_and_tells_the_others(world: World) -> None:
    world.seed.holds("other", world.seed.running("x"))
    entries = [
        keyed(world, "a", when=f"+{30 * S}"),
        keyed(world, "b"),
        keyed(world, "c", "other"),
        keyed(world, "d", "new"),
    ]
    call = putting(world, *entries, Entry(world.id("e"), 2, "", "", b"plain"), entries[0])

    assert world.run(call) == [
        True,
        Holder(world.id("a"), "scheduled", has_started=False),
        Holder(world.id("x"), "running", has_started=True),
        True,
        True,
        False,
    ]
    assert world.state()["unique"] == {
        "new": "mail.0.d 0 now", "once": "mail.0.a 0 now", "other": "mail.0.x 0 now",
    }  # fmt: skip
    assert "job:mail.0.b" not in world.state()
    assert world.state()["totals"] == {"enqueued": "3"}


def test_a_key_may_hold_anything_that_prints(world: World) -> None:
    key = 'tenant 7 | "x" {0} %s üñ 100 %'

    assert world.run(putting(world, keyed(world, "a", key))) == [True]
    assert world.run(putting(world, keyed(world, "b", key))) == [Holder(world.id("a"), "queued", has_started=False)]


def test_fifty_keys_go_in_one_call(world: World) -> None:
    entries = [keyed(world, f"{n:02}", f"key {n}", scope="a minute") for n in range(50)]

    assert world.run(putting(world, *entries)) == [True] * 50
    assert len(world.state()["unique"]) == len(world.state()["locks"]) == 50


def test_each_key_taken_for_a_time_takes_two_old_ones_away(world: World) -> None:
    for n in range(5):
        world.seed.holds(f"old {n}", world.id("x"), till=-50 + 10 * n)

    assert world.run(putting(world, keyed(world, "a", scope="a minute"))) == [True]
    assert sorted(world.state()["unique"]) == ["old 2", "old 3", "old 4", "once"]

    assert world.run(putting(world, keyed(world, "b", "old 2", scope="a minute"))) == [True]
    assert sorted(world.state()["unique"]) == ["old 2", "old 4", "once"]
    assert world.state()["locks"] == {"old 2": "now+60s", "old 4": "now-10s", "once": "now+60s"}


def test_plain_jobs_touch_no_key(world: World) -> None:
    world.seed.holds("old", world.id("x"), till=-50)
    world.run(putting(world, Entry(world.id("a"), 2, "", "", b""), Entry(world.id("b"), 2, "", "r 5000", b"")))

    assert world.state()["unique"] == {"old": "mail.0.x now-50s now"}


def test_who_listens_hears_of_no_job_that_was_refused(world: World) -> None:
    world.seed.holds("once", world.seed.running("a"))

    with world.listening() as heard:
        world.run(putting(world, keyed(world, "b"), keyed(world, "c", "free")))

    assert heard == [("events", "1 enqueued c 0 0 now")]
