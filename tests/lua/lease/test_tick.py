from __future__ import annotations

import pytest

from jobfleet.store.calls.lease import tick
from tests.lua.world import World
from tests.support.seed import GAP_S, S


def lane(seen: str = "now", hold: str = "0", longest: int = 60) -> dict[str, str]:
    return {"seen": seen, "hold": hold, "longest": str(longest * S)}


def test_a_quiet_lane_is_seen_and_nothing_else(world: World) -> None:
    answer = world.run(tick(world.lane))

    assert (answer.next_due, answer.hold, answer.overdue, answer.expired) == (0, 0, (), ())
    assert world.state() == {"lane": lane(longest=0)}
    world.again(tick(world.lane))


def test_overdue_runs_are_named_with_all_that_a_decision_needs_and_stay(world: World) -> None:
    world.seed.ticked()
    job_id = world.seed.running("a", deadline=-10, meta="r 5000", tries="1:0:0:0:0")
    world.seed.running("b", deadline=10)

    answer = world.run(tick(world.lane))

    (held,) = answer.overdue
    assert (held.id, held.token, held.envelope, held.tries, held.meta) == (
        job_id, 7, b"envelope of a", "1:0:0:0:0", "r 5000",
    )  # fmt: skip
    assert (held.run.child, answer.hold) == ("w.1", 0)
    assert world.state() == world.before
    assert world.again(tick(world.lane)).overdue == answer.overdue


def test_overdue_runs_come_in_the_order_of_their_deadlines_up_to_the_limit(world: World) -> None:
    world.seed.ticked()
    for suffix, deadline in (("c", -10), ("a", -30), ("b", -20)):
        world.seed.running(suffix, deadline=deadline)

    answer = world.run(tick(world.lane, limit=2))

    assert [held.id[-1] for held in answer.overdue] == ["a", "b"]


@pytest.mark.parametrize("ago", [GAP_S, 1000, -20])
def test_after_a_gap_or_a_step_back_leases_are_held_for_half_the_longest(world: World, ago: int) -> None:
    world.seed.ticked(ago=ago)
    world.seed.running("a", deadline=-10)

    answer = world.run(tick(world.lane))

    assert (world.time(answer.hold), answer.overdue) == ("now+30s", ())
    assert answer.hold == answer.now + 30 * S
    assert world.state() == world.moved({"lane": lane(hold="now+30s")})
    assert world.again(tick(world.lane)).hold == answer.hold


def test_the_first_tick_of_a_lane_holds_its_leases(world: World) -> None:
    world.seed.running("a", deadline=-10)
    world.seed.lane_holds(longest=60 * S)

    answer = world.run(tick(world.lane))

    assert (world.time(answer.hold), answer.overdue) == ("now+30s", ())


def test_a_hold_that_is_over_is_forgotten_and_leases_are_judged(world: World) -> None:
    world.seed.ticked(hold=-10)
    world.seed.running("a", deadline=-10)

    answer = world.run(tick(world.lane))

    assert (answer.hold, len(answer.overdue)) == (0, 1)
    assert world.state() == world.moved({"lane": lane()})


def test_without_leases_nothing_is_held_and_the_longest_is_forgotten(world: World) -> None:
    world.seed.ticked(ago=GAP_S, hold=20)

    answer = world.run(tick(world.lane))

    assert answer.hold == 0
    assert world.state() == {"lane": lane(longest=0)}


def test_a_deadline_too_far_ahead_is_drawn_in(world: World) -> None:
    world.seed.ticked()
    world.seed.running("a", deadline=3_600)
    world.seed.running("b", deadline=100)

    world.run(tick(world.lane))

    assert world.state() == world.moved({"lease": {"mail.0.a": "now+120s", "mail.0.b": "now+100s"}})


@pytest.mark.parametrize(("due", "paused", "wakes"), [(0, False, True), (30, False, False), (0, True, False)])
def test_the_marker_is_set_exactly_when_work_can_be_claimed(world: World, due: int, paused: bool, wakes: bool) -> None:
    world.seed.ticked()
    world.seed.running("b")
    world.seed.waiting("a", due=due, band=3)
    if paused:
        world.seed.paused()

    world.run(tick(world.lane))

    assert world.state() == world.moved({"wake": {"w": 0}} if wakes else {})


def test_the_next_due_time_is_the_nearest_ahead_of_all_bands(world: World) -> None:
    for suffix, band, due in (("a", 0, 40), ("b", 3, 30), ("c", 2, -10)):
        world.seed.waiting(suffix, band=band, due=due)

    assert world.time(world.run(tick(world.lane)).next_due) == "now+30s"


def test_waiting_jobs_past_their_expiry_are_named_and_stay(world: World) -> None:
    world.seed.ticked(longest=0)
    world.seed.waiting("a", expires=-10)
    world.seed.waiting("b", expires=10)

    answer = world.run(tick(world.lane))

    assert answer.expired == (world.id("a"),)
    assert world.state() == world.moved({"wake": {"w": 0}})


def test_expired_jobs_are_named_also_while_leases_are_held(world: World) -> None:
    world.seed.ticked(ago=GAP_S)
    world.seed.waiting("a", due=30, expires=-10)
    world.seed.running("b", deadline=-10)

    answer = world.run(tick(world.lane, limit=1))

    assert (answer.expired, answer.overdue) == ((world.id("a"),), ())


def test_who_listens_hears_nothing_of_ticks(world: World) -> None:
    world.seed.ticked()
    job_id = world.seed.running("a", deadline=-10)

    with world.listening(job_id) as heard:
        world.run(tick(world.lane))

    assert heard == []


def test_a_tick_says_for_how_many_jobs_others_wait_and_how_many_endings_are_untold(world: World) -> None:
    world.seed.ticked(longest=0)
    for suffix in ("a", "b"):
        world.seed.watch(world.seed.waiting(suffix, due=30))
    world.raw.xadd(world.lane.outbox, {"id": world.id("c")})

    answer = world.run(tick(world.lane))

    assert (answer.watched, answer.unrelayed) == (2, 1)
    assert world.state() == world.before
