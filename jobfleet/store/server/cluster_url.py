"""The URL of a Redis Cluster: ``cluster://HOST:6379,HOST:6379``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from jobfleet.store.server.hosts import Address, hosts_of, options_of
from jobfleet.store.server.options import Misread, Security, driver

PORT = 6379
MODEL = "cluster://HOST:6379,HOST:6379"


@dataclass(frozen=True, slots=True)
class ClusterSeeds:
    """What is needed to find the nodes of a cluster, and to connect to them.

    Attributes:
        hosts: Addresses of nodes; one that replies is enough.
        is_secure: Whether connections use TLS.
        options: Options of redis-py for connections to any node.
        primaries: The primaries that were found last; the links of a process update them.
    """

    hosts: tuple[Address, ...]
    is_secure: bool
    options: Mapping[str, Any] = field(repr=False)
    primaries: list[Address] = field(default_factory=list, compare=False)

    def url_of(self, address: Address) -> str:
        """The URL of one node, for redis-py."""
        host, port = address
        return f"redis{'s' * self.is_secure}://{f'[{host}]' if ':' in host else host}:{port}/0"


def cluster_seeds(url: str, security: Security) -> ClusterSeeds:
    """Read the URL of a cluster.

    Args:
        url: The URL. An option after its '?' wins over `security`.
        security: The settings of TLS.

    Raises:
        Misread: The URL is not valid.
        ValueError: redis-py cannot read an option after its '?'.
        TypeError: An option after its '?' is not an option of a connection.
    """
    parts = urlsplit(url)
    hosts = hosts_of(parts, port=PORT, model=MODEL)
    is_secure = parts.scheme == "clusters"
    given, kind = options_of(parts, is_secure=is_secure)
    if parts.path.strip("/") not in ("", "0") or given.pop("db", 0) != 0:
        raise Misread(f"a cluster has only the database 0; write the URL as {MODEL}")
    options = {**(security.tls if is_secure else {}), **given}
    kind(**driver(url, options), **options)  # refuses an unknown option
    return ClusterSeeds(hosts, is_secure, options)
