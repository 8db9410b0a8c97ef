"""Options of connections that are not in their URL: what protects them, and how they name their library."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis

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
