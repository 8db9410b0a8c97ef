from __future__ import annotations

import redis

from jobfleet.store.calls.doctor import server
from tests.lua.world import World


def test_it_tells_what_info_tells_and_the_time(world: World) -> None:
    now, info = world.refused(server(world.keys))

    assert now >= world.now
    try:
        told = world.info("server", "memory", "persistence", "replication")
    except redis.ResponseError:  # fakeredis knows no INFO
        assert info == {}
        return
    for name in (
        "redis_version",
        "maxmemory_policy",
        "maxmemory",
        "role",
        "aof_enabled",
        "rdb_changes_since_last_save",
    ):
        assert info[name] == str(told[name])
