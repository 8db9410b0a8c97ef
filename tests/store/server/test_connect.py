"""URLs that cannot be meant, and servers that refuse the greeting of a connection: told in a line, never raw."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from jobfleet import Fleet
from jobfleet.errors import ConfigError, StoreUnavailable
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.control import resume
from jobfleet.store.keys import Keyspace
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.support.server import RedisServer

LANE = Keyspace("test").lane("mail", 0)
NO_DATABASE = "Redis refuses: DB index is out of range. Check the database's number in --url / JOBFLEET_URL."


@pytest.fixture(scope="module")
def stranger() -> Iterator[str]:
    """A server that answers everybody in HTTP."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        is_open = True

        def answer() -> None:
            while is_open:
                connection, _ = listening.accept()
                with connection:
                    if connection.recv(4096):
                        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                        connection.recv(4096)  # until the caller hangs up

        thread = threading.Thread(target=answer)
        thread.start()
        port = listening.getsockname()[1]
        yield f"redis://127.0.0.1:{port}/0"
        is_open = False
        socket.create_connection(("127.0.0.1", port)).close()
        thread.join()


NO_PORT = "the port is not a number from 0 to 65535, write it as redis://HOST:6379/0"
NO_NUMBER = "the database is not a number, write it as redis://HOST:6379/0"
ENDED_EARLY = "write '/', '?', '#' and '@' in a user or a password as %2F, %3F, %23 and %40"


@pytest.mark.parametrize(
    ("url", "shown", "wrong"),
    [
        ("redis://u:pw@h:abc", "redis://u:***@h:***", NO_PORT),
        ("redis://h:99999", "redis://h:99999", NO_PORT),
        ("redis://[::1", "redis://***", "Invalid IPv6 URL"),
        ("redis://h:6379/abc", "redis://h:6379/***", NO_NUMBER),
        ("redis://h:6379/-1", "redis://h:6379/***", NO_NUMBER),
        ("redis://h?db=abc", "redis://h?db=abc", "Invalid value for 'db' in connection URL"),
        ("rediss://h/0?colour=red", "rediss://h/0?***", "an option after its '?' is not an option of a connection"),
        ("unix://", "unix://", "the socket's path is missing, write it as unix:///run/redis.sock"),
        ("redis://u:12/34@h:6379/0", "redis://u:***@h:6379/0", ENDED_EARLY),
        (
            "rediss://h?ssl_cert_reqs=NONE",
            "rediss://h?ssl_cert_reqs=NONE",
            "write it as redis://USER:PASSWORD@HOST:6379/0",
        ),
        ("redis://u:12#34@h", "redis://***", ENDED_EARLY),
        ("redis://u:12?34@h", "redis://***", ENDED_EARLY),
    ],
)
def test_a_url_that_cannot_be_read_is_told_with_what_is_wrong(url: str, shown: str, wrong: str) -> None:
    with pytest.raises(ConfigError) as caught:
        target(url)

    assert str(caught.value) == f"Cannot read the URL {shown}: {wrong}."


def test_a_url_without_the_check_of_certificates_is_warned_of() -> None:
    url = "rediss://u:pw@h:6379/0?ssl_cert_reqs=none"

    with pytest.warns(
        UserWarning, match=r"^ssl_cert_reqs=none in rediss://u:\*\*\*@h:6379/0\?ssl_cert_reqs="
    ) as caught:
        target(url, warns=True)

    assert len(caught) == 1
    assert "ssl_ca_certs=PATH" in str(caught[0].message)


def test_a_fleet_refuses_a_url_that_cannot_be_read_on_first_use() -> None:
    with (
        Fleet("redis://h:abc") as fleet,
        pytest.raises(ConfigError, match=r"^Cannot read the URL redis://h:\*\*\*: the port"),
    ):
        fleet.queues()


@pytest.mark.parametrize("url", ["redis://h", "redis://h/", "redis://h:1/15", "rediss://u:p@h?ssl_cert_reqs=none"])
def test_a_url_that_can_be_read_is_taken(url: str) -> None:
    assert target(url).url == url


@pytest.mark.not_on("cluster", reason="a cluster has only the database 0")
def test_a_database_that_is_not_there_is_told_at_once(redis_url: str) -> None:
    store = Store(target(redis_url + "&?"["?" not in redis_url] + "db=999"), patience=None)

    with pytest.raises(ConfigError) as caught:
        store.run(resume(LANE))

    assert str(caught.value) == NO_DATABASE


@pytest.mark.not_on("cluster", reason="a cluster has only the database 0")
async def test_a_database_that_is_not_there_is_told_to_an_awaiting_caller(redis_url: str) -> None:
    store = AsyncStore(target(redis_url + "&?"["?" not in redis_url] + "db=999"), patience=None)

    with pytest.raises(ConfigError) as caught:
        await store.run(resume(LANE))

    assert str(caught.value) == NO_DATABASE


def test_a_server_that_is_no_redis_is_told_as_one(stranger: str) -> None:
    store = Store(target(stranger), patience=0)

    with pytest.raises(StoreUnavailable, match=r"^No Redis at .* \(the server there is not Redis\)\. Start "):
        store.run(resume(LANE))


async def test_a_server_that_is_no_redis_is_told_to_an_awaiting_caller(stranger: str) -> None:
    store = AsyncStore(target(stranger), patience=0)

    with pytest.raises(StoreUnavailable, match=r"\(the server there is not Redis\)"):
        await store.run(resume(LANE))


def test_a_replica_is_told_as_one() -> None:
    with RedisServer(tcp=True) as server:
        server.client().replicaof("127.0.0.1", "1")
        store = Store(target(server.url), patience=0)

        with pytest.raises(StoreUnavailable) as caught:
            store.run(resume(LANE))
        store.close()

    assert str(caught.value) == (
        f"Redis at {server.url} refuses: it is a read-only replica, not the primary (READONLY). "
        "Set --url / JOBFLEET_URL to the primary."
    )
