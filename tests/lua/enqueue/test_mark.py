from __future__ import annotations

from jobfleet.store.calls.enqueue import mark
from tests.lua.world import World


def test_the_mark_is_written_each_time_and_goes_by_itself(world: World) -> None:
    for _ in range(2):
        assert world.run(mark(world.lane)) is None

        assert world.state() == {"barrier": ("1", 60)}
