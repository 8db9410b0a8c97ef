"""Connections from a URL, with jobfleet's timeouts and without redis-py's own retries."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobfleet.errors import ConfigError
from jobfleet.store.server.aborting import aborting
from jobfleet.store.server.options import driver
from jobfleet.store.server.target import Target

if TYPE_CHECKING:
    import fakeredis

    from jobfleet.store.server.cluster_url import ClusterSeeds
    from jobfleet.store.server.hosts import Address

OLDEST = (7, 2)
Maker = Callable[[], Any]
ENDLESS = 1 << 31
"""redis-py counts all connections that were ever made, not the open ones, and by default refuses the 101st."""

_memory: dict[str, fakeredis.FakeServer] = {}
_lock = threading.Lock()


def connections(at: Target, *, connect_timeout: float, socket_timeout: float | None) -> Maker:
    """Return a function that makes synchronous connections."""
    if at.fake:
        return cast(Maker, _fake_client(at, redis.Redis).connection_pool.make_connection)
    options: dict[str, Any] = {
        "protocol": 2,
        "max_connections": ENDLESS,
        "retry": Retry(NoBackoff(), 0),
        "socket_connect_timeout": connect_timeout,
        "socket_timeout": socket_timeout,
        **driver(at.url, at.tls),
        **_tcp_only(at),
    }
    if at.sentinels is not None:
        from jobfleet.store.server.sentinel import pool_to  # few fleets need it

        bound = connect_timeout if socket_timeout is None else min(connect_timeout, socket_timeout)
        return cast(Maker, pool_to(at.sentinels, bound=bound, **options).make_connection)
    if (seeds := at.cluster) is not None:

        def made() -> Any:
            node = _any_node(seeds, at.shown)
            return connections(node, connect_timeout=connect_timeout, socket_timeout=socket_timeout)()

        return made
    return redis.ConnectionPool.from_url(at.url, **{**options, **at.tls}).make_connection


def async_connections(at: Target, *, connect_timeout: float) -> Maker:
    """Return a function that makes asyncio connections without a timeout, because the link limits each exchange."""
    if at.fake:
        return cast(Maker, _fake_client(at, redis.asyncio.Redis).connection_pool.make_connection)
    options: dict[str, Any] = {
        "protocol": 2,
        "retry": AsyncRetry(NoBackoff(), 0),
        "socket_connect_timeout": connect_timeout,
        "socket_timeout": None,
        **driver(at.url, at.tls),
        **_tcp_only(at),
    }
    if at.sentinels is not None:
        from jobfleet.store.server.sentinel import async_pool_to  # few fleets need it

        return cast(Maker, aborting(async_pool_to(at.sentinels, bound=connect_timeout, **options)).make_connection)
    if (seeds := at.cluster) is not None:

        def made() -> Any:
            return async_connections(_any_node(seeds, at.shown), connect_timeout=connect_timeout)()

        return made
    pool = aborting(redis.asyncio.ConnectionPool.from_url(at.url, **{**options, **at.tls}))
    return cast(Maker, pool.make_connection)


def node_at(seeds: ClusterSeeds, address: Address, shown: str) -> Target:
    """Return the target of one node of a cluster."""
    return Target(seeds.url_of(address), shown, tls=seeds.options)


def _any_node(seeds: ClusterSeeds, shown: str) -> Target:
    """Return a node of a cluster, another one each time. Each of them has the messages of all channels."""
    return node_at(seeds, random.choice(seeds.primaries or seeds.hosts), shown)


def check_version(info: Mapping[str, str]) -> None:
    """Refuse a server that is too old.

    Raises:
        ConfigError: The server is older than Redis 7.2.
    """
    version = info.get("redis_version", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST:
        raise ConfigError(f"Redis {'.'.join(map(str, numbers))} found; jobfleet needs 7.2 or later.")


def _tcp_only(at: Target) -> dict[str, Any]:
    """Return the options that unix sockets do not support."""
    return {} if at.url.startswith("unix:") else {"socket_keepalive": True}


def _fake_client(at: Target, kind: type) -> Any:
    """Return a fakeredis client; clients with the same URL share one server."""
    try:
        import fakeredis
    except ImportError:
        raise ConfigError("memory:// needs fakeredis; pip install 'jobfleet[testing]'.") from None
    with _lock:
        server = _memory.setdefault(at.url, fakeredis.FakeServer(version=(7,)))
    maker = fakeredis.FakeAsyncRedis if kind is redis.asyncio.Redis else fakeredis.FakeRedis
    return maker(server=server)


async def disconnect(connection: Any) -> None:
    """Close a connection without waiting for the server."""
    if connection is not None:
        await connection.disconnect(nowait=True)
