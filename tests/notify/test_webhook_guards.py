"""The guards of the webhook channel: which addresses are connected to, and whose certificates are taken."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import pytest
import trustme

from jobfleet.notify import NotDelivered, WebhookNotificationChannel
from jobfleet.notify.webhook import is_public
from tests.support.notices import notification
from tests.support.receiver import Receiver

Served = Callable[..., Receiver]


def channel(url: str, **options: Any) -> WebhookNotificationChannel:
    return WebhookNotificationChannel(url, **{"allow_http": True, "allow_private": True, "timeout": 20.0} | options)


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False), ("127.9.9.9", False),
        ("10.0.0.1", False), ("172.16.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False),
        ("100.64.0.1", False), ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False),
        ("240.0.0.1", False), ("192.0.2.1", False), ("::1", False), ("::", False), ("fe80::1%eth0", False),
        ("fc00::1", False), ("ff02::1", False), ("::ffff:127.0.0.1", False), ("::ffff:93.184.216.34", True),
        ("::127.0.0.1", False), ("2002:7f00:1::", False), ("64:ff9b::7f00:1", False), ("64:ff9b::5db8:d822", True),
        ("2001:db8::1", False), ("64:ff9b:1::7f00:1", False), ("fec0::1", False), ("feff::1", False),
        ("3fff::1", False), ("3fff:fff::1", False), ("192.88.99.1", False), ("::ffff:192.88.99.1", False),
        ("168.63.129.16", False), ("::ffff:168.63.129.16", False), ("168.63.129.17", True),
        ("100.100.100.200", False), ("192.0.0.192", False), ("fd00:ec2::254", False),  # metadata of other clouds
        ("3ffe::1", True), ("192.88.98.1", True),
    ],
)  # fmt: skip
def test_addresses_that_lead_inside_are_known(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::1]", "[::ffff:127.0.0.1]"])
def test_a_host_inside_is_refused_before_anything_is_sent(receiver_of: Served, host: str) -> None:
    server = receiver_of()

    with pytest.raises(NotDelivered, match=r"is not public|Cannot resolve"):
        channel(f"http://{host}:{server.port}/", allow_private=False).send(notification())

    assert server.requests == []


def test_the_address_that_was_checked_is_the_one_connected_to(receiver_of: Served) -> None:
    server, asked = receiver_of(), []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["93.184.216.34"] if len(asked) > 1 else ["127.0.0.1"]

    with pytest.raises(NotDelivered, match=r"hooks\.example\.com leads to 127\.0\.0\.1, which is not public"):
        channel(f"http://hooks.example.com:{server.port}/", allow_private=False, resolver=rebinding).send(
            notification()
        )
    assert server.requests == []

    def flipping(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"] if len(asked) == 1 else ["192.0.2.1"]

    asked.clear()
    channel(f"http://hooks.example.com:{server.port}/", resolver=flipping).send(notification())
    assert asked == ["hooks.example.com"]
    assert server.requests[0].headers["host"] == f"hooks.example.com:{server.port}"


def test_of_several_addresses_only_those_that_may_be_connected_to_are(
    receiver_of: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = receiver_of()
    monkeypatch.setattr("jobfleet.notify.webhook.is_public", lambda address: address == "127.0.0.1")
    both = {"resolver": lambda host, port: ["127.0.0.2", "127.0.0.1"], "allow_private": False}

    channel(f"http://hooks.example.com:{server.port}/", **both).send(notification())

    assert len(server.requests) == 1


def test_the_next_address_is_tried_where_one_refuses(receiver_of: Served) -> None:
    server = receiver_of()

    channel(f"http://x.example:{server.port}/", resolver=lambda host, port: ["127.0.0.9", "127.0.0.1"]).send(
        notification()
    )

    assert len(server.requests) == 1


def test_resolving_has_a_time_limit() -> None:
    over = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        over.wait()
        return []

    try:
        with pytest.raises(NotDelivered, match=r"Resolving x\.example took longer than 0\.2 s"):
            channel("http://x.example/", resolver=slow, timeout=0.2).send(notification())
    finally:
        over.set()


def test_a_host_that_is_not_known_is_tried_again() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(NotDelivered, match=r"Cannot resolve x\.example"):
        channel("http://x.example/", resolver=unknown).send(notification())


# ---------------------------------------------------------------------------------------------- TLS


def tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def here(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


def test_tls_verifies_the_name_though_an_address_is_connected_to(
    receiver_of: Served, authority: trustme.CA, ca_file: str
) -> None:
    server = receiver_of(context=tls(authority, "hooks.example.com"))

    channel(f"https://hooks.example.com:{server.port}/x?y=1", ca_file=ca_file, resolver=here).send(notification())

    assert server.requests[0].line == "POST /x?y=1 HTTP/1.1"


def test_a_certificate_of_another_name_is_refused(receiver_of: Served, authority: trustme.CA, ca_file: str) -> None:
    server = receiver_of(context=tls(authority, "other.example.com"))

    with pytest.raises(NotDelivered, match="its certificate is refused"):
        channel(f"https://hooks.example.com:{server.port}/", ca_file=ca_file, resolver=here).send(notification())

    assert server.requests == []


def test_a_certificate_that_nobody_vouches_for_is_refused(receiver_of: Served, authority: trustme.CA) -> None:
    server = receiver_of(context=tls(authority, "hooks.example.com"))

    with pytest.raises(NotDelivered, match="its certificate is refused"):
        channel(f"https://hooks.example.com:{server.port}/", resolver=here).send(notification())

    assert server.requests == []
