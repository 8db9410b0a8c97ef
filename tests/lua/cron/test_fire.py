from __future__ import annotations

import pytest

from jobfleet.store.calls.cron import PASS, Fired, fire
from jobfleet.store.records import Entry
from tests.lua.world import World
from tests.support.seed import S

AT = 17_000_000  # not of these days, so that it is not told as a moment


def entry(world: World, suffix: str = "f", *, due: int = 0, meta: str = "", band: int = 2) -> Entry:
    return Entry(world.id(suffix), band, str(world.seed.at(due)), meta, b"call")


def outcome(answer: Fired) -> tuple[str, int, str]:
    return answer.word, answer.at, answer.id


def test_a_fire_makes_its_job_and_moves_the_mark(world: World) -> None:
    call = fire(world.lane, "nightly", AT, entry(world), overlap="allow")

    assert outcome(world.run(call)) == ("fired", 0, "")

    assert world.state() == {
        "fired": {"nightly": f"{AT} mail.0.f"}, "job:mail.0.f": "call", "ready:2": {"mail.0.f": "now"},
        "totals": {"enqueued": "1"}, "wake": {"w": 0},
    }  # fmt: skip
    assert outcome(world.again(call)) == ("already", AT, "mail.0.f")


def test_an_older_fire_than_the_mark_is_dealt_with_already(world: World) -> None:
    world.run(fire(world.lane, "nightly", AT, entry(world), overlap="allow"))

    answer = world.refused(fire(world.lane, "nightly", AT - S, entry(world, "e"), overlap="allow"))

    assert outcome(answer) == ("already", AT, "mail.0.f")


def test_a_fire_whose_jitter_puts_it_later_wakes_nobody(world: World) -> None:
    world.run(fire(world.lane, "nightly", AT, entry(world, due=50, band=0), overlap="allow"))

    assert world.state()["ready:0"] == {"mail.0.f": "now+50s"}
    assert "wake" not in world.state()


def test_a_paused_queue_gets_the_job_and_wakes_nobody(world: World) -> None:
    world.raw.hset(world.lane.conf, "paused", "ann@1")

    world.run(fire(world.lane, "nightly", AT, entry(world), overlap="allow"))

    assert "wake" not in world.state()
    assert world.state()["ready:2"] == {"mail.0.f": "now"}


def test_a_job_that_may_expire_has_its_time_counted_from_now(world: World) -> None:
    world.run(fire(world.lane, "nightly", AT, entry(world, meta=f"x +{60 * S}\nr 5000"), overlap="allow"))

    assert list(world.state()["expiry"]) == ["mail.0.f"]
    assert world.state()["meta"]["mail.0.f"].endswith("\nr 5000")


def test_a_job_that_has_been_is_not_made_again(world: World) -> None:
    world.raw.set(world.lane.result(world.id("f")), "completed 1 1\n")

    world.run(fire(world.lane, "nightly", AT, entry(world), overlap="allow"))

    assert world.state() == world.moved({"fired": {"nightly": f"{AT} mail.0.f"}})


def test_a_fire_may_pass_without_a_job(world: World) -> None:
    world.run(fire(world.lane, "nightly", AT, entry(world), overlap="allow"))

    call = fire(world.lane, "nightly", AT + S, Entry("", 0, "", "", b""), overlap=PASS)

    assert outcome(world.run(call)) == ("passed", 0, "")
    assert world.state() == world.moved({"fired": {"nightly": f"{AT + S} mail.0.f"}})
    assert outcome(world.again(call)) == ("already", AT + S, "mail.0.f")


@pytest.mark.parametrize(("overlap", "word"), [("allow", "fired"), ("skip", "overlapped"), ("queue", "open")])
def test_a_job_that_is_open_decides_by_the_overlap_policy(world: World, overlap: str, word: str) -> None:
    world.run(fire(world.lane, "nightly", AT, entry(world), overlap="allow"))

    answer = world.run(fire(world.lane, "nightly", AT + S, entry(world, "g"), overlap=overlap))

    assert outcome(answer) == (word, 0, "" if word == "fired" else "mail.0.f")
    mark = {"fired": f"{AT + S} mail.0.g", "overlapped": f"{AT + S} mail.0.f", "open": f"{AT} mail.0.f"}[word]
    assert world.state()["fired"] == {"nightly": mark}
    assert ("job:mail.0.g" in world.state()) == (word == "fired")


@pytest.mark.parametrize("overlap", ["skip", "queue"])
def test_a_job_that_has_ended_is_in_nobody_s_way(world: World, overlap: str) -> None:
    world.run(fire(world.lane, "nightly", AT, entry(world), overlap="allow"))
    world.raw.delete(world.lane.job(world.id("f")))

    answer = world.run(fire(world.lane, "nightly", AT + S, entry(world, "g"), overlap=overlap))

    assert answer.word == "fired"


def test_listeners_hear_of_the_job(world: World) -> None:
    with world.listening("mail.0.f") as heard:
        world.run(fire(world.lane, "nightly", AT, entry(world), overlap="allow"))

    assert heard == [("events:mail.0.f", "1 enqueued f 0 0 now"), ("events", "1 enqueued f 0 0 now")]


def test_a_fire_takes_the_unique_key_of_its_job(world: World) -> None:
    world.run(fire(world.lane, "nightly", AT, entry(world, meta="u once\ns 60000000"), overlap="allow"))

    assert world.state()["unique"] == {"once": "mail.0.f now+60s now"}
    assert world.state()["locks"] == {"once": "now+60s"}


@pytest.mark.parametrize("overlap", ["allow", "skip"])
def test_a_fire_whose_key_another_holds_overlaps_with_that(world: World, overlap: str) -> None:
    world.seed.waiting("a", meta="u once")
    world.seed.holds("once", world.id("a"))

    answer = world.run(fire(world.lane, "nightly", AT, entry(world, meta="u once"), overlap=overlap))

    assert outcome(answer) == ("overlapped", 0, "mail.0.a")
    assert world.state() == world.moved({"fired": {"nightly": f"{AT} "}})


def test_a_fire_that_may_wait_waits_for_whoever_holds_its_key(world: World) -> None:
    world.seed.waiting("a", meta="u once")
    world.seed.holds("once", world.id("a"))

    answer = world.refused(fire(world.lane, "nightly", AT, entry(world, meta="u once"), overlap="queue"))

    assert outcome(answer) == ("open", 0, "mail.0.a")


def test_a_fire_that_is_let_go_takes_no_key(world: World) -> None:
    world.run(fire(world.lane, "nightly", AT, entry(world, meta="u once"), overlap=PASS))

    assert world.state() == {"fired": {"nightly": f"{AT} "}}


def test_the_journal_keeps_the_job_of_a_fire_once(world: World) -> None:
    world.seed.journal()
    call = fire(world.lane, "nightly", AT, entry(world, due=50, band=0), overlap="allow")

    world.run(call)

    assert world.state()["journal"] == [{"at": "now", "1": "enqueued mail.0.f 0 0 now+50s", "1e": "call"}]
    world.again(call)
