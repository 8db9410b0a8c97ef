from __future__ import annotations

from jobfleet.store.calls.inspect import memory
from tests.lua.world import World


def test_used_memory_and_its_limit_are_what_the_server_says(world: World) -> None:
    used, most = world.refused(memory(world.keys))

    told = world.raw.info("memory")
    assert most == told.get("maxmemory", 0)
    assert abs(used - told["used_memory"]) < 4 * 1024**2
