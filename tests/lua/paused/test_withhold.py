"""settle, with the verb that a child uses for what it was handed of a paused function; and who meets such a job."""

from __future__ import annotations

import pytest

from jobfleet.codec import Limits
from jobfleet.model import JobStatus
from jobfleet.operations.results import result_of
from jobfleet.store.calls.control import cancel, reschedule
from jobfleet.store.calls.enqueue import debounce, enqueue
from jobfleet.store.calls.inspect import counts, explain, status
from jobfleet.store.calls.lease import tick
from jobfleet.store.calls.settle import STILL_WAITING, Item, expire, settle, withhold
from jobfleet.store.records import Entry, Holder
from tests.lua.world import World
from tests.support.seed import S

FAR = 5_500_000_000


def withholding(world: World, *, due: int = -60, suffix: str = "a") -> Item:
    return withhold(world.id(suffix), 7, due=world.seed.at(due), function="mail.send")


@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_a_job_of_a_paused_function_stands_in_its_band_where_no_claim_looks(world: World, band: int) -> None:
    world.seed.paused_functions("mail.send ann@1")
    world.seed.running("a", band=band)

    assert world.run(settle(world.lane, [withholding(world)])).letters == "s"

    assert world.state() == world.moved(
        {
            "runs": None,
            "lease": None,
            f"ready:{band}": {"mail.0.a": f"now+{FAR - 60}s"},
            "totals": {"withheld": "1"},
        }
    )


@pytest.mark.parametrize("functions", [(), ("~mail.send ann@1",), ("mail.sender ann@1", "send ann@1")])
def test_one_whose_function_goes_on_by_now_keeps_its_place(world: World, functions: tuple[str, ...]) -> None:
    if functions:
        world.seed.paused_functions(*functions)
    world.seed.running("a")

    assert world.run(settle(world.lane, [withholding(world)])).letters == "s"

    state = world.state()
    assert (state["ready:2"], state["wake"]) == ({"mail.0.a": "now-60s"}, {"w": 0})


def test_it_keeps_what_it_has_spent_its_key_and_its_expiry(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1")
    world.seed.running("a", tries="1:0:0:0:0\nran", meta="u once")
    world.seed.holds("once", world.id("a"))
    world.seed.running("b", meta=f"x {world.seed.at(60)}")

    assert world.run(settle(world.lane, [withholding(world), withholding(world, suffix="b")])).letters == "ss"

    state = world.state()
    assert state["tries"] == {"mail.0.a": "1:0:0:0:0\nran"}
    assert state["unique"] == {"once": "mail.0.a 0 now"}
    assert state["expiry"] == {"mail.0.b": "now+60s"}
    assert state["totals"] == {"retrying": "1", "withheld": "2"}


def test_one_that_was_cancelled_meanwhile_ends(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1")
    world.seed.running("a", cancel="bob")

    assert world.run(settle(world.lane, [withholding(world)])).letters == "c"
    assert "ready:2" not in world.state()


def test_one_that_was_due_before_anybody_can_remember_is_withheld_too(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1")
    world.seed.running("a")

    world.run(settle(world.lane, [withhold(world.id("a"), 7, due=1, function="mail.send")]))

    (found,) = world.run(status(world.lane, [world.id("a")]))[1]
    assert result_of(world.id("a"), found, world.now, limits=Limits()).status is JobStatus.QUEUED


def test_it_is_queued_for_whoever_asks_and_counted_as_such(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1")
    world.seed.withheld("a", due=-60)
    world.seed.waiting("b", due=60)
    world.seed.waiting("c", due=-10)

    counted = world.refused(counts(world.lane))
    now, (found,) = world.refused(status(world.lane, [world.id("a")]))
    result = result_of(world.id("a"), found, now, limits=Limits())

    assert (counted.due, counted.later, counted.functions) == ((0, 0, 2, 0), (0, 0, 1, 0), "mail.send ann@1")
    assert world.time(counted.oldest_due) == "now-10s"
    assert result.status is JobStatus.QUEUED
    assert result.scheduled_at is not None
    assert world.time(round(result.scheduled_at.timestamp() * S)) == "now-60s"
    assert world.refused(explain(world.lane, world.id("c"))).due == (0, 0, 1, 0)


def test_it_is_cancelled_expired_and_rescheduled_as_any_other(world: World) -> None:
    for suffix in "abcd":
        world.seed.withheld(suffix)
    world.raw.zadd(world.lane.expiry, {world.id("b"): world.seed.at(-10)})

    assert world.run(cancel(world.keys, world.lane, [world.id("a")], by="ann", ttl_ms=1000)) == "c"
    assert world.run(tick(world.lane)).expired == (world.id("b"),)
    assert world.run(settle(world.lane, [expire(world.id("b"), 0, ttl_ms=1000, guard=STILL_WAITING)])).letters == "s"
    assert world.run(reschedule(world.lane, [world.id("c")], by="ann", when=f"+{60 * S}")) == "s"
    assert world.run(reschedule(world.lane, [world.id("d")], by="ann", band=0)) == "s"

    state = world.state()
    assert (state["ready:2"], state["ready:0"]) == ({"mail.0.c": "now+60s"}, {"mail.0.d": f"now+{FAR}s"})


def test_whoever_wants_its_unique_key_is_told_that_it_is_queued(world: World) -> None:
    world.seed.holds("k", world.seed.withheld("a", meta="u k"))

    answer = world.run(enqueue(world.lane, [Entry(world.id("b"), 2, "", "u k", b"")]))

    assert answer == [Holder(world.id("a"), "queued", has_started=False)]


def test_a_debounce_puts_it_off_from_when_it_was_due(world: World) -> None:
    world.seed.holds("k", world.seed.withheld("a", due=-60, meta="u k"))
    later = Entry(world.id("b"), 2, f"+{60 * S}", "u k", b"later")

    assert world.run(debounce(world.lane, later, key="k", holder=world.id("a"), longest_us=None))[0] == "debounced"

    assert world.state()["ready:2"] == {"mail.0.a": "now+60s"}


def test_a_tick_tells_which_functions_are_paused(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1", "~bill ann@1")

    assert world.run(tick(world.lane)).functions == "mail.send ann@1\n~bill ann@1"


def test_who_listens_and_the_journal_hear_of_it(world: World) -> None:
    world.seed.paused_functions("mail.send ann@1")
    world.seed.running("a")
    world.seed.journal()

    with world.listening(world.id("a")) as heard:
        world.run(settle(world.lane, [withholding(world)]))

    assert heard == [
        ("events:mail.0.a", "1 withheld a 7 1000000 now"),
        ("events", "1 withheld a 7 1000000 now"),
    ]
    assert world.state()["journal"] == [
        {"at": "now", "1": "withheld mail.0.a 7 now-60s", "1e": "envelope of a"},
    ]
