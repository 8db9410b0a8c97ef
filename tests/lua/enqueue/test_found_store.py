from __future__ import annotations

from jobfleet.store.calls.enqueue import found_store
from tests.lua.world import World


def test_the_first_identity_stays(world: World) -> None:
    assert world.run(found_store(world.keys, "aa")) == "aa"

    assert world.refused(found_store(world.keys, "bb")) == "aa"
    assert world.raw.get(world.keys.payload_store) == b"aa"
