from __future__ import annotations

from jobfleet.store.calls.inspect import waiting
from jobfleet.store.records import Waiting
from tests.lua.world import World
from tests.support.seed import S


def test_a_band_without_jobs_is_an_empty_page(world: World) -> None:
    world.seed.waiting("a", band=1)

    assert world.refused(waiting(world.lane, 2))[1] == []


def test_a_page_is_by_due_time_and_exact(world: World) -> None:
    world.seed.waiting("b", due=30, tries="1:0:0:0:0")
    world.seed.waiting("a", due=-10)

    _, rows = world.refused(waiting(world.lane, 2))

    assert rows == [
        Waiting(world.id("a"), world.now - 10 * S, "", b"envelope of a"),
        Waiting(world.id("b"), world.now + 30 * S, "1:0:0:0:0", b"envelope of b"),
    ]


def test_pages_follow_each_other_within_bounds(world: World) -> None:
    for n in range(5):
        world.seed.waiting(str(n), due=10 * n)

    _, first = world.refused(waiting(world.lane, 2, limit=2))
    _, second = world.refused(waiting(world.lane, 2, skip=2, limit=2))
    _, ahead = world.refused(waiting(world.lane, 2, start=f"({world.now + 20 * S}", stop=str(world.now + 30 * S)))

    assert [row.id[-1] for row in (*first, *second)] == ["0", "1", "2", "3"]
    assert [row.id[-1] for row in ahead] == ["3"]


def test_a_lost_envelope_leaves_the_row(world: World) -> None:
    world.seed.waiting("a")
    world.raw.delete(world.lane.job(world.id("a")))

    assert world.refused(waiting(world.lane, 2))[1][0].envelope == b""
