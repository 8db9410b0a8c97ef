from __future__ import annotations

from jobfleet.store.calls.flow import Addition, Kept, extend_flow, read_flow
from tests.lua.world import World

ADDED = "q.0.a 1"


def test_what_is_kept_is_answered(world: World) -> None:
    world.raw.set(world.keys.flow("f"), b"rec\xffrd")
    world.run(extend_flow(world.keys, "f", ADDED, stage=1, count=7, record=b"m\xffre", ttl_ms=60_000))

    assert world.again(read_flow(world.keys, "f")) == Kept(b"rec\xffrd", {ADDED: Addition(1, b"m\xffre")})
    assert world.again(read_flow(world.keys, "g")) == Kept(b"", {})
