from __future__ import annotations

from jobfleet.store.calls.flow import FLOWS_LISTED, keep_flow
from tests.lua.world import World


def test_a_flow_is_kept_and_listed(world: World) -> None:
    world.run(keep_flow(world.keys, "f", b"record", ttl_ms=60_000))

    assert world.state() == {"flow:f": ("record", 60), "flows": {"f": "now"}}
    world.again(keep_flow(world.keys, "f", b"record", ttl_ms=60_000))


def test_the_oldest_is_listed_no_more(world: World) -> None:
    world.raw.zadd(world.keys.flows, {f"f{n}": n for n in range(FLOWS_LISTED)})

    world.run(keep_flow(world.keys, "new", b"record", ttl_ms=60_000))

    assert world.raw.zcard(world.keys.flows) == FLOWS_LISTED
    assert world.raw.zscore(world.keys.flows, "f0") is None
