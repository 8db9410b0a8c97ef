from __future__ import annotations

import pytest

from jobfleet.store.calls.run import lines
from jobfleet.store.records import Line
from tests.lua.world import World


def seed(world: World, *marks: tuple[int, int]) -> None:
    for token, n in marks:
        world.raw.rpush(world.lane.log(world.id("a")), f"{token} {n} 0 5 20 line {token}.{n}")


def marks(found: list[Line]) -> list[tuple[int, int]]:
    return [(line.token, line.n) for line in found]


def test_a_log_is_read_from_its_beginning(world: World) -> None:
    seed(world, (7, 1), (7, 2), (8, 1))

    assert world.refused(lines(world.lane, world.id("a"))) == [
        Line(7, 1, 5, 20, "line 7.1"),
        Line(7, 2, 5, 20, "line 7.2"),
        Line(8, 1, 5, 20, "line 8.1"),
    ]


def test_there_is_nothing_of_a_job_that_has_no_log(world: World) -> None:
    assert world.refused(lines(world.lane, world.id("a"))) == []


@pytest.mark.parametrize(
    ("after", "rest"),
    [
        ((7, 1), [(7, 3), (8, 1)]),
        ((7, 2), [(7, 3), (8, 1)]),  # a line that has been let go, or never was
        ((7, 3), [(8, 1)]),
        ((8, 1), []),
        ((9, 9), []),
    ],
)
def test_a_page_begins_after_what_was_seen(world: World, after: tuple[int, int], rest: list[tuple[int, int]]) -> None:
    seed(world, (7, 1), (7, 3), (8, 1))

    assert marks(world.refused(lines(world.lane, world.id("a"), after=after))) == rest


def test_the_tail_is_what_is_asked_for(world: World) -> None:
    seed(world, *[(7, n) for n in range(1, 8)])

    assert marks(world.refused(lines(world.lane, world.id("a"), tail=2))) == [(7, 6), (7, 7)]
    assert world.refused(lines(world.lane, world.id("a"), tail=0)) == []


def test_long_logs_come_in_pages(world: World) -> None:
    seed(world, *[(7, n) for n in range(1, 451)])
    first = world.refused(lines(world.lane, world.id("a"), limit=200))
    second = world.refused(lines(world.lane, world.id("a"), after=(7, first[-1].n), limit=200))
    third = world.refused(lines(world.lane, world.id("a"), after=(7, second[-1].n), limit=200))

    assert marks(first + second + third) == [(7, n) for n in range(1, 451)]


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("damaged", ["", "inf", "7 x 0 5 20 a", "\x00"])
def test_a_line_that_cannot_be_read_hides_no_other(world: World, place: int, damaged: str) -> None:
    seed(world, (7, 1), (7, 2))
    log = world.lane.log(world.id("a"))
    lines_of = world.raw.lrange(log, 0, -1)
    lines_of.insert(place, damaged)
    world.raw.delete(log)
    world.raw.rpush(log, *lines_of)

    assert marks(world.refused(lines(world.lane, world.id("a")))) == [(7, 1), (7, 2)]
    assert marks(world.refused(lines(world.lane, world.id("a"), after=(7, 1)))) == [(7, 2)]
