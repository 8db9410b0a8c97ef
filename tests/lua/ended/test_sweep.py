from __future__ import annotations

import pytest

from jobfleet.store.calls.ended import sweep
from tests.lua.world import World
from tests.support.seed import S

DAYS_40 = 40 * 86_400


def fill(world: World, *suffixes: str, enqueued: int = 0, ttl: int = DAYS_40 + 86_400) -> None:
    world.raw.zadd(world.lane.index_of("tag:eu"), {world.id(one): world.now + enqueued * S for one in suffixes})
    world.raw.expire(world.lane.index_of("tag:eu"), ttl)
    world.raw.zadd(world.lane.indexes, {"tag:eu": world.now - 60 * S})


def test_jobs_without_a_trace_go_and_all_others_stay(world: World) -> None:
    world.seed.waiting("open")
    world.seed.running("runs")
    world.seed.completed("ended")
    world.seed.dead("letter", result=False)
    fill(world, "open", "runs", "ended", "letter", "gone", "lost")

    assert world.run(sweep(world.lane, "tag:eu")) == (2, 4, False)

    stay = dict.fromkeys((world.id(one) for one in ("open", "runs", "ended", "letter")), "now")
    assert world.state() == world.moved({"index:tag:eu": stay, "indexes": {"tag:eu": "now+600s"}})
    assert world.again(sweep(world.lane, "tag:eu")) == (0, 4, False)


def test_an_index_of_nothing_goes_with_its_entry(world: World) -> None:
    fill(world, "gone", "lost")

    assert world.run(sweep(world.lane, "tag:eu")) == (2, 0, False)

    assert world.state() == world.moved({"index:tag:eu": None, "indexes": None})
    assert world.again(sweep(world.lane, "tag:eu")) == (0, 0, False)


@pytest.mark.parametrize(("age", "looked_at"), [(0, 600), (7200, 7200), (10 * 86_400, 86_400)])
def test_the_longer_nothing_has_come_the_later_it_is_looked_at_again(world: World, age: int, looked_at: int) -> None:
    world.seed.waiting("open")
    fill(world, "open", enqueued=-age)

    world.run(sweep(world.lane, "tag:eu"))

    assert world.state()["indexes"] == {"tag:eu": f"now+{looked_at}s"}


def test_the_index_of_a_function_that_keeps_its_last_results_is_looked_at_again_soon(world: World) -> None:
    world.raw.zadd(world.lane.index_of("keep:app.f"), {world.seed.waiting("open"): world.now - 10 * 86_400 * S})

    world.run(sweep(world.lane, "keep:app.f"))

    assert world.state()["indexes"] == {"keep:app.f": "now+600s"}


def test_an_index_of_open_jobs_is_kept_for_another_while(world: World) -> None:
    world.seed.waiting("open")
    fill(world, "open", ttl=86_400)

    world.run(sweep(world.lane, "tag:eu"))

    assert DAYS_40 - 60 < world.raw.ttl(world.lane.index_of("tag:eu")) <= DAYS_40


def test_a_large_index_is_gone_through_by_pages(world: World) -> None:
    suffixes = [f"{number:03}" for number in range(120)]
    fill(world, *suffixes)
    for number in range(0, 120, 2):
        world.seed.waiting(suffixes[number])

    skip, gone, more, pages = 0, 0, True, 0
    while more:
        went, kept, more = world.run(sweep(world.lane, "tag:eu", skip=skip))
        gone, skip, pages = gone + went, skip + kept, pages + 1

    assert (gone, skip, pages) == (60, 60, 3)
    assert world.raw.zcard(world.lane.index_of("tag:eu")) == 60
