"""Which notices reach which channel, what they have in common, and what is said of them."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from jobfleet.errors import ConfigError
from jobfleet.model.signals import normalise
from jobfleet.notify import (
    EVENTS,
    LogNotificationChannel,
    Notice,
    Notification,
    NotificationChannel,
    NotificationRule,
)
from jobfleet.notify.notice import REST, fingerprint
from jobfleet.notify.registry import Channels
from jobfleet.notify.text import as_data, as_html, as_text, headline
from tests.support.notices import AT, notice, notification


class Pager(NotificationChannel):
    """A channel as a user writes one, without a name or a constructor."""

    def __init__(self) -> None:
        self.sent: list[Notification] = []

    def send(self, notification: Notification) -> None:
        self.sent.append(notification)


class PagerNotificationChannel(Pager):
    """The same, named as the others are."""


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({}, True),
        ({"events": ["completed"]}, False),
        ({"events": ["completed", "failed"]}, True),
        ({"queues": ["mail"]}, True),
        ({"queues": ["ma*", "bulk"]}, True),
        ({"queues": ["bulk"]}, False),
        ({"queues": ["!mail"]}, False),
        ({"queues": ["!bulk"]}, True),
        ({"queues": ["*", "!ma*"]}, False),
        ({"functions": ["mail.*"]}, True),
        ({"functions": ["MAIL.*"]}, False),
        ({"tags": ["urgent", "late"]}, True),
        ({"tags": ["late"]}, False),
        ({"tags": ["!urgent"]}, False),
        ({"tags": ["!late"]}, True),
        ({"users": ["ann"]}, True),
        ({"users": ["bob"]}, False),
        ({"errors": ["*Error", "!KeyError"]}, True),
        ({"errors": ["!ConnectionError"]}, False),
        ({"queues": ["mail"], "users": ["bob"]}, False),
    ],
)
def test_a_notice_fits_when_it_fits_every_option(rule: dict[str, Any], fits: bool) -> None:
    assert NotificationRule(channel="ops", **rule).fits(notice()) is fits


def test_a_job_without_tags_fits_no_pattern_of_tags_but_is_not_shut_out() -> None:
    plain = notice(tags=())

    assert not NotificationRule(channel="ops", tags=["*"]).fits(plain)
    assert NotificationRule(channel="ops", tags=["!urgent"]).fits(plain)


def test_of_several_rules_the_first_that_fits_decides_for_its_channel() -> None:
    manager = Channels()
    ops, log = Pager(), LogNotificationChannel()
    manager.add_notification_channel(ops, queues=["bulk"], window=1)
    manager.add_notification_channel(log)
    manager.add_notification_channel(ops, queues=["mail"], window=2)
    manager.add_notification_channel(ops, window=3)

    assert [(rule.channel, rule.window) for rule in manager.addressed(notice())] == [("log", 300.0), ("pager", 2)]
    assert manager.addressed(notice(event="completed")) == []


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"events": ["faild"]}, "Unknown event 'faild'; did you mean 'failed'"),
        ({"events": ["dead-lettered"]}, "a failed job is a dead letter: use 'failed'"),
        ({"events": ["xyzzy"]}, "use failed, retried"),
        ({"events": []}, "events is empty"),
        ({"events": "failed"}, "use a list of texts"),
        ({"queues": "mail"}, "queues = 'mail': use a list"),
        ({"users": [7]}, "users"),
        ({"window": -1}, "window = -1"),
        ({"window": 1e9}, "window"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rule: dict[str, Any], why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        NotificationRule(channel="ops", **rule)


def test_by_default_a_channel_hears_of_failures_and_retries() -> None:
    manager = Channels()
    manager.add_notification_channel(PagerNotificationChannel())

    assert [event for event in EVENTS if manager.addressed(notice(event=event))] == ["failed", "retried"]
    assert list(manager.channels) == ["pager"]


def test_channels_that_cannot_be_told_apart_are_refused() -> None:
    manager = Channels()
    manager.add_notification_channel(LogNotificationChannel())

    with pytest.raises(ConfigError, match="There is a channel 'log' already; use another name="):
        manager.add_notification_channel(LogNotificationChannel())
    with pytest.raises(ConfigError, match="use letters"):
        manager.add_notification_channel(LogNotificationChannel(name="my log"))
    with pytest.raises(ConfigError, match="is not a NotificationChannel"):
        manager.add_notification_channel("log")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="Unknown channel 'lag'; did you mean 'log'"):
        manager.add_rule(NotificationRule(channel="lag"))
    assert (list(manager.channels), len(manager.rules)) == (["log"], 1)


# ------------------------------------------------------------------------------------- fingerprints


@pytest.mark.parametrize(
    ("message", "normal"),
    [
        ("refused by 10.0.0.7:5432 after 3.5 s", "refused by <n> after <n> s"),
        ("no row 0192f0c1-7d1e-7c3a-9d2b-1f2e3d4c5b6a", "no row <id>"),
        ("<Foo object at 0x7f3a9c>", "<Foo object at <address>>"),
        ("key deadbeef01 of ann@example.com", "key <id> of <mail>"),
        ("  two \t words \nand a second line", "two words"),
        ("'price'", "'price'"),
        ("", ""),
        ("x" * 5000, "x" * 200),
    ],
)
def test_what_differs_from_case_to_case_is_no_part_of_a_message(message: str, normal: str) -> None:
    assert normalise(message) == normal


def test_notices_of_one_kind_share_a_fingerprint() -> None:
    one = fingerprint(notice(error="row 7"))

    assert one == fingerprint(notice(error="row 8", job_id="mail.0.b", user="bob", attempt=1))
    others = [{"error": "column 7"}, {"error_class": "KeyError"}, {"function": "x"}, {"event": "retried"}]
    assert len({one, *(fingerprint(notice(**{"error": "row 7"} | other)) for other in others)}) == 5


# --------------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (notification(), "mail.send failed with ConnectionError: refused by 10.0.0.7"),
        (
            notification(count=412, until_us=AT + 300_000_000),
            "412 jobs failed with ConnectionError in 5 min (mail.send)",
        ),
        (
            notification(count=3, of=notice(event="retried")),
            "3 jobs failed with ConnectionError and were retried (mail.send)",
        ),
        (
            notification(of=notice(event="retried")),
            "mail.send failed with ConnectionError: refused by 10.0.0.7; it runs again",
        ),
        (notification(of=notice(event="completed", error_class="", error="")), "mail.send completed"),
        (notification(of=notice(event="cancelled", error_class="", error="by bob")), "mail.send cancelled: by bob"),
        (
            notification(of=notice(event="missed", job_id="nightly", error_class="", error="")),
            "recurring job nightly missed a fire",
        ),
        (
            notification(count=2, of=notice(event="missed", job_id="nightly", error_class="", error="")),
            "2 fires of nightly missed",
        ),
        (
            notification(
                of=notice(event="breaker", job_id="function:mail.send", error_class="", error="4 of 4 failed")
            ),
            "circuit breaker function:mail.send opened: 4 of 4 failed",
        ),
        (
            notification(count=5, until_us=AT + 12_000_000, of=notice(event="breaker", error_class="", error="x")),
            "5 openings of circuit breakers in 12 s (mail.send)",
        ),
        (notification(count=7, fingerprint=REST, until_us=AT + 60_000_000), "7 more events of several kinds in 1 min"),
        (notification(is_trial=True), "This is a trial of the channel ops"),
    ],
)
def test_a_notification_in_one_line(told: Notification, said: str) -> None:
    assert headline(told) == said


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_can_be_told_of_one_and_of_many(event: str) -> None:
    for count in (1, 2):
        told = notification(count=count, of=notice(event=event))
        assert headline(told)
        assert as_text(told).startswith(headline(told))
        assert as_data(told)["event"] == event
        assert as_html(told).startswith("<!DOCTYPE html>")


def test_what_is_known_survives_the_way_through_redis() -> None:
    one = notice(error="ü\n" * 5000, retry_at_us=AT, correlation_id="c")

    assert Notice.load(one.dump()) == notice(error=("ü\n" * 5000)[:2000], retry_at_us=AT, correlation_id="c")
    assert Notice.load(notice(tags=()).dump()) == notice(tags=())
    with pytest.raises(ValueError, match="not a notice"):
        Notice.load(b"\x80")


def test_the_log_gets_one_line_whatever_a_job_says(caplog: pytest.LogCaptureFixture) -> None:
    channel = LogNotificationChannel()

    with caplog.at_level(logging.INFO, "jobfleet.notify"):
        channel.send(notification(of=notice(error="a\nERROR forged")))
        channel.send(notification(of=notice(event="retried")))
        channel.send(notification(of=notice(event="completed")))

    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING", "INFO"]
    assert caplog.records[0].getMessage() == (
        "notify.failed count=1 job_id=mail.0.a mail.send failed with ConnectionError: a ERROR forged"
    )
    assert caplog.records[0].notification["job"]["id"] == "mail.0.a"  # type: ignore[attr-defined]
