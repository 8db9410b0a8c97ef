"""From a URL to connections with the house's time-outs and without redis-py's own repetition."""

from __future__ import annotations

import threading
import warnings
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
from jobfleet.config.url import ESCAPE, is_misread
from jobfleet.errors import ConfigError
from jobfleet.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    import fakeredis

OLDEST = (7, 2)
Maker = Callable[[], Any]
_MODEL = "redis://HOST:6379/0"

UNCHECKED = (
    "ssl_cert_reqs=none in {}: the server's certificate is not checked, so anyone on the way can read and change all "
    "that is sent, the password too. Name its authority with ssl_ca_certs=PATH instead."
)
_BOUNDS: dict[str, Any] = {"socket_connect_timeout": 2.0, "socket_timeout": 2.0}
"""Of subscriptions: a server that does not answer is a server that is away."""
ENDLESS = 1 << 31
"""redis-py counts the connections that were ever made, not those there are, and refuses the 101st by itself."""

_memory: dict[str, fakeredis.FakeServer] = {}
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Target:
    """A server to talk to.

    Attributes:
        url: What redis-py connects to; for memory, the name of the fake server.
        shown: The URL as the user gave it, masked.
        fake: Whether it is fakeredis.
        embedded: The server that was started for it, if one was.
    """

    url: str
    shown: str
    fake: bool = False
    embedded: EmbeddedServer | None = None

    def close(self) -> None:
        """End the server that was started for this target, if one was."""
        if self.embedded is not None:
            self.embedded.close()


def target(url: str, *, warns: bool = False) -> Target:
    """Find, or for ``embedded://`` start, what a URL names.

    Args:
        url: The URL.
        warns: Whether to warn when the URL turns off a check that protects the connection.

    Raises:
        ConfigError: The scheme is unknown, this version cannot connect to it, or the rest cannot be read.
    """
    scheme = check_url(url).partition("://")[0].lower()
    if scheme in ("sentinel", "cluster"):
        raise ConfigError(f"{scheme}:// is not supported by this version of jobfleet; use redis, rediss or unix.")
    if scheme == "memory":
        return Target(url, url, fake=True)
    if scheme == "embedded":
        path = url.removeprefix("embedded://")
        server = EmbeddedServer.start(Path(path) if path else None)
        return Target(server.url, url, embedded=server)
    _check_whole(url)
    if warns and parse_qs(urlsplit(url).query).get("ssl_cert_reqs") == ["none"]:
        warnings.warn(UNCHECKED.format(mask_url(url)), UserWarning, stacklevel=4)
    return Target(url, mask_url(url))


def _check_whole(url: str) -> None:
    """Refuse what redis-py cannot read, or reads as something else than was meant. No text of the URL is told."""
    wrong = ""
    try:
        parts = urlsplit(url)
        wrong = ESCAPE if is_misread(parts) else _wrong_place(parts)
        if not wrong:
            redis.ConnectionPool.from_url(url, protocol=2).make_connection()
    except (ValueError, redis.RedisError) as error:
        wrong = wrong or str(error).rstrip(".")
        wrong = wrong if wrong.startswith(_TOLD) else "write it as redis://USER:PASSWORD@HOST:6379/0"
    except TypeError:
        wrong = "an option behind its '?' is none that a connection takes"
    if wrong:
        raise ConfigError(f"Cannot read the URL {mask_url(url)}: {wrong}.")


_TOLD = ("Invalid IPv6 URL", "Invalid value for ")
"""Errors of reading that hold no text of the URL but an option's name."""


def _wrong_place(parts: SplitResult) -> str:
    """What is wrong with host, port or path, if anything."""
    if parts.scheme == "unix":
        return "" if parts.path else "the socket's path is missing, as in unix:///run/redis.sock"
    try:
        _ = parts.port
    except ValueError:
        return f"the port is no number from 0 to 65535, as in {_MODEL}"
    name = parts.path.strip("/")
    return "" if not name or name.isdigit() else f"the database is no number; give one, as in {_MODEL}"


def connections(at: Target, *, connect_timeout: float, socket_timeout: float | None) -> Maker:
    """A maker of synchronous connections."""
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
    """A maker of asyncio connections; they have no time-out of their own, the link bounds each exchange."""
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


def client(at: Target) -> redis.Redis:
    """A plain redis-py client, for subscriptions."""
    if at.fake:
        made: redis.Redis = _fake_client(at, redis.Redis)
        return made
    return redis.Redis.from_url(at.url, protocol=2, retry=Retry(NoBackoff(), 0), **_BOUNDS)


def async_client(at: Target) -> redis.asyncio.Redis:
    """A plain redis-py asyncio client, for subscriptions."""
    if at.fake:
        made: redis.asyncio.Redis = _fake_client(at, redis.asyncio.Redis)
        return made
    return redis.asyncio.Redis.from_url(at.url, protocol=2, retry=AsyncRetry(NoBackoff(), 0), **_BOUNDS)


def check_version(info: Mapping[str, str]) -> None:
    """Refuse a server that is too old.

    Raises:
        ConfigError: It is older than Redis 7.2.
    """
    version = info.get("redis_version", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers and numbers < OLDEST:
        raise ConfigError(f"Redis {'.'.join(map(str, numbers))} found; jobfleet needs 7.2 or later.")


def _tcp_only(at: Target) -> dict[str, Any]:
    """What unix sockets do not know."""
    return {} if at.url.startswith("unix:") else {"socket_keepalive": True}


def _fake_client(at: Target, kind: type) -> Any:
    """A fakeredis client; all that name the same URL share one server."""
    try:
        import fakeredis
    except ImportError:
        raise ConfigError("memory:// needs fakeredis; pip install 'jobfleet[testing]'.") from None
    with _lock:
        server = _memory.setdefault(at.url, fakeredis.FakeServer(version=(7,)))
    maker = fakeredis.FakeAsyncRedis if kind is redis.asyncio.Redis else fakeredis.FakeRedis
    return maker(server=server)
