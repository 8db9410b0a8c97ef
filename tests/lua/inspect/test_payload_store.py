from __future__ import annotations

from jobfleet.store.calls.enqueue import found_store, payload_store
from tests.lua.world import World


def test_a_store_has_no_identity_before_the_first_payload(world: World) -> None:
    assert world.refused(payload_store(world.keys)) == ""
    world.run(found_store(world.keys, "aa"))

    assert world.refused(payload_store(world.keys)) == "aa"
