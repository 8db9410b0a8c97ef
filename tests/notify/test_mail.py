"""The mail channel against a real SMTP server."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme

from jobfleet.errors import ConfigError
from jobfleet.notify import DeliveryRefused, EmailNotificationChannel, NotDelivered
from tests.support.mailbox import PASSWORD, USER, ChannelEnd, Mailbox
from tests.support.notices import notice, notification

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
Served = Callable[..., Mailbox]


@pytest.fixture
def served() -> Iterator[Served]:
    boxes: list[Mailbox] = []

    def start(**options: Any) -> Mailbox:
        boxes.append(Mailbox(**options).__enter__())
        return boxes[-1]

    yield start
    for box in boxes:
        box.__exit__()


def tls(authority: trustme.CA, name: str = "localhost") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def channel(port: int, **options: Any) -> EmailNotificationChannel:
    given: dict[str, Any] = {
        "sender": "Jobs <jobs@example.com>",
        "to": ["ann@example.com", "bob@example.com"],
        "timeout": 20.0,
    }
    return EmailNotificationChannel("localhost", port=port, **given | {"timeout": 20.0} | options)


def plain(port: int, **options: Any) -> EmailNotificationChannel:
    return channel(port, security="none", **options)


def test_a_mail_tells_it_as_text_and_as_html(served: Served) -> None:
    box = served()

    plain(box.port).send(notification(of=notice(error="<b>5</b> > 4")))

    (mail,) = box.mails
    assert mail["From"] == "Jobs <jobs@example.com>"
    assert mail["To"] == "ann@example.com, bob@example.com"
    assert mail["Subject"] == "[jobfleet] mail.send failed with ConnectionError: <b>5</b> > 4"
    assert mail["Message-ID"] == "<d1.jf@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"].datetime.year == 2023
    assert box.envelopes[0].rcpt_tos == ["ann@example.com", "bob@example.com"]
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert "Error:          ConnectionError: <b>5</b> > 4" in text.get_content()
    assert "ConnectionError: &lt;b&gt;5&lt;/b&gt; &gt; 4" in html.get_content()
    assert "<b>" not in html.get_content()


def test_the_header_of_a_trial_does_not_pass_for_a_failure(served: Served) -> None:
    box = served()

    plain(box.port).send(notification(of=notice(), is_trial=True))
    plain(box.port).send(notification(of=notice()))

    assert [mail["X-Jobfleet-Event"] for mail in box.mails] == ["trial", "failed"]


def test_a_mail_that_is_sent_again_is_the_same_to_whoever_gets_it(served: Served) -> None:
    box = served()

    for attempt in (1, 2):
        plain(box.port).send(notification(attempt=attempt))

    assert len({mail["Message-ID"] for mail in box.mails}) == 1


def test_nothing_that_a_job_says_makes_a_header(served: Served) -> None:
    box = served()
    evil = "x\r\nBcc: eve@example.com\r\n\r\nbody\x00\x85\u2028 ü " + "y" * 5000

    plain(box.port).send(
        notification(id="a\r\nX: y", namespace="n> m", of=notice(error=evil, function=evil, event="failed"))
    )

    (mail,) = box.mails
    assert "eve@example.com" not in box.envelopes[0].rcpt_tos
    assert mail["Bcc"] is None
    assert mail["X"] is None
    assert mail["Message-ID"] == "<a--X--y.n--m@example.com>"
    assert len(mail["Subject"]) <= 170
    assert "ü" in mail["Subject"] or "Bcc: eve" in mail["Subject"]


def test_starttls_and_a_login(served: Served, authority: trustme.CA, ca_file: str) -> None:
    box = served(context=tls(authority), needs_login=True)

    channel(box.port, ca_file=ca_file, username=USER, password=PASSWORD).send(notification())

    assert box.logins == [USER]
    assert len(box.mails) == 1


def test_tls_from_the_start(served: Served, authority: trustme.CA, ca_file: str) -> None:
    box = served(context=tls(authority), from_the_start=True, needs_login=True)

    channel(box.port, security="tls", ca_file=ca_file, username=USER, password=PASSWORD).send(notification())

    assert box.logins == [USER]
    assert len(box.mails) == 1


@pytest.mark.parametrize("security", ["starttls", "tls"])
@pytest.mark.parametrize("flaw", ["of another name", "that nobody vouches for"])
def test_a_certificate_that_does_not_fit_is_refused_before_a_password_is_said(
    served: Served, authority: trustme.CA, ca_file: str, security: str, flaw: str
) -> None:
    name = "other.example.com" if flaw == "of another name" else "localhost"
    box = served(context=tls(authority, name), from_the_start=security == "tls", needs_login=True)
    trusted = {"ca_file": ca_file} if flaw == "of another name" else {}

    with pytest.raises(NotDelivered, match="its certificate is refused"):
        channel(box.port, security=security, username=USER, password=PASSWORD, **trusted).send(notification())

    assert box.logins == []


def test_a_server_without_starttls_gets_neither_password_nor_mail(served: Served) -> None:
    box = served()

    with pytest.raises(NotDelivered, match="STARTTLS extension not supported"):
        channel(box.port, username=USER, password=PASSWORD).send(notification())

    assert box.mails == []


def test_a_refused_login_is_tried_again_and_shows_no_password(
    served: Served, authority: trustme.CA, ca_file: str
) -> None:
    box = served(context=tls(authority), needs_login=True)

    with pytest.raises(NotDelivered, match=r"refuses the login \(535\)") as failure:
        channel(box.port, ca_file=ca_file, username=USER, password="s3cret").send(notification())

    assert not isinstance(failure.value, DeliveryRefused)
    assert "s3cret" not in str(failure.value)


@pytest.mark.parametrize(
    ("answers", "is_final"),
    [
        ({"to": {"ann@example.com": "550 No such user", "bob@example.com": "550 No"}}, True),
        ({"to": {"ann@example.com": "451 Greylisted", "bob@example.com": "550 No"}}, False),
        ({"data": "554 Looks like spam"}, True),
        ({"data": "452 Disk full"}, False),
    ],
)
def test_what_is_refused_for_good_is_not_tried_again(served: Served, answers: Any, is_final: bool) -> None:
    with pytest.raises(NotDelivered) as failure:
        plain(served(**answers).port).send(notification())
    assert isinstance(failure.value, DeliveryRefused) is is_final


def test_a_recipient_who_is_refused_beside_others_is_named_in_the_log(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    box = served(to={"bob@example.com": "550 No such user"})

    with caplog.at_level(logging.WARNING, "jobfleet.notify"):
        plain(box.port).send(notification())

    assert box.envelopes[0].rcpt_tos == ["ann@example.com"]
    assert "notify.refused_in_part channel=email bob@example.com (550 No such user)" in caplog.text


@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"", b""),
        (b"", b"2"),
        (b"220 hello\r\n", b""),
        (b"220 hello\r\n", b"250-more\r\n"),
        (b"220 hello\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n", b""),
        (b"220 hello\r\n250-x\r\n250 STARTTLS\r\n220 go\r\n", b"\x16"),
    ],
    ids=["silent", "dribbles", "falls silent", "goes on and on", "no handshake", "a slow handshake"],
)
def test_the_whole_exchange_has_a_time_limit(first: bytes, again: bytes) -> None:
    with ChannelEnd(first, again=again) as talker, pytest.raises(NotDelivered, match="localhost"):
        channel(talker.port, timeout=0.3).send(notification())


def test_a_server_that_is_not_open_is_tried_again() -> None:
    with ChannelEnd(b"554 closed today\r\n") as talker, pytest.raises(NotDelivered, match="answered 554 closed today"):
        plain(talker.port).send(notification())


def test_nobody_listens() -> None:
    with ChannelEnd(b"") as talker:
        port = talker.port
        with pytest.raises(NotDelivered):
            plain(port, timeout=0.2).send(notification())
    with pytest.raises(NotDelivered, match="Cannot send mail by localhost"):
        plain(port).send(notification())


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"sender": "nobody"}, "'nobody' is not a mail address"),
        ({"sender": "a@b.c\r\nBcc: eve@example.com"}, "is not a mail address"),
        ({"to": ["ann@example.com\nX: y"]}, "is not a mail address"),
        ({"to": "ann@example.com, bob@example.com"}, "is not a mail address"),
        ({"to": []}, "to is empty"),
        ({"security": "ssl"}, "use starttls, tls, none"),
        ({"port": 70_000}, "port = 70000: use 1 to 65535"),
        ({"username": "ann"}, "both username and password"),
        ({"username": "ann", "password": "s3cret", "security": "none"}, "is not sent without encryption"),
    ],
)
def test_what_would_go_wrong_is_refused_at_once(options: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why) as refusal:
        channel(**{"port": 25} | options)
    assert "s3cret" not in str(refusal.value)


def test_where_it_leads_is_shown_without_the_password() -> None:
    told = channel(587, username="ann", password="s3cret").describe()

    assert told == "ann@example.com, bob@example.com by localhost:587 (starttls)"
