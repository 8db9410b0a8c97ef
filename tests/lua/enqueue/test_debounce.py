from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import debounce
from jobfleet.store.keys import BLOCKED
from jobfleet.store.records import Entry
from tests.lua.world import World
from tests.support.seed import PAST_REPLACING, S


def debouncing(
    world: World, suffix: str = "b", *, band: int = 2, delay: int = 30, longest: int | None = 600, meta: str = "u once"
) -> Call[tuple[str, bool]]:
    entry = Entry(world.id(suffix), band, f"+{delay * S}", meta, b"envelope of " + suffix.encode())
    longest_us = None if longest is None else longest * S
    return debounce(world.lane, entry, key="once", holder=world.id("a"), longest_us=longest_us)


def held(world: World, *, due: int = 10, since: int = -20, till: int | None = None) -> None:
    world.seed.holds("once", world.seed.waiting("a", due=due, meta="u once"), since=since, till=till)


def test_the_holder_becomes_the_later_job_under_its_own_id(world: World) -> None:
    world.seed.waiting("a", band=1, due=10, expires=60, meta="u once\nl edited 5 ann\nl signalled 6 - go")
    world.seed.holds("once", world.id("a"), since=-20, till=40)
    call = debouncing(world, band=3, meta="r 5000\nu once")

    assert world.run(call) == ("debounced", True)

    assert world.state() == {
        "job:mail.0.a": "envelope of b",
        "locks": {"once": "now+40s"},
        "meta": {"mail.0.a": "r 5000\nu once\nl edited 5 ann\nl signalled 6 - go"},
        "ready:3": {"mail.0.a": "now+30s"},
        "totals": {"debounced": "1"},
        "unique": {"once": "mail.0.a now+40s now-20s mail.0.b"},
    }
    assert world.again(call) == ("debounced", True)


def test_its_expiry_is_the_later_job_s(world: World) -> None:
    held(world)

    world.run(debouncing(world, meta=f"x +{60 * S}\nu once"))

    assert world.state()["expiry"] == {"mail.0.a": "now+60s"}
    assert world.state()["meta"] == {"mail.0.a": "x now+60s\nu once"}


@pytest.mark.parametrize(
    ("due", "delay", "longest", "now_due"),
    [
        (10, 30, 600, "now+30s"),
        (10, 300, 120, "now+100s"),  # since -20
        (90, 30, 600, "now+90s"),  # never earlier
        (90, 300, 60, "now+90s"),
        (10, 30, None, "now+30s"),
        (200, 30, None, "now+200s"),
        (-10, 0, 600, "now"),
        (-10, 0, None, "now-10s"),  # without a delay there is nothing to put it off by
        (-10, 20, 5, "now-10s"),
    ],
)
def test_it_is_put_off_to_the_later_due_time_within_the_longest(
    world: World, due: int, delay: int, longest: int | None, now_due: str
) -> None:
    held(world, due=due)

    answer = world.run(debouncing(world, delay=delay, longest=longest))

    assert answer[0] == "debounced"
    assert world.state()["ready:2"] == {"mail.0.a": now_due}
    assert answer[1] == now_due.startswith("now+")


def test_ten_times_the_delay_is_the_longest_by_default(world: World) -> None:
    held(world, due=10, since=-280)

    world.run(debouncing(world, delay=30, longest=None))

    assert world.state()["ready:2"] == {"mail.0.a": "now+20s"}


def test_a_later_call_puts_it_off_again_and_since_stays(world: World) -> None:
    held(world)

    world.run(debouncing(world, "b", delay=30))
    world.run(debouncing(world, "c", delay=60))

    assert world.state()["ready:2"] == {"mail.0.a": "now+60s"}
    assert world.state()["job:mail.0.a"] == "envelope of c"
    assert world.state()["unique"] == {"once": "mail.0.a 0 now-20s mail.0.c"}


def test_a_lock_that_does_not_know_since_when_begins_to_count(world: World) -> None:
    world.raw.hset(world.lane.unique, "once", world.seed.waiting("a", due=10, meta="u once"))

    world.run(debouncing(world, delay=300, longest=120))

    assert world.state()["ready:2"] == {"mail.0.a": "now+120s"}
    assert world.state()["unique"] == {"once": "mail.0.a 0 now mail.0.b"}


@pytest.mark.parametrize("case", PAST_REPLACING)
def test_whoever_has_started_or_holds_no_key_any_more_stays(world: World, case: str) -> None:
    world.seed.past_replacing("once", case)

    assert world.refused(debouncing(world)) == ("changed", False)


def test_a_holder_that_waits_for_others_stays(world: World) -> None:
    world.seed.holds("once", world.seed.waiting("a", meta="u once"))
    world.raw.zadd(world.lane.ready[2], {world.id("a"): BLOCKED})

    assert world.refused(debouncing(world))[0] == "changed"


def test_who_listens_hears_of_it(world: World) -> None:
    held(world)

    with world.listening(world.id("a")) as heard:
        world.run(debouncing(world))

    assert heard == [("events:mail.0.a", "1 debounced a 0 0 now"), ("events", "1 debounced a 0 0 now")]


def test_the_journal_keeps_what_the_holder_has_become_once(world: World) -> None:
    world.seed.journal()
    held(world)

    world.run(debouncing(world, band=3))

    journal = [{"at": "now", "1": "debounced mail.0.a 0 3 now+30s", "1e": "envelope of b"}]
    assert world.state()["journal"] == journal
    world.again(debouncing(world, band=3))
