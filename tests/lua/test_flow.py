from __future__ import annotations

from jobfleet.store.calls.flow import read_flow
from tests.lua.world import World


def test_what_is_kept_is_answered(world: World) -> None:
    world.raw.set(world.keys.flow("f"), b"rec\xffrd")

    assert world.again(read_flow(world.keys, "f")) == b"rec\xffrd"
    assert world.again(read_flow(world.keys, "g")) == b""
