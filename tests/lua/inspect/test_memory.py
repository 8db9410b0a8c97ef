from __future__ import annotations

from typing import Any

import redis

from jobfleet.store.calls.inspect import memory
from tests.lua.world import World


def told(world: World) -> dict[str, Any]:
    """What the server says of its memory; nothing where it knows no INFO, as fakeredis."""
    try:
        return world.info("memory")
    except redis.ResponseError:
        return {"used_memory": 0}


def test_used_memory_and_its_limit_are_what_the_server_says(world: World) -> None:
    used, most = world.refused(memory(world.keys))

    info = told(world)
    assert most == info.get("maxmemory", 0)
    assert (used == 0) == (info["used_memory"] == 0)
    assert abs(used - info["used_memory"]) < 4 * 1024**2
