"""What docs/howto/notifications.md says is true: its examples run, its settings are read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobfleet.config import load
from jobfleet.notify import EVENTS, registry
from jobfleet.notify.registry import _OPTIONS, configured
from jobfleet.notify.webhook import sign
from tests.support.notices import notice, notification

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "notifications.md").read_text()
SECRET = "correct horse battery"
ENVIRON = {"TEAM_HOOK": "https://hooks.example.com/x", "TEAM_SECRET": SECRET, "SMTP_PASSWORD": "x"}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def untouched() -> Iterator[registry.JobNotificationManager]:
    """The manager of this process, emptied again afterwards."""
    yield registry.default
    registry.default._channels.clear()
    registry.default._rules.clear()
    del registry.managers[1:]


def test_the_code_runs(untouched: registry.JobNotificationManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEAM_SECRET", SECRET)
    namespace: dict[str, Any] = {"__name__": "example"}
    for block in blocks("python"):
        exec(block, namespace)

    reached = {rule.channel for rule in untouched.addressed(notice(function="billing.charge"))}
    assert reached == {"log", "billing", "pager"}
    untouched.channels["pager"].send(notification())
    assert namespace["seen"] == set()
    headers = {"webhook-id": "d1", "webhook-timestamp": "1", "webhook-signature": "v1,x"}
    assert namespace["receive"](headers, b"{}") == 401
    monkeypatch.setattr("jobfleet.notify.webhook.wall_us", lambda: 1_000_000)
    headers["webhook-signature"] = sign(SECRET.encode(), id="d1", timestamp=1, body=b"{}")
    assert namespace["receive"](headers, b"{}") == 204
    assert namespace["seen"] == {"d1"}


def test_the_settings_are_read(tmp_path: Path) -> None:
    (block,) = blocks("toml")
    (tmp_path / "jobfleet.toml").write_text(block)

    manager = configured(load(environ={}, directory=tmp_path).config.notify, ENVIRON)

    def reached(**of: Any) -> list[tuple[str, float]]:
        return [(rule.channel, rule.window) for rule in manager.addressed(notice(**of))]

    assert reached(function="billing.charge") == [("team", 300.0), ("office", 300.0)]
    assert reached() == [("team", 900.0)]
    assert reached(queue="bulk") == []


def test_every_event_and_every_option_is_told_of() -> None:
    for event in EVENTS:
        assert f"`{event}`" in PAGE
    for kind, options in _OPTIONS.items():
        (row,) = re.findall(rf"^\| `{kind}` \|.*$", PAGE, re.MULTILINE)
        for option in options:
            assert f"`{option}`" in row, f"{kind} has {option}"
