"""Connections name redis-py and its version without reading its installation again."""

from __future__ import annotations

from importlib import metadata

import pytest
import redis

from jobfleet.store.call import Command
from jobfleet.store.connect import connections
from jobfleet.store.target import Target, driver, target

INFO: Command = ("CLIENT", "INFO")


def named(at: Target) -> dict[str, str]:
    """What a new connection has told the server about itself."""
    connection = connections(at, connect_timeout=5, socket_timeout=5)()
    connection.connect()
    connection.send_command(*INFO)
    pairs = (pair.partition("=") for pair in connection.read_response().decode().split())
    connection.disconnect()
    return {name: value for name, _, value in pairs if name.startswith("lib-")}


@pytest.mark.skipif(not hasattr(redis, "DriverInfo"), reason="this redis-py reads its version when it is imported")
def test_the_version_is_read_for_none_of_the_connections(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    driver()
    installed, read = metadata.version("redis"), []

    def version(name: str) -> str:
        read.append(name)
        return "0"

    monkeypatch.setattr(metadata, "version", version)

    assert named(target(redis_url)) == {"lib-name": "redis-py", "lib-ver": installed}
    assert read == []


def test_a_url_may_name_another_library(redis_url: str) -> None:
    with pytest.warns(DeprecationWarning, match="lib_name"):
        found = named(target(f"{redis_url}{'&' if '?' in redis_url else '?'}lib_name=shop&lib_version=1.0"))

    assert found == {"lib-name": "shop", "lib-ver": "1.0"}
