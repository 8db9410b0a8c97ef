"""The webhook channel against a real server: signed, guarded, bounded."""

from __future__ import annotations

import base64
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from jobfleet.errors import ConfigError
from jobfleet.notify import (
    DeliveryRefused,
    NotDelivered,
    SignatureRefused,
    WebhookNotificationChannel,
    verify_webhook,
)
from tests.support.notices import notice, notification
from tests.support.receiver import Answer, Receiver, dribbles, hangs, says, sends

SECRET = "correct horse battery"
Served = Callable[..., Receiver]


def channel(url: str, **options: Any) -> WebhookNotificationChannel:
    return WebhookNotificationChannel(url, **{"allow_http": True, "allow_private": True, "timeout": 20.0} | options)


def test_a_notification_is_posted_as_json_that_chats_take(receiver_of: Served) -> None:
    server = receiver_of()

    channel(server.url, headers={"Authorization": "Bearer x"}).send(notification(count=412, until_us=notice().at_us))

    (request,) = server.requests
    assert request.line == "POST /hook HTTP/1.1"
    assert request.headers["host"] == f"127.0.0.1:{server.port}"
    assert request.headers["authorization"] == "Bearer x"
    assert request.headers["webhook-id"] == "d1"
    assert "webhook-signature" not in request.headers
    assert request.data["text"] == "412 jobs failed with ConnectionError (mail.send)"
    assert (request.data["event"], request.data["count"]) == ("failed", 412)
    assert request.data["job"]["id"] == "mail.0.a"


def test_the_signature_is_one_that_a_receiver_can_verify(receiver_of: Served) -> None:
    server = receiver_of()
    told = notification()

    for _ in range(2):
        channel(server.url, secret=SECRET).send(told)

    ids = {verify_webhook(SECRET, request.headers, request.body) for request in server.requests}
    assert ids == {"d1"}
    request = server.requests[0]
    with pytest.raises(SignatureRefused, match="wrong"):
        verify_webhook(SECRET, request.headers, request.body + b" ")
    with pytest.raises(SignatureRefused, match="wrong"):
        verify_webhook("another secret of length", request.headers, request.body)
    with pytest.raises(SignatureRefused, match="too far from now"):
        verify_webhook(SECRET, request.headers, request.body, now=0.0)
    with pytest.raises(SignatureRefused, match="no webhook-id"):
        verify_webhook(SECRET, {}, request.body)


def test_a_known_signature_comes_out_as_standard_webhooks_has_it() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    headers = {
        "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "Webhook-Timestamp": "1614265330",
        "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }

    assert verify_webhook(secret, headers, b'{"test": 2432232314}', now=1614265330) == headers["Webhook-Id"]


@pytest.mark.parametrize(
    ("secret", "why"),
    [("brief", "too short"), ("whsec_%%%", "not base64"), ("whsec_" + base64.b64encode(b"x").decode(), "too short")],
)
def test_a_secret_that_protects_nothing_is_refused(secret: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refusal:
        WebhookNotificationChannel("https://example.com/x", secret=secret)
    assert secret not in str(refusal.value)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (says(500, b"<h1>oh\nno</h1>"), r"answered 500: <h1>oh no</h1>\."),
        (says(404), r"answered 404\."),
        (says(302, b"", "Location: http://127.0.0.1:1/"), "answered 302; redirects are not followed"),
        (sends(b"HTTP/1.1 200 OK\r\nX: y"), "broke off within its head"),
        (sends(b""), "broke off within its head"),
        (sends(b"SSH-2.0-dropbear\r\n\r\n"), "is not HTTP"),
        (sends(b"HTTP/1.1 2000 OK\r\n\r\n"), "is not HTTP"),
        (sends(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000), "head does not end"),
    ],
)
def test_whatever_is_no_success_is_tried_again(receiver_of: Served, answer: Answer, why: str) -> None:
    with pytest.raises(NotDelivered, match=why) as failure:
        channel(receiver_of(answer).url).send(notification())
    assert not isinstance(failure.value, DeliveryRefused)


def test_a_redirect_leads_nowhere(receiver_of: Served) -> None:
    elsewhere = receiver_of()
    server = receiver_of(says(307, b"", f"Location: {elsewhere.url}"))

    with pytest.raises(NotDelivered, match="redirects are not followed"):
        channel(server.url).send(notification())

    assert elsewhere.requests == []


def test_a_receiver_that_is_gone_for_good_is_not_asked_again(receiver_of: Served) -> None:
    with pytest.raises(DeliveryRefused, match="answered 410: the hook no longer exists"):
        channel(receiver_of(says(410)).url).send(notification())


@pytest.mark.parametrize(("said", "heard"), [("30", 30.0), ("999999", 3600.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)])
def test_a_receiver_may_ask_for_a_pause(receiver_of: Served, said: str, heard: float) -> None:
    with pytest.raises(NotDelivered) as failure:
        channel(receiver_of(says(429, b"", f"Retry-After: {said}")).url).send(notification())
    assert failure.value.retry_after == heard


@pytest.mark.parametrize(
    "answer",
    [
        says(200, b"ok", length=10_000_000),
        says(200, b"x" * 5_000_000, length=3),
        sends(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n"),
        sends(b"HTTP/1.0 200 OK\n\n"),
        sends(b"HTTP/1.1 204 No Content\r\nContent-Length: -7\r\nTransfer-Encoding: chunked\r\n\r\nzzz"),
    ],
)
def test_what_follows_the_head_of_a_success_is_not_believed_and_not_awaited(
    receiver_of: Served, answer: Answer
) -> None:
    channel(receiver_of(answer).url).send(notification())


@pytest.mark.parametrize(
    "answer",
    [hangs, dribbles(b"H"), dribbles(b"HTTP/1.1 100 Continue\r\n\r\n")],
    ids=["hangs", "dribbles", "goes on and on"],
)
def test_the_whole_exchange_has_a_time_limit(receiver_of: Served, answer: Answer) -> None:
    with pytest.raises(NotDelivered, match=r"(did not answer within|took longer than) 0\.2 s"):
        channel(receiver_of(answer).url, timeout=0.2).send(notification())


def test_a_refusal_whose_body_does_not_end_is_a_refusal(receiver_of: Served) -> None:
    def half(connection: socket.socket, over: threading.Event) -> None:
        connection.sendall(b"HTTP/1.1 503 Busy\r\nContent-Length: 400\r\n\r\nbusy")
        hangs(connection, over)

    with pytest.raises(NotDelivered, match=r"answered 503: busy\."):
        channel(receiver_of(half).url, timeout=1.0).send(notification())


def test_of_a_refusal_a_little_is_read(receiver_of: Served) -> None:
    with pytest.raises(NotDelivered) as failure:
        channel(receiver_of(says(500, b"x" * 5_000_000)).url).send(notification())
    assert len(str(failure.value)) < 300


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    with pytest.raises(NotDelivered, match=r"Cannot post to 127\.0\.0\.1: "):
        channel(f"http://127.0.0.1:{port}/").send(notification())


# ------------------------------------------------------------------------------- what is configured


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://example.com/x", "is not https; allow_http=True"),
        ("ftp://example.com/x", "not https://host/path"),
        ("https:///x", "not https://host/path"),
        ("https://exa mple.com/x", "not https://host/path"),
        ("https://exa%0d%0ample.com/x", "not https://host/path"),
        ("https://ann:pw@example.com/x", "put credentials into headers"),
        ("https://example.com:port/x", "cannot be read"),
        ("https://example.com/s3cret b", "blanks"),
        ("https://example.com/s3cret\r\nX: y", "blanks|not https|answered|cannot"),
    ],
)
def test_a_url_that_cannot_be_posted_to_is_refused_without_being_shown(url: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refusal:
        WebhookNotificationChannel(url)
    assert "s3cret" not in str(refusal.value)
    assert "pw" not in str(refusal.value)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"X": "s3cret\r\nY: z"}, "characters that a header must not have"),
        ({"X: y": "1"}, "characters that a header must not have"),
        ({"Content-Length": "1"}, "The channel sets the header"),
        ({"Webhook-Id": "1"}, "The channel sets the header"),
    ],
)
def test_headers_that_would_break_the_request_are_refused(headers: dict[str, str], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refusal:
        WebhookNotificationChannel("https://example.com/", headers=headers)
    assert "s3cret" not in str(refusal.value)


def test_other_chats_get_what_they_take(receiver_of: Served) -> None:
    server = receiver_of()

    channel(server.url, text_field="content", text_only=True).send(notification())
    channel(server.url, body=lambda told: {"said": told.count}).send(notification())

    assert [request.data for request in server.requests] == [
        {"content": "mail.send failed with ConnectionError: refused by 10.0.0.7"},
        {"said": 1},
    ]


def test_what_a_job_says_mentions_nobody_and_breaks_no_line(receiver_of: Served) -> None:
    server = receiver_of()

    channel(server.url).send(notification(of=notice(error="@channel <!here>\r\nX-Evil: 1\ud800")))

    text = server.requests[0].data["text"]
    assert "\n" not in text
    assert "@channel" not in text
    assert "<!here>" not in text
    assert "x-evil" not in server.requests[0].headers


def test_where_it_leads_is_shown_without_the_path() -> None:
    told = WebhookNotificationChannel("https://hooks.example.com/T0/s3cret", secret=SECRET).describe()

    assert told == "https://hooks.example.com/…, signed"


def test_nothing_of_the_secret_is_logged(receiver_of: Served, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    server = receiver_of(says(500))

    with pytest.raises(NotDelivered) as failure:
        channel(server.url + "/s3cret", secret=SECRET).send(notification())

    assert "s3cret" not in caplog.text + str(failure.value)
    assert SECRET not in caplog.text + str(failure.value)
