from __future__ import annotations

from jobfleet.store.calls.presence import keep_stacks, stacks
from tests.lua.world import World


def test_an_answer_is_read_by_its_nonce(world: World) -> None:
    assert world.run(stacks(world.keys, "0af")) == b""

    world.run(keep_stacks(world.keys, "0af", b"\x00answer"))

    assert world.run(stacks(world.keys, "0af")) == b"\x00answer"
    assert world.run(stacks(world.keys, "0b")) == b""
