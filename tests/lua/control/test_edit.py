from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.control import edit
from tests.lua.world import World

BLOCKED = 9_000_000_000_000_000


def editing(
    world: World, suffix: str, *, expected: bytes = b"", by: str | None = "ann", changed: str = ""
) -> Call[str]:
    expected = expected or f"envelope of {suffix}".encode()
    return edit(world.lane, world.id(suffix), by=by, expected=expected, envelope=b"edited", changed=changed)


@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_a_waiting_job_gets_another_call_wherever_it_stands(world: World, band: int) -> None:
    world.seed.waiting("a", band=band, due=30)
    call = editing(world, "a")

    assert world.run(call) == "edited"

    assert world.state() == world.moved({"job:mail.0.a": "edited", "meta": {"mail.0.a": "l edited now ann"}})
    assert world.again(call) == "changed"  # a call of its own: a repetition of the first one has its id


def test_all_else_stays(world: World) -> None:
    job_id = world.seed.waiting("a", meta="u once\nr 300000", tries="1:0:0:0:0", expires=60, due=30, group="acme")
    world.seed.holds("once", job_id)

    assert world.run(editing(world, "a", changed="args[0],to")) == "edited"

    meta = "x now+60s\nu once\nr 300000\ng acme\nl edited now ann args[0],to"
    assert world.state() == world.moved({"job:mail.0.a": "edited", "meta": {"mail.0.a": meta}})


def test_the_last_ten_edits_stay_and_a_long_text_is_cut_between_letters(world: World) -> None:
    world.seed.waiting("a", meta="u once\nr 300000")
    before = str(world.state()["meta"]["mail.0.a"])

    for number in range(12):
        expected = b"edited" if number else b""
        world.run(editing(world, "a", by=f"p{number}", expected=expected, changed="é" * 90 if number == 11 else "n"))

    lines = [f"l edited now p{number} n" for number in range(2, 11)]
    assert world.state()["meta"]["mail.0.a"].split("\n") == [
        *before.split("\n"),
        *lines,
        f"l edited now p11 {'é' * 79}",
    ]


def test_one_that_is_withheld_and_one_that_waits_for_others_too(world: World) -> None:
    world.seed.withheld("a")
    blocked = world.seed.waiting("b")
    world.raw.zadd(world.lane.ready[2], {blocked: BLOCKED})

    assert [world.run(editing(world, suffix)) for suffix in "ab"] == ["edited", "edited"]

    assert [world.raw.get(world.lane.job(world.id(suffix))) for suffix in "ab"] == [b"edited", b"edited"]


def test_a_job_whose_call_was_changed_meanwhile_is_left_alone(world: World) -> None:
    world.seed.waiting("a")
    world.seed.journal()

    assert world.refused(editing(world, "a", expected=b"an older one")) == "changed"


def test_what_runs_has_ended_or_is_unknown_is_left_alone(world: World) -> None:
    world.seed.running("a")
    world.seed.completed("b")
    world.seed.dead("c")
    world.seed.dead("d", result=False)

    words = [world.refused(editing(world, suffix)) for suffix in "abcdx"]

    assert words == ["running", "ended", "ended", "ended", "unknown"]


def test_who_listens_and_the_journal_hear_of_it(world: World) -> None:
    world.seed.waiting("a", due=30, tries="1:0:0:0:0\nran")
    world.seed.running("b")
    world.seed.journal()

    with world.listening(world.id("a")) as heard:
        world.run(editing(world, "a"))
        world.run(editing(world, "b"))

    assert heard == [
        ("events:mail.0.a", "1 edited a 0 0 now"),
        ("events", "1 edited a 0 0 now"),
    ]
    assert world.state()["journal"] == [
        {"at": "now", "1": "edited mail.0.a 0 2 now+30s ann", "1e": "edited", "1t": "1:0:0:0:0\nran"}
    ]


def test_nobody_in_particular_is_written_so(world: World) -> None:
    world.seed.withheld("a")
    world.seed.journal()

    world.run(editing(world, "a", by=None))

    assert world.state()["journal"] == [{"at": "now", "1": "edited mail.0.a 0 2 now -", "1e": "edited"}]
