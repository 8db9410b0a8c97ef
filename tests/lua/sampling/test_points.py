from __future__ import annotations

from jobfleet.store.calls.samples import points
from tests.lua.world import World


def test_the_points_of_the_series_that_were_asked_for(world: World) -> None:
    world.raw.hset(world.keys.samples_of("10s:1"), mapping={"": "m", "t": "1", "q:mail": "2"})

    assert world.refused(points(world.keys, "10s:1", ["", "q:mail", "q:none"])) == {
        "": b"m",
        "q:mail": b"2",
        "q:none": b"",
    }


def test_a_chunk_that_is_not_there_has_no_points(world: World) -> None:
    assert world.refused(points(world.keys, "10s:1", ["", "t"])) == {"": b"", "t": b""}
