"""Plain clients for looking and seeding: of one server, or of a whole cluster as if it were one."""

from __future__ import annotations

from collections import Counter
from functools import reduce
from typing import Any

import redis

OF_ALL = frozenset(
    {
        "ACL LOG", "ACL SETUSER", "CLIENT KILL", "CLIENT LIST", "CONFIG RESETSTAT", "CONFIG SET", "DBSIZE", "INFO",
        "KEYS", "PUBSUB CHANNELS", "PUBSUB NUMPAT", "PUBSUB NUMSUB",
    }
)  # fmt: skip
"""The commands that redis-py sends to one node, though tests mean the server that the fleet is on."""


class PlainClient(redis.Redis):
    """A client of one server, which does not see the connections of its Sentinels and replicas."""

    def client_list(self, *args: Any, **kwargs: Any) -> Any:
        """List the other clients."""
        return of_clients(super().client_list(*args, **kwargs))


class WholeCluster(redis.RedisCluster):
    """A cluster that looks like one server."""

    def info_beside(self, key: str, section: str) -> dict[str, Any]:
        """Return a section of INFO of the primary that has a key."""
        cluster: Any = super()
        info: dict[str, Any] = cluster.execute_command("INFO", section, target_nodes=cluster.get_node_from_key(key))
        return info

    def info_of_each(self, section: str) -> list[dict[str, Any]]:
        """Return a section of INFO of each primary."""
        cluster: Any = super()
        return [cluster.execute_command("INFO", section, target_nodes=node) for node in cluster.get_primaries()]

    def client_list(self, *args: Any, **kwargs: Any) -> Any:
        """List the clients of all primaries, without their replicas."""
        cluster: Any = super()
        return of_clients(cluster.client_list(*args, **kwargs))

    def pubsub_numsub(self, *args: Any, **kwargs: Any) -> Any:
        """Count the subscribers of channels on all primaries."""
        cluster: Any = super()
        counts: Counter[bytes] = Counter()
        for channel, number in cluster.pubsub_numsub(*args, **kwargs):
            counts[channel] += number
        return list(counts.items())

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Send a command; the replies of several nodes become one."""
        cluster: Any = super()
        if OF_ALL.isdisjoint({str(args[0]), " ".join(map(str, args[:2]))}) or "target_nodes" in kwargs:
            return cluster.execute_command(*args, **kwargs)
        replies = [cluster.execute_command(*args, **kwargs, target_nodes=node) for node in cluster.get_primaries()]
        return reduce(joined, replies)


def info_of_each(raw: redis.Redis, section: str) -> list[dict[str, Any]]:
    """Return a section of INFO of each primary."""
    whole: Any = raw
    return whole.info_of_each(section) if isinstance(whole, WholeCluster) else [raw.info(section)]


def info_beside(raw: redis.Redis, key: str, section: str) -> dict[str, Any]:
    """Return a section of INFO of the primary that has a key."""
    whole: Any = raw
    info: dict[str, Any] = whole.info_beside(key, section) if isinstance(whole, WholeCluster) else raw.info(section)
    return info


def of_clients(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out Sentinels, primaries and replicas."""
    return [row for row in rows if not row["name"].startswith("sentinel-") and not {*"SM"}.intersection(row["flags"])]


def joined(one: Any, other: Any) -> Any:
    """Join two replies: add numbers, and join lists and the fields of mappings."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **other, **{name: joined(one[name], other[name]) for name in one.keys() & other.keys()}}
    if isinstance(one, bool) or not isinstance(one, int | float | list):
        return one
    return one + other
