"""The servers of one step: one server, or the primaries of a cluster. Their figures are added up."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import redis

from bench.setting import Server
from tests.support.cluster import ClusterServers


class Servers:
    """What the servers count.

    Args:
        url: Where workers connect.
        clients: A plain client of each server.
    """

    def __init__(self, url: str, clients: Sequence[redis.Redis]) -> None:
        self.url = url
        self._clients = clients

    def cpu(self) -> list[float]:
        """Seconds of CPU that each server has used."""
        return [float(one["used_cpu_user"]) + float(one["used_cpu_sys"]) for one in self._info("cpu")]

    def memory(self) -> int:
        """Bytes in use."""
        return sum(int(one["used_memory"]) for one in self._info("memory"))

    def connections(self) -> int:
        """How many clients are connected."""
        return sum(int(one["connected_clients"]) for one in self._info("clients"))

    def commands(self) -> Counter[str]:
        """Number of calls of each command; scripts' own calls included."""
        found: Counter[str] = Counter()
        for stats in self._info("commandstats"):
            for name, one in stats.items():
                found[name.removeprefix("cmdstat_")] += int(one["calls"])
        return found

    def _info(self, section: str) -> list[dict[str, Any]]:
        return [client.info(section) for client in self._clients]


@contextlib.contextmanager
def servers(nodes: int) -> Iterator[Servers]:
    """One server, or a cluster of so many primaries; nothing is persisted."""
    if nodes == 0:
        with tempfile.TemporaryDirectory(prefix="jobfleet-bench-", ignore_cleanup_errors=True) as folder:
            server = Server(Path(folder), socket=False)
            try:
                yield Servers(server.url, [server.raw])
            finally:
                server.stop()
        return
    with ClusterServers(primaries=nodes, replicas=0) as cluster:
        yield Servers(cluster.url, [node.client() for node in cluster.nodes])
