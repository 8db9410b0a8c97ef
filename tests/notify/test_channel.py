"""What channels and rules refuse when they are made in code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobfleet.errors import ConfigError
from jobfleet.notify import EmailNotificationChannel, NotificationChannel, NotificationRule, WebhookNotificationChannel


def webhook(timeout: Any) -> NotificationChannel:
    return WebhookNotificationChannel("https://hooks.example.com/jobs", timeout=timeout)


def mail(timeout: Any) -> NotificationChannel:
    return EmailNotificationChannel(host="h", sender="a@example.com", to=["b@example.com"], timeout=timeout)


@pytest.mark.parametrize("made", [webhook, mail])
@pytest.mark.parametrize("timeout", [0, -1, "10", True, float("nan"), 3601])
def test_a_time_limit_is_a_time(made: Callable[[Any], NotificationChannel], timeout: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        made(timeout)

    assert str(caught.value) == f"timeout = {timeout!r}: use seconds, more than 0 and at most 3600."


@pytest.mark.parametrize("window", [-1, "5m", True, float("nan"), 86_401])
def test_a_window_is_a_time(window: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        NotificationRule(channel="team", window=window)

    assert str(caught.value) == f"window = {window!r}: use 0 to 86400 seconds."


def test_a_webhooks_url_is_a_text() -> None:
    with pytest.raises(ConfigError, match=r"^The webhook's URL is not a text; use https://host/path\.$"):
        WebhookNotificationChannel(5)  # type: ignore[arg-type]
