"""Connections from a URL, with jobfleet's timeouts and without redis-py's own retries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import SplitResult, parse_qs, urlsplit

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from jobfleet.config import check_url, mask_url
from jobfleet.config.url import ESCAPE, LATER, is_misread
from jobfleet.errors import ConfigError
from jobfleet.store.server.embedded import EmbeddedServer
from jobfleet.warn import warn

if TYPE_CHECKING:
    import fakeredis

OLDEST = (7, 2)
Maker = Callable[[], Any]
_MODEL = "redis://HOST:6379/0"

UNCHECKED = (
    "ssl_cert_reqs=none in {}: the server's certificate is not checked, so anyone on the way can read and change all "
    "that is sent, the password too. Name its authority with ssl_ca_certs=PATH instead."
)
ENDLESS = 1 << 31
"""redis-py counts all connections that were ever made, not the open ones, and by default refuses the 101st."""

_memory: dict[str, fakeredis.FakeServer] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Target:
    """A server to connect to.

    Attributes:
        url: The URL for redis-py; for memory, the name of the fake server.
        shown: The user's URL, masked.
        fake: Whether it is fakeredis.
        embedded: The server that was started for this target, or None.
    """

    url: str
    shown: str
    fake: bool = False
    embedded: EmbeddedServer | None = None

    def close(self) -> None:
        """Stop the server that was started for this target, if any."""
        if self.embedded is not None:
            self.embedded.close()


def target(url: str, *, warns: bool = False) -> Target:
    """Resolve a URL to a target; for ``embedded://``, start the server.

    Args:
        url: The URL.
        warns: Whether to warn if the URL disables a check that protects the connection.

    Raises:
        ConfigError: The scheme is unknown or not supported, or the rest of the URL is not valid.
    """
    scheme = check_url(url).partition("://")[0].lower()
    if scheme in LATER:
        raise ConfigError(f"{scheme}:// is not available yet in this version of jobfleet; use redis, rediss or unix.")
    if scheme == "memory":
        return Target(url, url, fake=True)
    if scheme == "embedded":
        path = url.removeprefix("embedded://")
        server = EmbeddedServer.start(Path(path) if path else None)
        return Target(server.url, url, embedded=server)
    _check_whole(url)
    if warns and parse_qs(urlsplit(url).query).get("ssl_cert_reqs") == ["none"]:
        warn(UNCHECKED.format(mask_url(url)))
    return Target(url, mask_url(url))


def _check_whole(url: str) -> None:
    """Refuse a URL that redis-py cannot parse, or would misinterpret. The error contains no text of the URL."""
    wrong = ""
    try:
        parts = urlsplit(url)
        wrong = ESCAPE if is_misread(parts) else _wrong_place(parts)
        if not wrong:
            redis.ConnectionPool.from_url(url, protocol=2).make_connection()
    except (ValueError, redis.RedisError) as error:
        wrong = wrong or str(error).rstrip(".")
        wrong = wrong if wrong.startswith(_HARMLESS) else "write it as redis://USER:PASSWORD@HOST:6379/0"
    except TypeError:
        wrong = "an option after its '?' is not an option of a connection"
    if wrong:
        raise ConfigError(f"Cannot read the URL {mask_url(url)}: {wrong}.")


_HARMLESS = ("Invalid IPv6 URL", "Invalid value for ")
"""Beginnings of parse errors that contain no text of the URL except the name of an option."""


def _wrong_place(parts: SplitResult) -> str:
    """Return the problem of the host, port or path, or an empty text."""
    if parts.scheme == "unix":
        return "" if parts.path else "the socket's path is missing, write it as unix:///run/redis.sock"
    try:
        _ = parts.port
    except ValueError:
        return f"the port is not a number from 0 to 65535, write it as {_MODEL}"
    name = parts.path.strip("/")
    return "" if not name or name.isdigit() else f"the database is not a number, write it as {_MODEL}"


def connections(at: Target, *, connect_timeout: float, socket_timeout: float | None) -> Maker:
    """Return a function that makes synchronous connections."""
    if at.fake:
        return cast(Maker, _fake_client(at, redis.Redis).connection_pool.make_connection)
    return redis.ConnectionPool.from_url(
        at.url,
        protocol=2,
        max_connections=ENDLESS,
        retry=Retry(NoBackoff(), 0),
        socket_connect_timeout=connect_timeout,
        socket_timeout=socket_timeout,
        **_tcp_only(at),
    ).make_connection


def async_connections(at: Target, *, connect_timeout: float) -> Maker:
    """Return a function that makes asyncio connections without a timeout, because the link limits each exchange."""
    if at.fake:
        return cast(Maker, _fake_client(at, redis.asyncio.Redis).connection_pool.make_connection)
    return redis.asyncio.ConnectionPool.from_url(
        at.url,
        protocol=2,
        retry=AsyncRetry(NoBackoff(), 0),
        socket_connect_timeout=connect_timeout,
        socket_timeout=None,
        **_tcp_only(at),
    ).make_connection


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
