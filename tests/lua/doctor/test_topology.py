from __future__ import annotations

from redis.crc import key_slot

from jobfleet.store.calls.doctor import Topology, topology
from tests.lua.world import LANE, World


def test_it_shows_the_nodes_of_a_cluster_and_none_of_one_server(world: World) -> None:
    seen = world.refused(topology(world.keys))

    if not seen.shards:
        assert seen == Topology()
        assert seen.missing == 0
        assert seen.node_of(LANE) is None
        return
    slots = sorted(part for shard in seen.shards for part in shard.slots)
    assert [slot for first, last in slots for slot in range(first, last + 1)] == list(range(16384))
    assert seen.missing == 0
    primaries = [node for shard in seen.shards for node in shard.nodes if node.is_primary]
    assert [node.health for node in primaries] == ["online"] * len(seen.shards)
    slot = key_slot(LANE.lane.encode())
    (holder,) = [shard for shard in seen.shards if any(first <= slot <= last for first, last in shard.slots)]
    assert seen.node_of(LANE) in holder.nodes
    assert seen.node_of(LANE) in primaries
