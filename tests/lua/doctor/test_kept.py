from __future__ import annotations

from jobfleet.store.calls.doctor import FOR_EVER, GONE, Kept, kept
from tests.lua.world import World


def test_results_are_measured_one_an_id(world: World) -> None:
    done, lasting = world.seed.completed("a"), world.seed.completed("b")
    world.raw.persist(world.lane.result(lasting))

    first, gone, last = world.refused(kept(world.lane, [done, world.id("nobody"), lasting]))

    size = world.raw.strlen(world.lane.result(done))
    assert first.size == size
    assert 900_000 < first.left <= 1_000_000
    assert gone == Kept(0, GONE)
    assert last == Kept(size, FOR_EVER)
