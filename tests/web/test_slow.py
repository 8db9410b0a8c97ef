"""Slow clients hold neither a place nor a connection for long."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from jobfleet import Fleet, Job
from jobfleet.store.records import Grant
from jobfleet.web.app import WebApp
from jobfleet.web.live import Hub
from jobfleet.web.server import PARTS_MOST
from tests.cli.hand import Hand
from tests.support.waiting import wait_until
from tests.web.site import Site, served


@pytest.fixture
def hasty(make_fleet: Callable[..., Fleet], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """A dashboard with little patience."""
    monkeypatch.setattr("jobfleet.web.server.HEADERS_WITHIN", 0.1)
    monkeypatch.setattr("jobfleet.web.safety.guard.SEND_WITHIN", 0.2)
    monkeypatch.setattr("jobfleet.web.safety.checks.BODY_WITHIN", 0.1)
    with served(make_fleet()) as site:
        yield site


def connect(site: Site) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", site.port), timeout=20)
    connection.settimeout(20)
    return connection


@pytest.mark.parametrize(
    "sent",
    [b"", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /"],
    ids=["nothing", "half of the headers", "half of the second request"],
)
def test_a_request_has_to_arrive(hasty: Site, sent: bytes) -> None:
    with closing(connect(hasty)) as connection:
        connection.sendall(sent)
        while connection.recv(65_536):
            pass  # until it is closed


def test_a_body_has_to_arrive(hasty: Site) -> None:
    head = b"POST /login HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\nContent-Length: 100\r\n"
    with closing(connect(hasty)) as connection:
        connection.sendall(head + b"Content-Type: application/x-www-form-urlencoded\r\n\r\nname=")
        assert b" 400 " in connection.recv(65_536)


CHUNKED = b"Host: 127.0.0.1\r\nSec-Fetch-Site: same-origin\r\nTransfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("path", "status"), [(b"/login", b" 400 "), (b"/nowhere", b" 404 ")], ids=["it is read", "it is not read"]
)
def test_a_body_in_too_many_parts_ends_the_connection(
    site: Site, caplog: pytest.LogCaptureFixture, path: bytes, status: bytes
) -> None:
    head = b"POST " + path + b" HTTP/1.1\r\n" + CHUNKED + b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    with closing(connect(site)) as connection:
        connection.sendall(head + b"1\r\na\r\n")
        if status == b" 404 ":
            assert status in connection.recv(65_536)
        with contextlib.suppress(ConnectionError):  # the server closes while it is sent
            connection.sendall(b"1\r\na\r\n" * 60_000)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while more := connection.recv(65_536):
                answer += more  # until it is closed
        assert path == b"/nowhere" or status in answer or not answer
    assert [one.getMessage() for one in caplog.records if one.levelno >= logging.ERROR] == []
    with closing(connect(site)) as connection:
        connection.sendall(head + b"1\r\na\r\n" * (PARTS_MOST - 1) + b"0\r\n\r\n")
        assert b"400" not in connection.recv(65_536).split(b"\r\n")[0]


def test_a_page_that_reads_nothing_loses_its_place(hasty: Site, fleet: Fleet, hand: Hand) -> None:
    assert isinstance(hasty.application, WebApp)
    hub: Hub = hasty.application.dashboard.hub
    job_id = fleet.enqueue(Job("x", "demo.add", id="a", metadata={"long": "x" * 16_000}))
    grant = hand.claims(job_id)
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", hasty.port))
        connection.sendall(f"GET /live/jobs/{job_id} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        wait_until(lambda: hub.streams == 1, why="the page is live")
        count = iter(range(1, 1_000_000))
        wait_until(lambda: _changes(hub, hand, grant, next(count)), why="the page has lost its place")
    assert hub._readers == {}


def _changes(hub: Hub, hand: Hand, grant: Grant, number: int) -> bool:
    """Change what the page shows; whether it is not live any more."""
    hand.reports(grant, number / 1_000_000, f"{number} " + "y" * 200)
    hub.expire()
    return bool(hub.streams == 0)
