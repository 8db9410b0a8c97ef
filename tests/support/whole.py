"""A plain client of a whole cluster: what it asks of a server, it asks of all primaries."""

from __future__ import annotations

from functools import reduce
from typing import Any

import redis

OF_ALL = frozenset(
    {
        "ACL LOG", "ACL SETUSER", "CLIENT KILL", "CLIENT LIST", "CONFIG RESETSTAT", "CONFIG SET", "DBSIZE", "INFO",
        "PUBSUB CHANNELS", "PUBSUB NUMPAT", "PUBSUB NUMSUB",
    }
)  # fmt: skip
"""The commands that redis-py sends to one node, though tests mean the server that the fleet is on."""


class WholeCluster(redis.RedisCluster):
    """A cluster that looks like one server."""

    def execute_command(self, *args: Any, **kwargs: Any) -> Any:
        """Send a command; the replies of several nodes become one."""
        cluster: Any = super()
        if str(args[0]) not in OF_ALL or "target_nodes" in kwargs:
            return cluster.execute_command(*args, **kwargs)
        replies = [cluster.execute_command(*args, **kwargs, target_nodes=node) for node in cluster.get_primaries()]
        return reduce(joined, replies)


def joined(one: Any, other: Any) -> Any:
    """Join two replies: add numbers, and join lists and the fields of mappings."""
    if isinstance(one, dict) and isinstance(other, dict):
        return {**one, **other, **{name: joined(one[name], other[name]) for name in one.keys() & other.keys()}}
    if isinstance(one, bool) or not isinstance(one, int | float | list):
        return one
    return one + other
