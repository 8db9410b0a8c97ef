"""letter: one dead letter, by its job's id."""

from __future__ import annotations

from jobfleet.store.calls.inspect import letter
from tests.lua.world import World


def test_it_tells_all_that_was_kept(world: World) -> None:
    world.seed.dead("a", band=1, meta="r 5000", tries="1:0:0:0:0\nran")
    world.seed.dead("b")

    found = world.refused(letter(world.lane, world.id("a")))

    assert found is not None
    assert (found.id, found.reason, found.band) == (world.id("a"), "error", 1)
    assert (found.tries, found.meta) == ("1:0:0:0:0\nran", "r 5000")
    assert (found.record, found.envelope) == (b"record of a", b"envelope of a")


def test_there_is_no_letter_of_a_job_that_is_not_dead(world: World) -> None:
    world.seed.waiting("a")

    assert world.refused(letter(world.lane, world.id("a"))) is None
