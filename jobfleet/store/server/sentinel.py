"""Connections to the primary of a Sentinel group: ``sentinel://HOST:26379,HOST:26379/SERVICE?db=0``.

redis-py's pool asks the Sentinels for the primary whenever one of its connections connects. So a client follows a
failover as it follows any lost connection.
"""

from __future__ import annotations

from typing import Any, cast

import redis.asyncio.sentinel
import redis.sentinel
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError
from redis.exceptions import TimeoutError as RedisTimeoutError

from jobfleet.errors import ConfigError
from jobfleet.store.server.hosts import Address
from jobfleet.store.server.sentinel_url import MODEL, PORT, SentinelGroup

_Sentinel: Any = redis.sentinel.Sentinel  # redis-py types none of these
_AsyncSentinel: Any = redis.asyncio.sentinel.Sentinel
_Pool: Any = redis.sentinel.SentinelConnectionPool
_AsyncPool: Any = redis.asyncio.sentinel.SentinelConnectionPool


class Sentinels:
    """Asks the Sentinels of a group, for redis-py's pool.

    It opens a new connection each time, which no other thread or forked process shares, and remembers which Sentinel
    replied.
    """

    def __init__(self, group: SentinelGroup, *, timeout: float) -> None:
        self._hosts = group.hosts
        self._options = {**group.own_options, **_bounds(group, timeout)}

    def discover_master(self, service: str) -> Address:
        """Return the address of the primary.

        Raises:
            redis.ConnectionError: No Sentinel replies, or none knows a primary that is alive.
            ConfigError: A host is not a Sentinel, or all refuse the user or password.
        """
        asked = _Sentinel(list(self._hosts), sentinel_kwargs=self._options)
        try:
            found = cast(Address, asked.discover_master(service))
        except RedisError as error:
            raise _explained(error, service, len(self._hosts)) from None
        finally:
            asked.close()
        self._hosts = _first(self._hosts, asked.sentinels[0])
        return found


class AsyncSentinels:
    """Asks the Sentinels of a group, for redis-py's asyncio pool; see `Sentinels`."""

    def __init__(self, group: SentinelGroup, *, timeout: float) -> None:
        self._hosts = group.hosts
        self._options = {**group.own_options, **_bounds(group, timeout)}

    async def discover_master(self, service: str) -> Address:
        """Return the address of the primary.

        Raises:
            redis.ConnectionError: No Sentinel replies, or none knows a primary that is alive.
            ConfigError: A host is not a Sentinel, or all refuse the user or password.
        """
        asked = _AsyncSentinel(list(self._hosts), sentinel_kwargs=self._options)
        try:
            found = cast(Address, await asked.discover_master(service))
        except RedisError as error:
            raise _explained(error, service, len(self._hosts)) from None
        finally:
            await asked.aclose()
        self._hosts = _first(self._hosts, asked.sentinels[0])
        return found


def pool_to(group: SentinelGroup, *, bound: float, **options: Any) -> Any:
    """Return redis-py's pool of synchronous connections to the primary of a group.

    Args:
        group: The group.
        bound: Time limit in seconds for asking all Sentinels.
        options: Options of redis-py for the connections.
    """
    return _Pool(group.service, Sentinels(group, timeout=bound), **{**options, **group.options})


def async_pool_to(group: SentinelGroup, *, bound: float, **options: Any) -> Any:
    """Return redis-py's pool of asyncio connections to the primary of a group; see `pool_to`."""
    return _AsyncPool(group.service, AsyncSentinels(group, timeout=bound), **{**options, **group.options})


def _explained(error: RedisError, service: str, asked: int) -> Exception:
    """The error in words for users; redis-py's contains the internals of its clients."""
    text = str(error)
    if text.count("AuthenticationError") >= asked:
        return ConfigError(
            "The Sentinels refuse the user or the password. "
            "Set sentinel_password, and sentinel_username if they have users."
        )
    if isinstance(error, RedisConnectionError | RedisTimeoutError):
        return RedisConnectionError(f"no Sentinel replied, or none knows a primary {service!r} that is alive")
    if "unknown command" in text:
        return ConfigError(f"A host of the URL is not a Sentinel. Write the URL as {MODEL}; the usual port is {PORT}.")
    return error


def _bounds(group: SentinelGroup, timeout: float) -> dict[str, float]:
    share = group.share(timeout)
    return {"socket_connect_timeout": share, "socket_timeout": share}


def _first(hosts: tuple[Address, ...], sentinel: Any) -> tuple[Address, ...]:
    """The hosts, with the Sentinel that replied at the beginning."""
    known = sentinel.connection_pool.connection_kwargs
    replied = (known["host"], known["port"])
    return (replied, *(host for host in hosts if host != replied))
