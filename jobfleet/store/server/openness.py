"""Whether anybody can use a server: as the user `default`, without a password."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import redis
from redis.exceptions import AuthenticationError, RedisError

from jobfleet.store.server.options import driver
from jobfleet.store.server.target import Target

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
