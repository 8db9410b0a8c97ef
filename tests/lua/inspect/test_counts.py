from __future__ import annotations

from jobfleet.store.calls.inspect import counts
from tests.lua.world import World
from tests.support.seed import S


def test_an_empty_lane_counts_nothing(world: World) -> None:
    found = world.refused(counts(world.lane))

    assert (found.due, found.later) == ((0, 0, 0, 0), (0, 0, 0, 0))
    assert (found.running, found.dead, found.oldest_due, found.paused, found.totals) == (0, 0, 0, None, {})
    assert (found.expiring, found.outbox, found.unrelayed) == (0, 0, 0)


def test_every_place_is_counted(world: World) -> None:
    for n, (band, due) in enumerate([(0, 0), (0, 30), (2, -20), (2, -10), (2, 30), (3, -30), (3, 60)]):
        world.seed.waiting(str(n), band=band, due=due)
    world.seed.running("r")
    world.seed.dead("d")
    world.seed.dead("e", result=False)
    world.seed.completed("c")

    found = world.refused(counts(world.lane))

    assert (found.due, found.later) == ((1, 0, 2, 1), (1, 0, 1, 1))
    assert (found.running, found.dead) == (1, 2)
    assert found.oldest_due == world.now - 30 * S


def test_a_paused_lane_tells_who_paused_it(world: World) -> None:
    world.seed.paused("ann")

    assert world.refused(counts(world.lane)).paused == "ann"


def test_totals_above_fourteen_digits_are_exact(world: World) -> None:
    world.raw.hset(world.lane.totals, mapping={"run_us": 8_999_999_999_999_999, "retrying": -1})

    assert world.refused(counts(world.lane)).totals == {"run_us": 8_999_999_999_999_999, "retrying": -1}


def test_expiries_and_endings_to_be_told_are_counted_with_the_age_of_the_oldest(world: World) -> None:
    world.raw.zadd(world.lane.expiry, {"a": 1, "b": 2})
    for ms in (1_700_000_000_123, 1_700_000_000_456):
        world.raw.xadd(world.lane.outbox, {"parent": "p"}, id=f"{ms}-1")

    found = world.refused(counts(world.lane))

    assert (found.expiring, found.outbox, found.unrelayed) == (2, 2, 1_700_000_000_123_000)
