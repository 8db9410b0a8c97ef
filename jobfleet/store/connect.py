"""Connections from a URL, also through Sentinels, with jobfleet's timeouts and without redis-py's own retries."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import parse_qs, urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from jobfleet.clock import monotonic
from jobfleet.errors import ConfigError
from jobfleet.store.call import Command
from jobfleet.store.target import SENTINEL_MODEL, SENTINEL_PORT, Address, SentinelGroup, Target, driver

if TYPE_CHECKING:
    import fakeredis

    from jobfleet.store.target import ClusterSeeds


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


ASKED: Command = ("INFO", "server", "replication")


def info_of(reply: bytes) -> dict[str, str]:
    """Parse the text of INFO to a mapping."""
    lines = (line.partition(":") for line in reply.decode().splitlines())
    return {name: value for name, _, value in lines if value}


class Greeting:
    """The information from the greetings of a link's connections.

    Args:
        needs_primary: Whether to refuse a replica.

    Attributes:
        server: The run id of the server that replied last; None before the first reply, or if it is unknown.
    """

    def __init__(self, *, needs_primary: bool) -> None:
        self._needs_primary = needs_primary
        self._is_checked = False
        self.server: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether a new connection needs a greeting."""
        return self._needs_primary or not self._is_checked

    def hear(self, info: Mapping[str, str]) -> bool:
        """Process a greeting; return whether older connections must be closed because they lead to another server.

        Raises:
            ConfigError: The server is too old.
        """
        if not self._is_checked:
            check_version(info)
            self._is_checked = True
        before, self.server = self.server, info.get("run_id")
        return self._needs_primary and before is not None and before != self.server

    def refuses(self, info: Mapping[str, str]) -> ReadOnlyError | None:
        """Return the error for a server that may not be used, so that the call is retried; None if it may be used."""
        if self._needs_primary and info.get("role") == "slave":
            return ReadOnlyError("You can't write against a read only replica.")
        return None


_Pool: Any = redis.sentinel.SentinelConnectionPool  # redis-py types neither
_AsyncPool: Any = redis.asyncio.sentinel.SentinelConnectionPool
Ask = Callable[[Any, str], Any]
"""Makes the pipeline of questions to a Sentinel."""
SPARED = 10.0
"""Seconds for which a Sentinel that did not reply is not asked again, as long as another one replies."""


class Named(NamedTuple):
    """What one Sentinel replied.

    Attributes:
        epoch: The number of the failover that made the primary; the latest one has the highest.
        address: The primary.
    """

    epoch: int
    address: Address


class Inquiry:
    """What the Sentinels of a group have replied; no I/O.

    **The Sentinel that knows the latest failover decides**, because others learn of it up to some seconds later. In
    that time they name the old primary, which calls itself one too after a restart. A run that it granted would have a
    token that is out of order.
    """

    def __init__(self, group: SentinelGroup, *, timeout: float) -> None:
        self._hosts = group.hosts
        self._spared: dict[Address, float] = {}
        share = group.share(timeout)
        self._options: dict[str, Any] = {
            **driver(),
            **group.own_options,
            "socket_connect_timeout": share,
            "socket_timeout": share,
            "decode_responses": True,
        }

    def hosts(self) -> tuple[list[Address], list[Address]]:
        """The Sentinels to ask at first, and those to ask if none of these replies."""
        now = monotonic()
        later = [host for host in self._hosts if self._spared.get(host, 0.0) > now]
        return [host for host in self._hosts if host not in later], later

    def named(self, service: str, host: Address, replies: Sequence[Any]) -> Named | Exception:
        """Read the replies of a Sentinel to `_ask`; only an error if there are none."""
        self._spared.pop(host, None)
        wrong = next((one for one in replies if isinstance(one, RedisError)), None)
        if isinstance(wrong, RedisTimeoutError):
            self._spared[host] = monotonic() + SPARED
        if wrong is not None:
            return wrong
        masters, address = replies
        state = masters.get(service)
        if state is None or address is None:
            return _not_named(service)
        # While replicas are being reconfigured, `masters` still has the old primary, with the new epoch.
        if address == (state["ip"], state["port"]) and (state["is_sdown"] or state["is_odown"]):
            return _not_named(service)
        return Named(state["config-epoch"], address)

    def chosen(self, service: str, found: Iterable[Named | Exception]) -> Address:
        """The primary.

        Raises:
            redis.ConnectionError: No Sentinel replies, or none knows a primary that is alive.
            ConfigError: A host is not a Sentinel, or all refuse the user or password.
        """
        replies = list(found)
        names = [one for one in replies if isinstance(one, Named)]
        if names:
            return max(names).address
        raise _explained([one for one in replies if isinstance(one, Exception)], service)

    def heirs(self, service: str, found: Iterable[Sequence[Any]]) -> int | Exception:
        """How many replicas may take over from the primary: those that no majority of the Sentinels calls down.

        A minority may be cut off together with the primary, so its word does not count.

        Args:
            service: The name of the primary.
            found: The replies of the Sentinels to `_ask_heirs`.

        Returns:
            The number; an error if no Sentinel has replied.
        """
        total, unnamed, down = 0, 0, dict[Address, int]()
        names: list[Named] = []
        errors: list[Exception] = []
        for replies in found:
            wrong = next((one for one in replies[:2] if isinstance(one, Exception)), None)
            group = None if wrong is not None else replies[0].get(service)
            if group is None:
                errors.append(wrong or _not_named(service))
                continue
            total = max(total, group["num-other-sentinels"] + 1)
            names.append(Named(group["config-epoch"], replies[1]))
            if isinstance(replies[2], Exception):  # the user may not ask for them: each of them counts
                unnamed = max(unnamed, group["num-slaves"])
                continue
            for row in replies[2]:
                address = (row["ip"], row["port"])
                down[address] = down.get(address, 0) + row["is_sdown"]
        if not names:
            return _explained(errors, service)
        down.pop(max(names).address, None)
        return max(unnamed, sum(count <= total // 2 for count in down.values()))


class Sentinels(Inquiry):
    """Asks the Sentinels of a group, for redis-py's pool.

    It opens new connections each time, which no other thread or forked process shares.
    """

    def discover_master(self, service: str) -> Address:
        """Return the address of the primary; see `Inquiry.chosen` for the errors."""
        found: list[Named | Exception] = []
        for part in self.hosts():
            if not any(isinstance(one, Named) for one in found):
                found += [self.named(service, host, self._asked(host, service, _ask)) for host in part]
        return self.chosen(service, found)

    def count_heirs(self, service: str) -> int | Exception:
        """Return how many replicas may take over from the primary; an error if no Sentinel replies."""
        return self.heirs(service, [self._asked(host, service, _ask_heirs) for host in self.hosts()[0]])

    def _asked(self, host: Address, service: str, ask: Ask) -> list[Any]:
        client = redis.Redis(host=host[0], port=host[1], retry=Retry(NoBackoff(), 0), **self._options)
        try:
            replies: list[Any] = ask(client, service).execute(raise_on_error=False)
        except RedisError as error:
            replies = [error]
        finally:
            client.close()
        return replies


class AsyncSentinels(Inquiry):
    """Asks the Sentinels of a group at the same time, for redis-py's asyncio pool; see `Sentinels`."""

    async def discover_master(self, service: str) -> Address:
        """Return the address of the primary; see `Inquiry.chosen` for the errors."""
        found: list[Named | Exception] = []
        for part in self.hosts():
            if not any(isinstance(one, Named) for one in found):
                replies = await asyncio.gather(*(self._asked(host, service, _ask) for host in part))
                found += [self.named(service, *pair) for pair in zip(part, replies, strict=True)]
        return self.chosen(service, found)

    async def count_heirs(self, service: str) -> int | Exception:
        """Return how many replicas may take over from the primary; an error if no Sentinel replies."""
        asked = (self._asked(host, service, _ask_heirs) for host in self.hosts()[0])
        return self.heirs(service, await asyncio.gather(*asked))

    async def _asked(self, host: Address, service: str, ask: Ask) -> list[Any]:
        client = redis.asyncio.Redis(host=host[0], port=host[1], retry=AsyncRetry(NoBackoff(), 0), **self._options)
        pool = aborting(client.connection_pool)
        try:
            replies: list[Any] = await ask(client, service).execute(raise_on_error=False)
        except RedisError as error:
            replies = [error]
        finally:  # without waiting for the Sentinel: a cancelled caller would leave the connection open
            for connection in (*pool._available_connections, *pool._in_use_connections):  # noqa: SLF001 - `aclose` waits
                await connection.disconnect(nowait=True)
        return replies


def _ask(client: Any, service: str) -> Any:
    """A pipeline that asks a Sentinel for what it watches, and for the primary."""
    asked = client.pipeline(transaction=False)
    asked.sentinel_masters()
    asked.sentinel_get_master_addr_by_name(service)
    return asked


def _ask_heirs(client: Any, service: str) -> Any:
    """A pipeline that also asks for the replicas of the primary."""
    return _ask(client, service).sentinel_slaves(service)


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


def _not_named(service: str) -> RedisConnectionError:
    return RedisConnectionError(f"no Sentinel replied, or none knows a primary {service!r} that is alive")


def _explained(errors: Sequence[Exception], service: str) -> Exception:
    """The errors in words for users."""
    if all(isinstance(one, AuthenticationError) for one in errors):
        return ConfigError(
            "The Sentinels refuse the user or the password. "
            "Set sentinel_password, and sentinel_username if they have users."
        )
    if any("unknown command" in str(one) for one in errors):
        return ConfigError(
            f"A host of the URL is not a Sentinel. Write the URL as {SENTINEL_MODEL}; "
            f"the usual port is {SENTINEL_PORT}."
        )
    refused = next((one for one in errors if not isinstance(one, RedisConnectionError | RedisTimeoutError)), None)
    return refused or _not_named(service)


class _Aborting:
    __slots__ = ()
    _writer: Any

    async def disconnect(self, *arguments: Any, **options: Any) -> None:
        """Abort the transport, then close as redis-py does."""
        if self._writer is not None:
            self._writer.transport.abort()
        connection: Any = super()
        await connection.disconnect(*arguments, **options)


def aborting(pool: Any) -> Any:
    """Return a pool of asyncio connections; those that it makes from now on discard unsent bytes when they are closed.

    A transport that is only closed waits until the server has read these bytes, or has answered the farewell of TLS.
    """
    pool.connection_class = _aborting(pool.connection_class)
    return pool


@cache
def _aborting(kind: type) -> type:
    return type(kind.__name__, (_Aborting, kind), {})


SECONDS = 2.0
SECRETS = frozenset({"username", "password"})


def default_is_open(at: Target) -> bool | None:
    """Connect without a user and a password; return whether the server replies.

    None if this is not checked, as behind Sentinels and in a cluster, or if the server cannot be reached so.
    """
    parts = urlsplit(at.url)
    if at.fake or at.sentinels is not None or at.cluster is not None or SECRETS & parse_qs(parts.query).keys():
        return None
    url = at.url.replace(f"//{parts.netloc}", f"//{parts.netloc.rpartition('@')[2]}", 1)
    try:
        connection: Any = redis.ConnectionPool.from_url(
            url, protocol=2, socket_connect_timeout=SECONDS, socket_timeout=SECONDS, **driver(url, at.tls), **at.tls
        ).make_connection()
        try:
            connection.connect()
            connection.send_command("PING", check_health=False)
            return bool(connection.read_response() == b"PONG")
        finally:
            connection.disconnect()
    except AuthenticationError:
        return False
    except (RedisError, OSError):
        return None
