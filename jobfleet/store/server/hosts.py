"""The hosts of a URL that names several: ``HOST:PORT,[IPV6]:PORT``."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import SplitResult

import redis
from redis.connection import parse_url

from jobfleet.config.url import ESCAPE, is_misread
from jobfleet.store.server.options import Misread

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
