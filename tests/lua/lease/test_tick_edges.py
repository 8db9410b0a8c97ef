"""What a tick does at its edges: one lease, groups that rest, limits of the lane, what is paused."""

from __future__ import annotations

import pytest

from jobfleet.store.calls.lease import tick
from tests.lua.world import World
from tests.support.seed import S
from tests.support.state import server_now


def test_a_lease_without_a_run_is_not_named_and_those_beside_it_are(world: World) -> None:
    world.seed.ticked()
    for suffix, deadline in (("a", -30), ("b", -20), ("c", -10)):
        world.seed.running(suffix, deadline=deadline)
    world.raw.hdel(world.lane.runs, world.id("b"))

    answer = world.run(tick(world.lane))

    assert [held.id for held in answer.overdue] == [world.id("a"), world.id("c")]
    assert world.state() == world.before


def test_one_overdue_run_alone_is_named(world: World) -> None:
    world.seed.ticked()
    job_id = world.seed.running("a", deadline=-10)

    assert [held.id for held in world.run(tick(world.lane)).overdue] == [job_id]


def test_one_deadline_too_far_ahead_is_drawn_in(world: World) -> None:
    world.seed.ticked()
    world.seed.running("a", deadline=3_600)

    world.run(tick(world.lane))

    assert world.state() == world.moved({"lease": {"mail.0.a": "now+120s"}})


def test_deadlines_are_drawn_in_up_to_the_limit_the_nearest_first(world: World) -> None:
    world.seed.ticked()
    for suffix, deadline in (("a", 900), ("b", 700), ("c", 800)):
        world.seed.running(suffix, deadline=deadline)

    world.run(tick(world.lane, limit=2))

    assert world.state()["lease"] == {"mail.0.a": "now+900s", "mail.0.b": "now+120s", "mail.0.c": "now+120s"}


def test_a_group_that_rests_without_a_reason_is_looked_at_and_wakes_somebody(world: World) -> None:
    world.seed.waiting("a", due=0, group="acme")
    world.seed.rests("acme")

    world.run(tick(world.lane))

    assert world.state() == world.moved(
        {"lane": {"seen": "now", "hold": "0", "longest": "0"}, "gdue": {"2acme": "now"}, "wake": {"w": 0}}
    )


def test_a_group_whose_turn_comes_sooner_keeps_that_turn(world: World) -> None:
    world.seed.waiting("a", due=0, group="acme")
    world.seed.rests("acme")
    world.raw.zadd(world.lane.gdue, {"2other": world.seed.at(30)})

    answer = world.run(tick(world.lane))

    assert world.state()["gdue"] == {"2acme": "now", "2other": "now+30s"}
    assert world.time(answer.next_due) == "now+30s"


@pytest.mark.parametrize("kept", ["paused", "full", "no token"])
def test_a_group_that_rests_for_a_reason_goes_on_resting(world: World, kept: str) -> None:
    world.seed.ticked()
    world.seed.running("b", group="acme")
    world.seed.waiting("a", due=0, group="acme")
    world.seed.rests("acme")
    if kept == "paused":
        world.seed.group_paused("acme")
    elif kept == "full":
        world.seed.limit("1 - - - 1", "acme")
    else:
        world.seed.limit(f"- {10 * S} 1 - 1/10s", "acme")
        world.raw.zadd(world.lane.rates, {"acme": world.seed.at(600)})

    world.run(tick(world.lane))

    assert world.state() == world.before


def test_ten_groups_that_rest_are_looked_at_in_one_tick(world: World) -> None:
    groups = [f"2g{number:04}" for number in range(1000)]
    world.raw.zadd(world.lane.ring, dict.fromkeys(groups, 6 * 10**15))

    counts = []
    for _ in range(4):  # the first of them is drawn from the clock, so there may be fewer behind it
        world.run(tick(world.lane))
        counts.append(world.raw.zcard(world.lane.gdue))
        world.raw.delete(world.lane.gdue)

    assert max(counts) == 10


def test_the_next_turn_of_a_group_is_something_due(world: World) -> None:
    world.raw.zadd(world.lane.gdue, {"2acme": world.seed.at(30)})
    world.seed.waiting("a", due=40)

    answer = world.run(tick(world.lane))

    assert world.time(answer.next_due) == "now+30s"
    assert "wake" not in world.state()


def test_buckets_that_are_full_again_are_forgotten(world: World) -> None:
    world.seed.ticked(longest=0)
    world.raw.zadd(world.lane.rates, {"acme": world.seed.at(-10), "": world.seed.at(-20), "other": world.seed.at(30)})

    world.run(tick(world.lane))
    assert world.state() == world.moved({"rates": {"other": "now+30s"}})
    world.raw.zadd(world.lane.rates, {"acme": world.seed.at(-10)})
    world.run(tick(world.lane))

    assert world.state() == world.moved({"rates": {"other": "now+30s"}})


@pytest.mark.parametrize(
    ("limit", "running", "full", "due", "wakes"),
    [
        ("1 - - - 1", 0, None, 0, True),
        ("1 - - - 1", 1, None, 0, False),
        ("2 - - - 2", 1, None, 0, True),
        ("3 - - - 3", 1, None, 0, True),
        ("3 - - - 3", 1, None, 30, False),
        (f"- {10 * S} 1 - 1/10s", 1, None, 0, True),
        (f"- {10 * S} 1 - 1/10s", 1, 30, 0, False),
        (f"- {10 * S} 9 - 9/90s", 1, 30, 0, True),
    ],
)
def test_a_lane_that_is_full_or_out_of_tokens_wakes_nobody(
    world: World, limit: str, running: int, full: int | None, due: int, wakes: bool
) -> None:
    world.seed.ticked(longest=60 if running else 0)
    for number in range(running):
        world.seed.running(f"r{number}")
    world.seed.waiting("a", due=due)
    world.seed.limit(limit)
    world.raw.zadd(world.lane.rates, {"acme": world.seed.at(60)})
    if full is not None:
        world.raw.zadd(world.lane.rates, {"": world.seed.at(full)})

    world.run(tick(world.lane))

    assert world.state() == world.moved({"wake": {"w": 0}} if wakes else {})


def test_the_functions_that_are_paused_are_told(world: World) -> None:
    assert world.run(tick(world.lane)).functions == ""
    world.seed.limit("5 - - - 5")
    world.seed.paused_functions("mail.send ann@1", "~bill ann@1")

    assert world.run(tick(world.lane)).functions == "mail.send ann@1\n~bill ann@1"


def test_a_paused_lane_is_housekept_all_the_same(world: World) -> None:
    world.seed.ticked()
    world.seed.paused()
    world.seed.limit("5 - - - 5")
    overdue = world.seed.running("a", deadline=-10)
    world.seed.running("b", deadline=3_600)
    late = world.seed.waiting("c", expires=-10)

    answer = world.run(tick(world.lane))

    assert ([held.id for held in answer.overdue], answer.expired) == ([overdue], (late,))
    assert world.state() == world.moved({"lease": {"mail.0.a": "now-10s", "mail.0.b": "now+120s"}})


@pytest.mark.parametrize("is_paused", [False, True])
@pytest.mark.parametrize("band", [0, 1, 2, 3])
def test_after_a_step_back_jobs_of_every_band_are_due_and_wake_somebody_unless_the_lane_is_paused(
    world: World, band: int, is_paused: bool
) -> None:
    world.seed.ticked(ago=-40)
    world.seed.waiting("a", band=band, due=30)
    if is_paused:
        world.seed.paused()

    world.run(tick(world.lane))

    assert world.state()[f"ready:{band}"] == {"mail.0.a": "now"}
    assert ("wake" in world.state()) is not is_paused


@pytest.mark.parametrize(
    ("longest", "since", "is_held"), [(60, 3, False), (60, 6, True), (12, 2, False), (12, 5, True), (6, 3, True)]
)
def test_leases_are_held_once_a_third_of_the_longest_went_by_without_a_tick(
    world: World, longest: int, since: int, is_held: bool
) -> None:
    """Two to five seconds; see lib/base/gap."""
    world.seed.running("a", lease=longest)
    world.seed.lane_holds(seen=server_now(world.raw) - since * S, hold=0, longest=longest * S)

    assert bool(world.run(tick(world.lane)).hold) is is_held
