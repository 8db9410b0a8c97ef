"""The URL of a Sentinel group: ``sentinel://HOST:26379,HOST:26379/SERVICE?db=0``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from jobfleet.store.server.hosts import Address, hosts_of, options_of
from jobfleet.store.server.options import Misread, Security, driver

PORT = 26379
MODEL = "sentinel://HOST:26379,HOST:26379/SERVICE"
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
    hosts, service = hosts_of(parts, port=PORT, model=MODEL), parts.path.strip("/")
    if not _SERVICE.fullmatch(service):
        raise Misread(f"the name of the service is missing after the hosts, or not valid; write it as {MODEL}")
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
