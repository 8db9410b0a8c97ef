"""The call that reads the nodes of a cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from jobfleet.store.call import Call
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.script import load


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A node of a cluster.

    Attributes:
        address: Its host and port.
        is_primary: Whether it is a primary.
        health: ``online``, ``loading`` or ``failed``.
    """

    address: str
    is_primary: bool
    health: str


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of the slots, and the nodes that have it.

    Attributes:
        slots: The first and the last slot of each range.
        nodes: The nodes.
    """

    slots: tuple[tuple[int, int], ...]
    nodes: tuple[ClusterNode, ...]

    @property
    def primary(self) -> ClusterNode | None:
        """The node that serves the slots."""
        return next((node for node in self.nodes if node.is_primary and node.health != "failed"), None)


@dataclass(frozen=True, slots=True)
class Topology:
    """The nodes of a cluster; without shards for one server.

    Attributes:
        shards: The shards.
    """

    shards: tuple[Shard, ...] = ()

    @property
    def missing(self) -> int:
        """The number of slots that no living primary serves."""
        served = sum(last - first + 1 for shard in self.shards if shard.primary for first, last in shard.slots)
        return REDIS_CLUSTER_HASH_SLOTS - served if self.shards else 0

    def node_of(self, lane: Lane) -> ClusterNode | None:
        """The node that serves a lane; None if it is unknown."""
        slot = key_slot(lane.lane.encode())
        for shard in self.shards:
            if any(first <= slot <= last for first, last in shard.slots):
                return shard.primary
        return None


def topology(keys: Keyspace) -> Call[Topology]:
    """Return the nodes of the cluster, as the node of the fleet's keys sees them."""
    return Call(load("topology"), (keys.queues,), (), lambda reply: Topology(tuple(map(_shard, reply[1]))))


def _shard(row: Sequence[Any]) -> Shard:
    fields = _pairs(row)
    bounds = [int(slot) for slot in fields["slots"]]
    slots = tuple(zip(bounds[::2], bounds[1::2], strict=True))
    return Shard(slots, tuple(map(_node, fields["nodes"])))


def _node(row: Sequence[Any]) -> ClusterNode:
    fields = _pairs(row)
    host = bytes(fields.get("endpoint") or fields["ip"]).decode()
    port = int(fields.get("port") or fields["tls-port"])
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return ClusterNode(address, fields["role"] == b"master", bytes(fields["health"]).decode())


def _pairs(row: Sequence[Any]) -> Mapping[str, Any]:
    return {bytes(name).decode(): value for name, value in zip(row[::2], row[1::2], strict=True)}
