"""A primary with one replica, which a proxy can cut off."""

from __future__ import annotations

from typing import Any, Self

import redis

from tests.support.proxy import Proxy
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


def confirms(primary: redis.Redis, count: int) -> bool:
    """Whether so many replicas of a primary have all that was written to it so far, by whatever connection."""
    with primary.pipeline(transaction=False) as commands:  # one connection
        commands.set("probe", 1)
        commands.wait(count, 1000)
        return bool(commands.execute()[1] >= count)


class ReplicatedServer:
    """A primary and its replica.

    Args:
        arguments: Further arguments of both servers.

    Attributes:
        primary: The primary.
        replica: The replica, which reaches the primary through `link`.
        link: The way of the replica to the primary.
        url: The URL of the primary.
    """

    def __init__(self, *arguments: str) -> None:
        arguments = ("--repl-diskless-sync-delay", "0", *arguments)
        self.primary = RedisServer(*arguments, tcp=True)
        self.link = Proxy(self.primary)
        way = ("--replicaof", "127.0.0.1", str(self.link.port))
        self.replica = RedisServer(*arguments, *way, tcp=True)
        self.url = self.primary.url
        self.raw: redis.Redis = self.primary.client()
        self.await_replicas(1)
        wait_until(self.confirms, why="the replica confirms writes")

    def confirms(self) -> bool:
        """Whether the replica has all that was written so far. WAIT asks only about writes of its own connection."""
        return confirms(self.raw, 1)

    def await_replicas(self, count: int) -> None:
        """Wait until the primary has this number of replicas in step."""
        wait_until(lambda: self._online() == count, why=f"{count} replicas are in step")

    def _online(self) -> int:
        info: Any = self.raw.info("replication")
        return sum(info.get(f"slave{number}", {}).get("state") == "online" for number in range(2))

    def promote(self) -> redis.Redis:
        """Kill the primary, make the replica the primary, and return a client of it."""
        self.primary.kill()
        client = self.replica.client()
        client.replicaof("NO", "ONE")
        return client

    def calls(self, command: str) -> int:
        """How often the primary has executed a command."""
        stats: Any = self.raw.info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {}).get("calls", 0))

    def stop(self) -> None:
        """End both, and remove their files."""
        self.replica.stop()
        self.link.close()
        self.primary.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
