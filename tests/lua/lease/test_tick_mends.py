"""What a tick puts right: runs whose leases were taken away, and numbers of the lane that cannot be."""

from __future__ import annotations

from itertools import pairwise

import pytest

from jobfleet.store.calls.lease import tick
from tests.lua.world import World
from tests.support.seed import S

DAYS = 86_400
TEN_DAYS = 10 * DAYS


@pytest.mark.parametrize("lost", ["a", "b", "c", "ab", "ac", "bc", "abc"])
def test_each_run_without_a_lease_is_given_one_of_its_own_length(world: World, lost: str) -> None:
    world.seed.ticked()
    lengths = {"a": 30, "b": 40, "c": 60}
    for suffix, length in lengths.items():
        world.seed.running(suffix, lease=length, deadline=20)
    world.raw.zrem(world.lane.lease, *[world.id(suffix) for suffix in lost])

    answer = world.run(tick(world.lane))

    deadlines = {f"mail.0.{suffix}": f"now+{length if suffix in lost else 20}s" for suffix, length in lengths.items()}
    assert answer.overdue == ()
    assert world.state()["lease"] == deadlines
    world.again(tick(world.lane))
    assert {name: value for name, value in world.state().items() if name not in {"lease", "lane"}} == {
        name: value for name, value in world.before.items() if name not in {"lease", "lane"}
    }


def test_a_lease_that_is_given_again_lasts_ten_days_at_most(world: World) -> None:
    world.seed.running("a", lease=TEN_DAYS + 10)
    world.seed.running("b", lease=TEN_DAYS - 10)
    world.seed.running("c")
    world.raw.zrem(world.lane.lease, world.id("a"), world.id("b"))
    world.seed.ticked(longest=TEN_DAYS)

    world.run(tick(world.lane))

    assert world.state()["lease"] == {
        "mail.0.a": f"now+{TEN_DAYS}s", "mail.0.b": f"now+{TEN_DAYS - 10}s", "mail.0.c": "now+50s",
    }  # fmt: skip


def test_runs_without_leases_are_met_a_few_at_a_time(world: World) -> None:
    world.seed.ticked()
    for number in range(6):
        world.seed.running(f"{number}")
    world.raw.delete(world.lane.lease)

    counts = []
    while world.raw.zcard(world.lane.lease) < 6:
        world.go(tick(world.lane, limit=2))
        counts.append(world.raw.zcard(world.lane.lease))
        assert len(counts) < 1000

    assert counts[0] == 2
    assert all(later - earlier in {0, 1, 2} for earlier, later in pairwise(counts))


def test_a_lease_beyond_the_runs_is_no_reason_to_look(world: World) -> None:
    world.seed.ticked()
    world.seed.running("a", deadline=20)
    world.seed.running("b", deadline=20)
    world.raw.hdel(world.lane.runs, world.id("b"))

    world.run(tick(world.lane))

    assert world.state() == world.before


@pytest.mark.parametrize(
    ("field", "value", "kept"),
    [
        ("seen", "garbage", {"seen": "now", "hold": "now+30s", "longest": str(60 * S)}),
        ("seen", "-5", {"seen": "now", "hold": "now+30s", "longest": str(60 * S)}),
        ("hold", "garbage", {"seen": "now", "hold": "0", "longest": str(60 * S)}),
        ("hold", "-5", {"seen": "now", "hold": "0", "longest": str(60 * S)}),
        ("hold", "9" * 17, {"seen": "now", "hold": "now+60s", "longest": str(60 * S)}),
        ("longest", "-5", {"seen": "now", "hold": "0", "longest": "0"}),
        ("longest", "garbage", {"seen": "now", "hold": "0", "longest": "0"}),
        ("longest", "9" * 17, {"seen": "now", "hold": "0", "longest": str(TEN_DAYS * S)}),
    ],
)
def test_a_number_of_the_lane_that_cannot_be_is_put_right(
    world: World, field: str, value: str, kept: dict[str, str]
) -> None:
    world.seed.ticked()
    world.seed.running("a", deadline=50)
    world.raw.hset(world.lane.lane, field, value)

    world.run(tick(world.lane))

    assert world.state()["lane"] == kept
    assert world.state()["lease"] == {"mail.0.a": "now+50s"}, "a running job keeps its lease"
