"""Where a fleet connects to: a URL of a server, of a Sentinel group or of a cluster, checked and resolved."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

import redis
from redis.connection import parse_url

from jobfleet.config import JobConfig, check_url, mask_url
from jobfleet.config.url import ESCAPE, SECURE, is_misread
from jobfleet.errors import ConfigError, warn
from jobfleet.store.call import BY_FUNCTION, BY_SCRIPT, FOR_FAKE, Command, Spelling

if TYPE_CHECKING:
    from jobfleet.store.embedded import EmbeddedServer


NAMED_BY = {"lib_name", "lib_version", "driver_info"}
"""Options with which a URL names the library itself."""


@dataclass(frozen=True, slots=True)
class Security:
    """What protects connections, and is not in the URL.

    Attributes:
        tls: Options of redis-py for connections with TLS.
        sentinel_username: The user of the Sentinels; None for none.
        sentinel_password: Their password; None for none.
    """

    tls: Mapping[str, Any] = field(default_factory=dict)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)


class Misread(ValueError):
    """A URL is not valid; the message is the remedy, and contains no text of the URL."""


def driver(url: str = "", given: Iterable[str] = ()) -> dict[str, Any]:
    """Return the option of redis-py that names it and its version; empty if the URL has an option for this.

    Without the option, redis-py 7.2 and later read the metadata of their installation again for each connection, which
    takes a millisecond. Earlier releases read it once, and have no such option.

    Args:
        url: The URL of the connections.
        given: The names of further options.
    """
    info = _info()
    return {} if info is None or NAMED_BY & {*parse_qs(urlsplit(url).query), *given} else {"driver_info": info}


@cache
def _info() -> Any:
    made = getattr(redis, "DriverInfo", None)
    return None if made is None else made()


T = TypeVar("T")
_MODEL = "redis://HOST:6379/0"
UNCHECKED = (
    "ssl_cert_reqs=none in {}: the server's certificate is not checked, so anyone on the way can read and change all "
    "that is sent, the password too. Name its authority with ssl_ca_certs=PATH instead."
)
UNNAMED = (
    "The host name in the certificate of {} is not checked, so any holder of a certificate of the same authority can "
    "read and change all that is sent. Remove tls_check_hostname=false (ssl_check_hostname in the URL)."
)


NOTHING = Security()
FUNCTIONS = "functions"
"""The setting `scripts`: the server has loaded the library of functions."""
TLS_FILES = {"ssl_ca_certs": "tls_ca_file", "ssl_certfile": "tls_cert_file", "ssl_keyfile": "tls_key_file"}
_OFF = ("false", "no", "f", "n", "0")
"""Texts that redis-py reads as false."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server to connect to.

    Attributes:
        url: The URL for redis-py; for memory, the name of the fake server.
        shown: The user's URL, masked.
        fake: Whether it is fakeredis.
        embedded: The server that was started for this target, or None.
        tls: Options of redis-py for TLS.
        sentinels: The Sentinel group that knows the primary, or None.
        cluster: The nodes from which the others are found, or None.
        spelling: How calls are written for it.
        watcher: What sees each exchange with the server, for tests and for injected faults; None in production. No
            setting and no URL sets it.
    """

    url: str
    shown: str
    fake: bool = False
    embedded: EmbeddedServer | None = None
    tls: Mapping[str, Any] = field(default_factory=dict)
    sentinels: SentinelGroup | None = None
    cluster: ClusterSeeds | None = None
    spelling: Spelling = BY_SCRIPT
    watcher: Watcher | None = None

    def close(self) -> None:
        """Stop the server that was started for this target, if any."""
        if self.embedded is not None:
            self.embedded.close()


def target_of(config: JobConfig, *, warns: bool = False) -> Target:
    """Resolve the URL of a configuration, with its security settings; see `target`.

    Raises:
        ConfigError: The URL is not valid, or a file of the settings does not exist.
    """
    tls: dict[str, Any] = {}
    for option, setting in TLS_FILES.items():
        path: Path | None = getattr(config, setting)
        if path is not None and not path.is_file():
            raise ConfigError(f"{setting} = {str(path)!r}: there is no such file.")
        if path is not None:
            tls[option] = str(path)
    if config.tls_key_file is not None and config.tls_cert_file is None:
        raise ConfigError("tls_key_file is set without tls_cert_file; set the client's certificate too.")
    if not config.tls_check_hostname:
        tls["ssl_check_hostname"] = False
    at = target(config.url, Security(tls, config.sentinel_username, config.sentinel_password), warns=warns)
    return replace(at, spelling=BY_FUNCTION) if config.scripts == FUNCTIONS and not at.fake else at


def target(url: str, security: Security = NOTHING, *, warns: bool = False) -> Target:
    """Resolve a URL to a target; for ``embedded://``, start the server.

    Args:
        url: The URL.
        security: The settings that protect the connection. An option in the URL wins over them.
        warns: Whether to warn if a check that protects the connection is disabled.

    Raises:
        ConfigError: The scheme is unknown, or the rest of the URL is not valid.
    """
    scheme = check_url(url).partition("://")[0].lower()
    if scheme == "memory":
        return Target(url, url, fake=True, spelling=FOR_FAKE)
    if scheme == "embedded":
        from jobfleet.store.embedded import EmbeddedServer  # only where a server is started

        path = url.removeprefix("embedded://")
        server = EmbeddedServer.start(Path(path) if path else None)
        return Target(server.url, url, embedded=server)
    if security.tls and scheme in SECURE:
        raise ConfigError(
            f"tls_… is set, but {mask_url(url)} does not use TLS; write {SECURE[scheme]}://, or remove the settings."
        )
    tls = security.tls if scheme in SECURE.values() else {}
    group, seeds = None, None
    if scheme in ("sentinel", "sentinels"):
        group = _checked(url, lambda: _group(url, security))
    elif scheme in ("cluster", "clusters"):
        seeds = _checked(url, lambda: _seeds(url, security))
    else:
        _checked(url, lambda: _refuse_misread(url, tls))
    if warns and scheme in SECURE.values():
        _warn_unchecked(url, tls)
    return Target(url, mask_url(url), tls=tls, sentinels=group, cluster=seeds)


def _group(url: str, security: Security) -> SentinelGroup:

    return sentinel_group(url, security)


def _seeds(url: str, security: Security) -> ClusterSeeds:

    return cluster_seeds(url, security)


def _warn_unchecked(url: str, tls: Mapping[str, Any]) -> None:
    """Warn if the certificate of the server, or its host name, is not checked."""
    query = parse_qs(urlsplit(url).query)
    if query.get("ssl_cert_reqs") == ["none"]:
        warn(UNCHECKED.format(mask_url(url)))
        return
    given = query.get("ssl_check_hostname", [str(tls.get("ssl_check_hostname", True))])
    if given[-1].lower() in _OFF:
        warn(UNNAMED.format(mask_url(url)))


def _checked(url: str, read: Callable[[], T]) -> T:
    """Read a URL that redis-py may not be able to parse, or would misinterpret. The error contains no text of the URL.

    Raises:
        ConfigError: The URL is not valid.
    """
    try:
        return read()
    except Misread as error:
        wrong = str(error)
    except (ValueError, redis.RedisError) as error:
        wrong = str(error).rstrip(".")
        wrong = wrong if wrong.startswith(_HARMLESS) else "write it as redis://USER:PASSWORD@HOST:6379/0"
    except TypeError:
        wrong = "an option after its '?' is not an option of a connection"
    raise ConfigError(f"Cannot read the URL {mask_url(url)}: {wrong}.")


def _refuse_misread(url: str, tls: Mapping[str, Any]) -> None:
    parts = urlsplit(url)
    if wrong := ESCAPE if is_misread(parts) else _wrong_place(parts):
        raise Misread(wrong)
    redis.ConnectionPool.from_url(url, protocol=2, **driver(url, tls), **tls).make_connection()


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


Address = tuple[str, int]
_parse: Any = parse_url  # redis-py does not type it
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]/@]+))(?::(?P<port>[0-9]{1,5}))?")


def hosts_of(parts: SplitResult, *, port: int, model: str) -> tuple[Address, ...]:
    """Return the hosts of a URL.

    Args:
        parts: The parts of the URL.
        port: The port of a host without one.
        model: A valid URL, for the error.

    Raises:
        Misread: The URL is not valid.
    """
    if is_misread(parts):
        raise Misread(ESCAPE)
    return tuple(_address(text, port, model) for text in parts.netloc.rpartition("@")[2].split(","))


def options_of(parts: SplitResult, *, is_secure: bool) -> tuple[dict[str, Any], Any]:
    """Return the options of redis-py in a URL, with its user and password, and redis-py's class of connections.

    Raises:
        ValueError: redis-py cannot read an option after its '?'.
    """
    login, at, _ = parts.netloc.rpartition("@")
    options: dict[str, Any] = _parse(f"redis{'s' * is_secure}://{login}{at}host/?{parts.query}")
    kind = options.pop("connection_class", redis.Connection)
    del options["host"]
    return options, kind


def _address(text: str, default: int, model: str) -> Address:
    found = _HOST.fullmatch(text)
    port = int(found["port"] or default) if found else 0
    if found is None or not 0 < port < 65536:
        raise Misread(f"a host is not valid; write the hosts as {model}")
    return found["v6"] or found["name"], port


SENTINEL_PORT = 26379
SENTINEL_MODEL = "sentinel://HOST:26379,HOST:26379/SERVICE"
_SERVICE = re.compile(r"[A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class SentinelGroup:
    """What is needed to find the primary, and to connect to it.

    Attributes:
        hosts: Addresses of the Sentinels.
        service: The name of the primary in their configuration.
        options: Options of redis-py for connections to the primary.
        own_options: Options of redis-py for connections to the Sentinels.
    """

    hosts: tuple[Address, ...]
    service: str
    options: Mapping[str, Any] = field(repr=False)
    own_options: Mapping[str, Any] = field(repr=False)

    def share(self, timeout: float) -> float:
        """The time limit for one Sentinel, so that all can be asked, and the primary be reached, within `timeout`."""
        return timeout / (len(self.hosts) + 1)


def sentinel_group(url: str, security: Security) -> SentinelGroup:
    """Read the URL of a Sentinel group.

    Args:
        url: The URL. Its user and password are those of the primary; an option after its '?' wins over `security`.
        security: The settings of TLS, and the user and password of the Sentinels.

    Raises:
        Misread: The URL is not valid.
        ValueError: redis-py cannot read an option after its '?'.
        TypeError: An option after its '?' is not an option of a connection.
    """
    parts = urlsplit(url)
    hosts, service = hosts_of(parts, port=SENTINEL_PORT, model=SENTINEL_MODEL), parts.path.strip("/")
    if not _SERVICE.fullmatch(service):
        raise Misread(f"the name of the service is missing after the hosts, or not valid; write it as {SENTINEL_MODEL}")
    is_secure = parts.scheme == "sentinels"
    given, kind = options_of(parts, is_secure=is_secure)
    user, password = given.pop("sentinel_username", None), given.pop("sentinel_password", None)
    tls = security.tls if is_secure else {}
    options = {**tls, **given}
    kind(**driver(url, options), **options)  # refuses an unknown option
    own = {name: value for name, value in options.items() if name.startswith("ssl_")}
    own["username"] = security.sentinel_username if user is None else user
    own["password"] = security.sentinel_password if password is None else password
    return SentinelGroup(hosts, service, options | {"ssl": is_secure}, own | {"ssl": is_secure})


CLUSTER_PORT = 6379
CLUSTER_MODEL = "cluster://HOST:6379,HOST:6379"


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
    hosts = hosts_of(parts, port=CLUSTER_PORT, model=CLUSTER_MODEL)
    is_secure = parts.scheme == "clusters"
    given, kind = options_of(parts, is_secure=is_secure)
    if parts.path.strip("/") not in ("", "0") or given.pop("db", 0) != 0:
        raise Misread(f"a cluster has only the database 0; write the URL as {CLUSTER_MODEL}")
    options = {**(security.tls if is_secure else {}), **given}
    kind(**driver(url, options), **options)  # refuses an unknown option
    return ClusterSeeds(hosts, is_secure, options)


class Watcher(Protocol):
    """Sees the exchanges of all stores that a target opens. Any thread may call it."""

    def sending(self, commands: Sequence[Command]) -> Sequence[Command]:
        """Return the commands to send in place of these, one for each; or none, so that nothing is exchanged.

        Raises:
            BaseException: Nothing is to be sent; the caller of the store gets the exception.
        """

    def received(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        """Return what the store gets in place of these replies; a `ConnectionError` is a lost reply.

        Args:
            commands: The commands as the store made them.
            replies: A reply or an exception for each.

        Raises:
            BaseException: The replies do not arrive; the caller of the store gets the exception.
        """
