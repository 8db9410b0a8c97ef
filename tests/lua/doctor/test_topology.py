from __future__ import annotations

from jobfleet.store.calls.doctor import Topology, topology
from tests.lua.world import LANE, World


def test_it_shows_the_nodes_of_a_cluster_and_none_of_one_server(world: World) -> None:
    seen = world.refused(topology(world.keys))

    if not seen.shards:
        assert seen == Topology()
        assert seen.missing == 0
        assert seen.node_of(LANE) is None
        return
    (shard,) = seen.shards
    (node,) = shard.nodes
    assert (shard.slots, node.is_primary, node.health, seen.missing) == (((0, 16383),), True, "online", 0)
    assert seen.node_of(LANE) == node
