from __future__ import annotations

import pytest

from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import replace
from jobfleet.store.records import Entry
from tests.lua.world import World
from tests.support.seed import PAST_REPLACING, S


def replacing(world: World, *, holder: str = "a", band: int = 2, when: str = "", meta: str = "u once") -> Call[str]:
    entry = Entry(world.id("b"), band, when, meta, b"envelope of b")
    return replace(world.lane, entry, key="once", holder=world.id(holder), ttl_ms=600_000)


def test_the_holder_is_closed_and_the_new_job_takes_its_key(world: World) -> None:
    world.seed.waiting("a", band=1, due=30, expires=60, meta="r 900000\nu once")
    world.seed.holds("once", world.id("a"), since=-10)
    call = replacing(world, band=0, when=f"+{60 * S}", meta=f"x +{90 * S}\nu once")

    assert world.run(call) == "replaced"

    assert world.state() == {
        "done": [{"jobs": "a ca 0"}],
        "expiry": {"mail.0.b": "now+90s"},
        "job:mail.0.b": "envelope of b",
        "meta": {"mail.0.b": "x now+90s\nu once"},
        "ready:0": {"mail.0.b": "now+60s"},
        "result:mail.0.a": ("cancelled now 0 0 - replaced-by:mail.0.b\nenvelope of a", 900),
        "totals": {"cancelled": "1", "enqueued": "1"},
        "unique": {"once": "mail.0.b 0 now"},
    }
    assert world.again(call) == "exists"


def test_a_new_job_that_is_due_wakes_a_child(world: World) -> None:
    world.seed.holds("once", world.seed.waiting("a", due=30, meta="u once"))

    assert world.run(replacing(world)) == "replaced"
    assert world.state()["wake"] == {"w": 0}
    assert world.state()["ready:2"] == {"mail.0.b": "now"}
    assert world.state()["result:mail.0.a"][1] == 600


def test_a_paused_lane_takes_it_and_wakes_nobody(world: World) -> None:
    world.seed.paused()
    world.seed.holds("once", world.seed.waiting("a", meta="u once"))

    assert world.run(replacing(world)) == "replaced"
    assert "wake" not in world.state()


@pytest.mark.parametrize(
    ("scope", "lock", "locks"),
    [("", "mail.0.b 0 now", {"once": "now+20s"}), (f"\ns {60 * S}", "mail.0.b now+60s now", {"once": "now+60s"})],
)
def test_the_lock_is_for_as_long_as_the_new_job_asks(
    world: World, scope: str, lock: str, locks: dict[str, str]
) -> None:
    world.seed.holds("once", world.seed.waiting("a", meta="u once"), till=20)

    assert world.run(replacing(world, meta=f"u once{scope}")) == "replaced"
    assert (world.state()["unique"], world.state()["locks"]) == ({"once": lock}, locks)


@pytest.mark.parametrize("case", PAST_REPLACING)
def test_whoever_has_started_or_holds_no_key_any_more_stays(world: World, case: str) -> None:
    world.seed.past_replacing("once", case)

    assert world.refused(replacing(world)) == "changed"


@pytest.mark.parametrize("place", ["waiting", "running", "completed"])
def test_a_new_job_that_is_there_already_changes_nothing(world: World, place: str) -> None:
    world.seed.holds("once", world.seed.waiting("a", meta="u once"))
    getattr(world.seed, place)("b")

    assert world.refused(replacing(world)) == "exists"


def test_who_waits_for_the_holder_is_told(world: World) -> None:
    world.seed.journal()
    world.seed.holds("once", world.seed.waiting("a", meta="u once"))
    world.seed.watch(world.id("a"))

    with world.listening(world.id("a")) as heard:
        assert world.run(replacing(world)) == "replaced"

    assert heard == [
        ("events:mail.0.a", "1 cancelled a 0 1000000 now"),
        ("events", "1 cancelled a 0 1000000 now\n1 enqueued b 0 0 now"),
    ]
    assert world.state()["outbox"] == [{"id": "mail.0.a"}]
    assert "watched" not in world.state()
    assert world.state()["journal"] == [
        {
            "at": "now",
            "1": "cancelled mail.0.a 0 0 - replaced-by:mail.0.b",
            "1e": "envelope of a",
            "2": "enqueued mail.0.b 0 2 now",
            "2e": "envelope of b",
        }
    ]
