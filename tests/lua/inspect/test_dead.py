from __future__ import annotations

from jobfleet.store.calls.inspect import dead
from tests.lua.world import World


def test_nothing_is_dead(world: World) -> None:
    assert world.refused(dead(world.lane)) == []


def test_a_letter_tells_all_that_was_kept(world: World) -> None:
    world.seed.dead("a", band=1, meta="r 5000", tries="1:0:0:0:0\nran")

    (letter,) = world.refused(dead(world.lane))

    assert (letter.id, letter.reason, letter.band) == (world.id("a"), "error", 1)
    assert (letter.tries, letter.meta) == ("1:0:0:0:0\nran", "r 5000")
    assert (letter.record, letter.envelope) == (b"record of a", b"envelope of a")


def test_pages_follow_each_other_newest_first(world: World) -> None:
    for n in range(5):
        world.seed.dead(str(n), age=50 - 10 * n)

    first = world.refused(dead(world.lane, limit=2))
    second = world.refused(dead(world.lane, before=f"({first[-1].entry}", limit=2))

    assert [letter.id[-1] for letter in (*first, *second)] == ["4", "3", "2", "1"]
