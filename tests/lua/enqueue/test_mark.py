from __future__ import annotations

from typing import Any

from jobfleet.store.calls.enqueue import mark
from tests.lua.world import World


def test_the_mark_is_written_each_time_and_goes_by_itself(world: World) -> None:
    for _ in range(2):
        replid = world.run(mark(world.lane))

        info: Any = world.raw.info("replication")
        assert replid == info["master_replid"]
        assert world.state() == {"barrier": ("1", 60)}
