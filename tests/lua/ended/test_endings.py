from __future__ import annotations

from jobfleet.store.calls.ended import endings
from tests.lua.world import World
from tests.support.seed import S

NAME = "keep:app.f"


def fill(world: World, *ids: str) -> None:
    world.raw.zadd(world.lane.index_of(NAME), {job_id: world.now + place for place, job_id in enumerate(ids)})


def ended(world: World, suffix: str, line: str, *, ago: int = 0) -> str:
    world.raw.set(world.lane.result(world.id(suffix)), f"{line.format(world.now - ago * S)}\nrecord", ex=1000)
    return world.id(suffix)


def test_ended_jobs_are_listed_with_the_times_of_their_endings(world: World) -> None:
    fill(
        world,
        ended(world, "a", "completed {} 7", ago=50),
        world.seed.waiting("open"),
        world.seed.running("runs"),
        ended(world, "b", "cancelled {} 0 0 - ann", ago=70),
        ended(world, "c", "expired {} 0 0 - -", ago=60),
        ended(world, "d", "failed {} 7 0 - - error"),
        world.id("gone"),
    )

    page = world.refused(endings(world.lane, NAME))

    assert page.ended == [
        (world.id("a"), world.now - 50 * S), (world.id("b"), world.now - 70 * S), (world.id("c"), world.now - 60 * S),
        (world.id("d"), world.now),
    ]  # fmt: skip
    assert (page.size, page.more) == (7, False)
    assert abs(page.now - world.now) < 10 * S


def test_dead_letters_and_jobs_that_others_stand_in_for_are_left_out(world: World) -> None:
    fill(
        world,
        world.seed.dead("letter"),
        world.seed.dead("bare", result=False),
        ended(world, "moved", "cancelled {} 0 0 - ann moved:other.0.a"),
        ended(world, "out", "cancelled {} 7 1 w.1 - moved:other.0.b"),
        ended(world, "replaced", "cancelled {} 0 0 - replaced-by:mail.0.b"),
    )

    assert world.refused(endings(world.lane, NAME)).ended == []


def test_a_line_that_is_no_ending_is_left_out(world: World) -> None:
    for suffix, text in {"a": "", "b": "\n", "c": "completed", "d": "completed x 7\n", "e": "\xff" * 3000}.items():
        world.raw.set(world.lane.result(world.id(suffix)), text)
    fill(world, *map(world.id, "abcde"))

    assert world.refused(endings(world.lane, NAME)).ended == []


def test_a_large_index_comes_by_pages(world: World) -> None:
    fill(world, *(world.seed.completed(f"{number:03}") for number in range(100)))

    pages = [world.go(endings(world.lane, NAME, skip=skip)) for skip in (0, 50, 100)]

    assert [(len(page.ended), page.size, page.more) for page in pages] == [
        (50, 100, True), (50, 100, True), (0, 100, False),
    ]  # fmt: skip


def test_an_index_that_does_not_exist_is_empty(world: World) -> None:
    page = world.refused(endings(world.lane, NAME))

    assert (page.size, page.ended, page.more) == (0, [], False)
