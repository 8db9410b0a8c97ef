from __future__ import annotations

from typing import Any

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.control import replay
from jobfleet.store.records import Edit
from tests.lua.world import World
from tests.support.seed import S


def replaying(world: World, *suffixes: str, by: str | None = "ann") -> Call[list[str]]:
    return replay(world.lane, [world.id(suffix) for suffix in suffixes], by=by)


def editing(
    world: World, suffix: str, envelope: bytes = b"new", *, entry: str = "", by: str = "ann"
) -> Call[list[str]]:
    """Replay a letter with another envelope; `entry` is the one that is meant, by default the one that is there."""
    job_id = world.id(suffix)
    there: Any = world.raw.hget(world.lane.dead, job_id) or b"0-0"
    return replay(world.lane, [job_id], by=by, edits={job_id: Edit(entry or there.decode(), envelope)})


def test_a_dead_job_waits_again_with_new_budgets_and_its_history(world: World) -> None:
    world.seed.dead("a", band=1, tries="3:1:0:0:0\nran\nran again", meta=f"x {world.now}\nr 5000")
    call = replaying(world, "a")

    assert world.run(call) == ["replayed"]

    assert world.state() == {
        "job:mail.0.a": "envelope of a",
        "meta": {"mail.0.a": "r 5000"},
        "ready:1": {"mail.0.a": "now"},
        "totals": {"replayed": "1", "retrying": "1"},
        "tries": {"mail.0.a": "0:0:0:0:0\nran\nran again\nreplayed now ann"},
        "wake": {"w": 0},
    } | {"dlq": []}
    assert world.again(call) == ["already"]


def test_a_dead_job_whose_result_has_gone_is_replayed(world: World) -> None:
    world.seed.dead("a", result=False)

    assert world.run(replaying(world, "a", by=None)) == ["replayed"]
    assert world.state()["tries"] == {"mail.0.a": "0:0:0:0:0\nreplayed now -"}


@pytest.mark.parametrize("place", ["waiting", "running", "completed"])
def test_an_open_or_finished_job_is_there_already(world: World, place: str) -> None:
    getattr(world.seed, place)("a")

    assert world.refused(replaying(world, "a")) == ["already"]


def test_a_job_without_a_trace_is_unknown(world: World) -> None:
    assert world.refused(replaying(world, "a")) == ["unknown"]


def test_a_letter_that_was_trimmed_away_is_unknown(world: World) -> None:
    world.seed.dead("a", result=False)
    world.raw.delete(world.lane.dlq)

    assert world.refused(replaying(world, "a")) == ["unknown"]


def test_its_unique_key_is_taken_again(world: World) -> None:
    world.seed.dead("a", meta="u once")

    assert world.run(replaying(world, "a")) == ["replayed"]
    assert world.state()["unique"] == {"once": "mail.0.a 0 now"}


def test_a_unique_key_that_another_job_holds_refuses(world: World) -> None:
    world.seed.dead("a", meta="u once")
    world.seed.holds("once", world.seed.waiting("b", meta="u once"))

    assert world.refused(replaying(world, "a")) == ["duplicate:mail.0.b"]


def test_a_unique_key_that_is_held_for_a_time_refuses_too(world: World) -> None:
    world.seed.dead("a", meta=f"u once\ns {60 * S}")
    world.seed.holds("once", world.seed.completed("b"), till=30)

    assert world.refused(replaying(world, "a")) == ["duplicate:mail.0.b"]


@pytest.mark.parametrize("till", [None, -10], ids=["whose job is gone", "whose time is over"])
def test_a_lock_that_does_not_stand_refuses_nothing(world: World, till: int | None) -> None:
    world.seed.dead("a", meta="u once")
    world.seed.holds("once", world.id("b"), till=till)

    assert world.run(replaying(world, "a")) == ["replayed"]
    assert world.state()["unique"] == {"once": "mail.0.a 0 now"}


def test_a_key_held_for_a_time_is_taken_for_that_time_again(world: World) -> None:
    world.seed.dead("a", meta=f"u once\ns {60 * S}")

    assert world.run(replaying(world, "a")) == ["replayed"]
    assert world.state()["unique"] == {"once": "mail.0.a now+60s now"}
    assert world.state()["locks"] == {"once": "now+60s"}


def test_its_own_lock_that_still_stands_is_left_as_it_is(world: World) -> None:
    world.seed.dead("a", meta=f"u once\ns {60 * S}")
    world.seed.holds("once", world.id("a"), till=30, since=-30)

    assert world.run(replaying(world, "a")) == ["replayed"]
    assert world.state()["unique"] == {"once": "mail.0.a now+30s now-30s"}
    assert world.state()["locks"] == {"once": "now+30s"}


def test_two_jobs_with_one_unique_key_are_not_both_replayed(world: World) -> None:
    world.seed.dead("a", meta="u once")
    world.seed.dead("b", meta="u once")

    assert world.run(replaying(world, "a", "b")) == ["replayed", "duplicate:mail.0.a"]


def test_an_id_twice_is_replayed_once(world: World) -> None:
    world.seed.dead("a")
    world.seed.dead("b")

    assert world.run(replaying(world, "a", "a", "b", "x")) == ["replayed", "already", "replayed", "unknown"]
    assert world.state()["totals"] == {"replayed": "2", "retrying": "2"}
    assert "dead" not in world.state()


def test_a_paused_lane_takes_it_and_wakes_nobody(world: World) -> None:
    world.seed.dead("a")
    world.seed.paused()

    assert world.run(replaying(world, "a")) == ["replayed"]
    assert "wake" not in world.state()


def test_fifty_go_in_one_call(world: World) -> None:
    suffixes = [f"{n:02}" for n in range(50)]
    for suffix in suffixes:
        world.seed.dead(suffix, meta=f"u {suffix}")

    assert world.run(replaying(world, *suffixes)) == ["replayed"] * 50
    assert len(world.state()["ready:2"]) == 50


def test_who_listens_hears_of_each_replay(world: World) -> None:
    world.seed.dead("a")
    world.seed.dead("b")

    with world.listening(world.id("b")) as heard:
        world.run(replaying(world, "a", "b", "x"))

    assert heard == [
        ("events:mail.0.b", "1 replayed b 0 0 now"),
        ("events", "1 replayed a 0 0 now\n1 replayed b 0 0 now"),
    ]


def test_the_journal_keeps_who_asked_once(world: World) -> None:
    world.seed.journal()
    world.seed.dead("a")

    world.run(replaying(world, "a"))

    journal = {"at": "now", "1": "replayed mail.0.a 0 ann", "1e": "envelope of a", "1t": "0:0:0:0:0\nreplayed now ann"}
    assert world.state()["journal"] == [journal]
    world.again(replaying(world, "a"))


def test_an_edited_letter_waits_with_its_new_envelope_and_a_history_that_says_so(world: World) -> None:
    world.seed.dead("a", band=1, tries="3:1:0:0:0\nran", meta="u once\nr 5000")
    call = editing(world, "a")

    assert world.run(call) == ["replayed"]

    assert world.state() == {
        "dlq": [],
        "job:mail.0.a": "new",
        "meta": {"mail.0.a": "u once\nr 5000"},
        "ready:1": {"mail.0.a": "now"},
        "totals": {"replayed": "1", "retrying": "1"},
        "tries": {"mail.0.a": "0:0:0:0:0\nran\nreplayed now ann edited"},
        "unique": {"once": "mail.0.a 0 now"},
        "wake": {"w": 0},
    }
    assert world.again(call) == ["already"]


@pytest.mark.parametrize("envelope", [b"new", b""], ids=["with others", "with its own"])
def test_a_letter_of_a_later_death_is_not_taken_for_the_one_that_is_meant(world: World, envelope: bytes) -> None:
    world.seed.dead("a")

    assert world.refused(editing(world, "a", envelope, entry="1-1")) == ["changed"]


def test_the_letter_that_is_meant_may_go_as_it_is(world: World) -> None:
    world.seed.dead("a")

    assert world.run(editing(world, "a", b"")) == ["replayed"]
    assert world.state()["job:mail.0.a"] == "envelope of a"
    assert world.state()["tries"] == {"mail.0.a": "0:0:0:0:0\nreplayed now ann"}


@pytest.mark.parametrize(("place", "word"), [("waiting", "already"), ("completed", "already"), ("", "unknown")])
def test_what_is_no_letter_is_not_edited(world: World, place: str, word: str) -> None:
    if place:
        getattr(world.seed, place)("a")

    assert world.refused(editing(world, "a")) == [word]


def test_an_edited_letter_whose_key_is_held_stays_as_it_is(world: World) -> None:
    world.seed.dead("a", meta="u once")
    world.seed.holds("once", world.seed.waiting("b", meta="u once"))

    assert world.refused(editing(world, "a")) == ["duplicate:mail.0.b"]


def test_of_two_edits_in_one_call_each_has_its_own(world: World) -> None:
    for suffix in "abc":
        world.seed.dead(suffix)
    ids = [world.id(suffix) for suffix in "abc"]

    call = replay(world.lane, ids, by=None, edits={ids[0]: Edit("", b"one"), ids[2]: Edit("1-1", b"three")})

    assert world.run(call) == ["replayed", "replayed", "changed"]
    state = world.state()
    assert (state["job:mail.0.a"], state["job:mail.0.b"]) == ("one", "envelope of b")
    assert state["tries"] == {
        "mail.0.a": "0:0:0:0:0\nreplayed now - edited", "mail.0.b": "0:0:0:0:0\nreplayed now -",
    }  # fmt: skip
    assert list(state["dead"]) == ["mail.0.c"]


def test_events_and_the_journal_tell_that_it_was_edited(world: World) -> None:
    world.seed.journal()
    world.seed.dead("a")

    with world.listening(world.id("a")) as heard:
        world.run(editing(world, "a"))

    line = "1 replayed a 0 0 now edited"
    assert heard == [("events:mail.0.a", line), ("events", line)]
    tries = "0:0:0:0:0\nreplayed now ann edited"
    assert world.state()["journal"] == [{"at": "now", "1": "replayed mail.0.a 0 ann edited", "1e": "new", "1t": tries}]
