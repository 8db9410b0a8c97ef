from __future__ import annotations

from jobfleet.store.calls.enqueue import Mark, indexed
from tests.lua.world import World
from tests.support.seed import S


def fill(world: World, *suffixes: str, step: int = S) -> list[Mark]:
    """An index of jobs, each enqueued after the one before; newest first."""
    marks = [Mark(world.now + step * number, world.id(suffix)) for number, suffix in enumerate(suffixes)]
    world.raw.zadd(world.lane.index_of("tag:eu"), {mark.id: mark.at for mark in marks})
    return marks[::-1]


def test_the_newest_come_first_with_the_count_of_all(world: World) -> None:
    c, b, _ = fill(world, "a", "b", "c")

    assert world.refused(indexed(world.lane, "tag:eu", limit=2)) == (3, [c, b])


def test_a_page_begins_at_a_moment_or_after_some(world: World) -> None:
    _, b, a = fill(world, "a", "b", "c")

    assert world.refused(indexed(world.lane, "tag:eu", upto=b.at)) == (3, [b, a])
    assert world.refused(indexed(world.lane, "tag:eu", upto=b.at, skip=1)) == (3, [a])


def test_jobs_of_one_moment_come_by_id_the_last_first(world: World) -> None:
    marks = fill(world, "a", "b", step=0)

    assert world.refused(indexed(world.lane, "tag:eu")) == (2, marks)


def test_no_limit_only_counts(world: World) -> None:
    fill(world, "a", "b")

    assert world.refused(indexed(world.lane, "tag:eu", limit=0)) == (2, [])


def test_an_index_that_is_not_there_is_empty(world: World) -> None:
    assert world.refused(indexed(world.lane, "user:nobody")) == (0, [])
