"""Where a fleet connects to: a URL, checked and resolved, with the settings that protect the connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, parse_qs, urlsplit

import redis

from jobfleet.config import JobConfig, check_url, mask_url
from jobfleet.config.url import ESCAPE, SECURE, is_misread
from jobfleet.errors import ConfigError
from jobfleet.store.call import BY_FUNCTION, BY_SCRIPT, FOR_FAKE, Spelling
from jobfleet.store.server.options import Misread, Security, driver
from jobfleet.warn import warn

if TYPE_CHECKING:
    from jobfleet.store.server.cluster_url import ClusterSeeds
    from jobfleet.store.server.embedded import EmbeddedServer
    from jobfleet.store.server.sentinel_url import SentinelGroup
    from jobfleet.store.server.watcher import Watcher

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
        from jobfleet.store.server.embedded import EmbeddedServer  # only where a server is started

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
    from jobfleet.store.server.sentinel_url import sentinel_group  # few fleets need it

    return sentinel_group(url, security)


def _seeds(url: str, security: Security) -> ClusterSeeds:
    from jobfleet.store.server.cluster_url import cluster_seeds  # few fleets need it

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
