from __future__ import annotations

import pytest

from jobfleet.store.calls.enqueue import enqueue
from jobfleet.store.records import Entry
from tests.lua.world import World
from tests.support.seed import S


def entry(world: World, suffix: str, *, band: int = 2, when: str = "", meta: str = "") -> Entry:
    return Entry(world.id(suffix), band, when, meta, b"envelope of " + suffix.encode())


def test_a_job_is_put_at_its_band_and_wakes_a_child(world: World) -> None:
    call = enqueue(world.lane, [entry(world, "a", band=1)])

    answer = world.run(call)

    assert answer == [True]
    assert world.state() == {
        "job:mail.0.a": "envelope of a",
        "ready:1": {"mail.0.a": "now"},
        "totals": {"enqueued": "1"},
        "wake": {"w": 0},
    }
    assert world.again(call) == [False]


@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_each_band_has_a_sorted_set_of_its_own(world: World, band: int) -> None:
    world.run(enqueue(world.lane, [entry(world, "a", band=band)]))

    assert world.state()[f"ready:{band}"] == {"mail.0.a": "now"}


def test_a_job_after_a_delay_waits_and_wakes_nobody(world: World) -> None:
    call = enqueue(world.lane, [entry(world, "a", when=f"+{30 * S}")])

    world.run(call)

    assert world.state() == {
        "job:mail.0.a": "envelope of a",
        "ready:2": {"mail.0.a": "now+30s"},
        "totals": {"enqueued": "1"},
    }
    assert world.again(call) == [False]


def test_a_job_at_a_moment_stands_at_exactly_that_moment(world: World) -> None:
    at = world.now + 3_600 * S + 123_457

    world.run(enqueue(world.lane, [entry(world, "a", when=str(at))]))

    assert world.raw.zscore(world.lane.ready[2], world.id("a")) == at
    assert "wake" not in world.state()


def test_a_moment_that_has_passed_is_due_now_and_wakes(world: World) -> None:
    world.run(enqueue(world.lane, [entry(world, "a", when=str(world.now - 20 * S))]))

    assert world.state()["ready:2"] == {"mail.0.a": "now-20s"}
    assert world.state()["wake"] == {"w": 0}


def test_a_delay_of_nothing_wakes_as_well(world: World) -> None:
    world.run(enqueue(world.lane, [entry(world, "a", when="+0")]))

    assert world.state()["wake"] == {"w": 0}


def test_a_clear_record_is_kept_with_its_expiry(world: World) -> None:
    meta = f"x {world.now + 60 * S}\nr 5000\nu once"
    call = enqueue(world.lane, [entry(world, "a", meta=meta), entry(world, "b", meta="r 7000")])

    world.run(call)

    assert world.state() == {
        "expiry": {"mail.0.a": "now+60s"},
        "job:mail.0.a": "envelope of a",
        "job:mail.0.b": "envelope of b",
        "meta": {"mail.0.a": "x now+60s\nr 5000\nu once", "mail.0.b": "r 7000"},
        "ready:2": {"mail.0.a": "now", "mail.0.b": "now"},
        "totals": {"enqueued": "2"},
        "unique": {"once": "mail.0.a 0 now"},
        "wake": {"w": 0},
    }
    assert world.again(call) == [False, False]


def test_an_id_twice_in_one_call_is_one_job(world: World) -> None:
    answer = world.run(enqueue(world.lane, [entry(world, "a"), entry(world, "a", band=0), entry(world, "b")]))

    assert answer == [True, False, True]
    assert world.state()["ready:2"] == {"mail.0.a": "now", "mail.0.b": "now"}
    assert world.state()["totals"] == {"enqueued": "2"}
    assert "ready:0" not in world.state()


@pytest.mark.parametrize("place", ["waiting", "running", "finished", "dead"])
def test_a_known_id_is_refused_wherever_its_job_stands(world: World, place: str) -> None:
    if place == "waiting":
        world.seed.waiting("a", due=-10)
    elif place == "running":
        world.seed.running("a")
    elif place == "finished":
        world.seed.completed("a")
    else:
        world.seed.dead("a")

    assert world.refused(enqueue(world.lane, [entry(world, "a")])) == [False]


def test_new_jobs_beside_known_ones_are_put(world: World) -> None:
    world.seed.completed("a")

    answer = world.run(enqueue(world.lane, [entry(world, "a"), entry(world, "b")]))

    assert answer == [False, True]
    assert world.state() == world.moved(
        {
            "job:mail.0.b": "envelope of b",
            "ready:2": {"mail.0.b": "now"},
            "totals": {"enqueued": "1"},
            "wake": {"w": 0},
        }
    )


def test_a_paused_lane_takes_jobs_and_wakes_nobody(world: World) -> None:
    world.seed.paused()

    answer = world.run(enqueue(world.lane, [entry(world, "a")]))

    assert answer == [True]
    assert world.state() == world.moved(
        {"job:mail.0.a": "envelope of a", "ready:2": {"mail.0.a": "now"}, "totals": {"enqueued": "1"}}
    )


def test_fifty_jobs_go_in_one_call(world: World) -> None:
    answer = world.run(enqueue(world.lane, [entry(world, f"{n:02}", meta="r 5000") for n in range(50)]))

    assert answer == [True] * 50
    assert len(world.state()["ready:2"]) == 50
    assert len(world.state()["meta"]) == 50


def test_an_envelope_is_opaque(world: World) -> None:
    blob = bytes(range(256))

    world.run(enqueue(world.lane, [Entry(world.id("a"), 2, "", "", blob)]))

    assert world.raw.get(world.lane.job(world.id("a"))) == blob


def test_who_listens_hears_of_each_new_job(world: World) -> None:
    world.seed.completed("c")
    entries = [entry(world, suffix) for suffix in "abc"]

    with world.listening(world.id("b")) as heard:
        world.run(enqueue(world.lane, entries))

    assert heard == [
        ("events:mail.0.b", "1 enqueued b 0 0 now"),
        ("events", "1 enqueued a 0 0 now\n1 enqueued b 0 0 now"),
    ]


def test_an_expiry_after_a_while_counts_from_the_time_of_the_call(world: World) -> None:
    call = enqueue(world.lane, [entry(world, "a", meta=f"x +{60 * S}\nr 5000")])

    world.run(call)

    assert world.state()["meta"] == {"mail.0.a": "x now+60s\nr 5000"}
    assert world.state()["expiry"] == {"mail.0.a": "now+60s"}
    assert world.again(call) == [False]


def test_jobs_of_one_call_expire_each_at_its_time(world: World) -> None:
    metas = {"a": f"x +{60 * S}", "b": "r 5000", "c": f"g acme\nx +{30 * S}", "d": "g acme", "e": ""}

    world.run(enqueue(world.lane, [entry(world, suffix, meta=meta) for suffix, meta in metas.items()]))

    assert world.state()["expiry"] == {"mail.0.a": "now+60s", "mail.0.c": "now+30s"}
    assert world.state()["meta"] == {
        "mail.0.a": "x now+60s",
        "mail.0.b": "r 5000",
        "mail.0.c": "g acme\nx now+30s",
        "mail.0.d": "g acme",
    }


def test_a_unique_key_is_never_rewritten(world: World) -> None:
    world.run(enqueue(world.lane, [entry(world, "a", meta="u max +5")]))

    assert world.state()["meta"] == {"mail.0.a": "u max +5"}
    assert world.state()["unique"] == {"max +5": "mail.0.a 0 now"}


def test_the_journal_keeps_what_is_new_with_its_envelope_once(world: World) -> None:
    world.seed.journal()
    world.seed.waiting("a")
    entries = [Entry(world.id(name), 1, f"+{10 * S}", "", b"envelope of " + name.encode()) for name in "abc"]

    world.run(enqueue(world.lane, entries))

    assert world.state()["journal"] == [
        {
            "at": "now",
            "1": "enqueued mail.0.b 0 1 now+10s", "1e": "envelope of b",
            "2": "enqueued mail.0.c 0 1 now+10s", "2e": "envelope of c",
        }
    ]  # fmt: skip
    world.again(enqueue(world.lane, entries))
