"""Redis's clock has stepped back by 40 s: the last tick was at `now+40s`, and what was due by then is due later."""

from __future__ import annotations

import pytest

from jobfleet.store.calls.lease import claim, tick
from tests.lua.world import World
from tests.support.seed import S

STEP = 40


def claimed(world: World) -> list[str]:
    answer = world.run(claim(world.lane, child="w.1", nonce=1, lease_us=60 * S, limit=50))
    return [grant.id.removeprefix(world.lane.id_prefix) for grant in answer.grants]


def test_jobs_that_were_due_before_are_due_now_in_their_order(world: World) -> None:
    world.seed.ticked(ago=-STEP)
    for suffix, band, due in (("c", 2, 10), ("b", 2, 20), ("a", 2, 30), ("d", 0, 30), ("e", 2, -10), ("later", 2, 60)):
        world.seed.waiting(suffix, band=band, due=due)

    world.run(tick(world.lane))

    assert world.state() == world.moved(
        {
            "lane": {"seen": "now", "hold": "0", "longest": "0"},
            "ready:0": {"mail.0.d": "now"},
            "ready:2": {
                **dict.fromkeys(("mail.0.a", "mail.0.b", "mail.0.c"), "now"), "mail.0.e": "now-10s",
                "mail.0.later": "now+60s",
            },
            "wake": {"w": 0},
        }
    )  # fmt: skip
    world.again(tick(world.lane))
    assert claimed(world) == ["d", "e", "c", "b", "a"]


def test_jobs_that_came_after_the_last_tick_are_due_now_too(world: World) -> None:
    world.seed.ticked(ago=-STEP)
    world.raw.zadd(world.lane.ready[2], {world.seed.waiting("a"): world.seed.at(STEP) + 2 * S})

    world.run(tick(world.lane))

    assert claimed(world) == ["a"]


def test_jobs_of_groups_are_drawn_in_with_their_groups(world: World) -> None:
    world.seed.ticked(ago=-STEP)
    for suffix, group, due in (("b", "ann", 10), ("a", "ann", 20), ("c", "bob", 30), ("later", "bob", 60)):
        world.seed.waiting(suffix, group=group, due=due)

    world.run(tick(world.lane))

    moved = world.state()
    assert set(moved["grouped"]) == {
        "2ann|now|mail.0.a", "2ann|now|mail.0.b", "2bob|now|mail.0.c", "2bob|now+60s|mail.0.later",
    }  # fmt: skip
    assert moved["gdue"] == {"2ann": "now", "2bob": "now"}
    world.again(tick(world.lane))
    assert claimed(world) == ["b", "c", "a"]


def test_a_bucket_is_never_further_from_full_than_when_it_is_empty(world: World) -> None:
    world.seed.ticked(ago=-STEP)
    world.seed.limit(f"0 {10 * S} 1 - -", "ann")
    world.seed.limit(f"0 {10 * S} 2 - -")
    world.seed.waiting("a", group="ann")
    world.seed.rests("ann")
    world.raw.zadd(world.lane.rates, {"ann": world.seed.at(STEP), "": world.seed.at(STEP), "bob": world.seed.at(-10)})
    world.raw.zadd(world.lane.gdue, {"2ann": world.seed.at(STEP)})

    world.run(tick(world.lane))

    assert world.state()["rates"] == {"": "now+20s", "ann": "now+10s"}
    assert world.state()["gdue"] == {"2ann": "now"}


@pytest.mark.parametrize("many", [1001, 2500])
def test_what_one_tick_does_not_draw_in_the_next_ones_do(world: World, many: int) -> None:
    world.seed.ticked(ago=-STEP)
    ids = [world.id(f"{number:04}") for number in range(many)]
    world.raw.zadd(world.lane.ready[2], {job_id: world.seed.at(10) + number for number, job_id in enumerate(ids)})

    answer = world.go(tick(world.lane))
    assert answer.next_due == answer.now + 1
    while answer.next_due:
        answer = world.go(tick(world.lane))

    assert world.raw.zrange(world.lane.ready[2], 0, -1) == [job_id.encode() for job_id in ids]
    assert world.raw.zcount(world.lane.ready[2], f"({answer.now}", "+inf") == 0
    assert world.raw.hget(world.lane.lane, "ahead") is None


def test_jobs_that_are_due_later_stay_while_the_clock_goes_on(world: World) -> None:
    world.seed.ticked(longest=0)
    world.seed.waiting("a", due=10)

    world.run(tick(world.lane))

    assert world.state() == world.before
