from __future__ import annotations

from jobfleet.store.calls.presence import STACKS_TTL_MS, keep_stacks
from tests.lua.world import World


def test_an_answer_is_stored_for_a_minute(world: World) -> None:
    world.run(keep_stacks(world.keys, "0af", b"answer"))
    world.again(keep_stacks(world.keys, "0af", b"answer"))

    assert world.state() == {"stacks:0af": ("answer", STACKS_TTL_MS // 1000)}
