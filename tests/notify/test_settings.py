"""Channels and rules of jobfleet.toml: what is read, what is refused, and that no secret shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from jobfleet.config import SETTINGS, JobConfig, load
from jobfleet.errors import ConfigError
from jobfleet.notify import (
    AppriseNotificationChannel,
    EmailNotificationChannel,
    LogNotificationChannel,
    NotDelivered,
    WebhookNotificationChannel,
)
from jobfleet.notify.registry import configured
from tests.support.notices import notification
from tests.support.receiver import Receiver, says

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # apprise's own, where it is loaded
FILE = """
[notify.channels.team]
type = "webhook"
url = { env = "TEAM_HOOK" }
secret = { env = "TEAM_SECRET" }
headers = { Authorization = { env = "TEAM_TOKEN" }, X-Team = "ops" }
timeout = "5s"
give_up_after = "2h"
most = 5

[notify.channels.office]
type = "email"
host = "smtp.example.com"
sender = "jobs@example.com"
to = ["ann@example.com"]
username = "jobs"
password = { env = "SMTP_PASSWORD" }

[notify.channels.journal]
type = "log"

[notify.channels.phone]
type = "apprise"
urls = ["json://s3cret@localhost"]

[[notify.rules]]
channels = ["team", "office"]
events = ["failed", "missed"]
queues = ["mail*"]
window = "10m"

[[notify.rules]]
channels = "journal"
events = ["completed"]
window = 0
"""
ENVIRON = {
    "TEAM_HOOK": "https://hooks.example.com/T0/s3cret", "TEAM_SECRET": "s3cret-s3cret-s3cret", "TEAM_TOKEN": "s3cret",
    "SMTP_PASSWORD": "s3cret",
}  # fmt: skip


def read(text: str, folder: Path) -> JobConfig:
    (folder / "jobfleet.toml").write_text(text)
    return load(environ={}, directory=folder).config


def test_a_file_makes_channels_and_rules(tmp_path: Path) -> None:
    manager = configured(read(FILE, tmp_path).notify, ENVIRON)

    kinds = {name: type(channel) for name, channel in manager.channels.items()}
    assert kinds == {
        "team": WebhookNotificationChannel,
        "office": EmailNotificationChannel,
        "journal": LogNotificationChannel,
        "phone": AppriseNotificationChannel,
    }
    team = manager.channels["team"]
    assert (team.give_up_after, team.most, team.describe()) == (7200.0, 5, "https://hooks.example.com/…, signed")
    assert [(rule.channel, rule.events, rule.queues, rule.window) for rule in manager.rules] == [
        ("team", ("failed", "missed"), ("mail*",), 600.0),
        ("office", ("failed", "missed"), ("mail*",), 600.0),
        ("journal", ("completed",), (), 0.0),
    ]


def test_without_rules_each_channel_has_the_default_one() -> None:
    table = {"channels": {"a": {"type": "log"}, "b": {"type": "log"}}}

    assert [(rule.channel, rule.events) for rule in configured(table, {}).rules] == [
        ("a", ("failed", "retried")),
        ("b", ("failed", "retried")),
    ]


def test_json_in_a_variable_does_as_well(tmp_path: Path) -> None:
    loaded = load(environ={"JOBFLEET_NOTIFY": '{"channels": {"a": {"type": "log"}}}'}, directory=tmp_path)

    assert loaded.sources["notify"] == "JOBFLEET_NOTIFY"
    assert list(configured(loaded.config.notify, {}).channels) == ["a"]


def test_the_settings_cross_a_pipe_and_come_out_the_same(tmp_path: Path) -> None:
    config = read(FILE, tmp_path)

    assert JobConfig(**config.plain()) == config  # type: ignore[arg-type]
    assert hash(JobConfig(**config.plain())) == hash(config)  # type: ignore[arg-type]


def test_no_secret_is_shown(tmp_path: Path) -> None:
    literal = FILE.replace('{ env = "TEAM_HOOK" }', '"https://hooks.example.com/T0/s3cret"')
    config = read(literal, tmp_path)
    (row,) = (row for row in SETTINGS if row.name == "notify")

    shown = row.show(config.notify)

    assert "s3cret" not in shown + repr(config)
    assert '"secret": {"env": "TEAM_SECRET"}' in shown
    assert '"host": "smtp.example.com"' in shown


CHANNEL = {"type": "webhook", "url": "https://example.com/s3cret"}


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ({"channel": {}}, "channel is unknown; did you mean channels"),
        ({"channels": []}, r"write channels as tables: \[notify.channels.NAME\]"),
        ({"rules": {}}, r"write rules as a list of tables"),
        (
            {"channels": {"a": {**CHANNEL, "secret": "s3cret"}}},
            r'channels.a.secret must not be in a file; .* env = "NAME"',
        ),
        ({"channels": {"a": {**CHANNEL, "secret": {"env": "not a name"}}}}, "does not name a usable variable"),
        ({"channels": {"a": {**CHANNEL, "url": {"env": "JOBFLEET_HOOK"}}}}, "does not begin with JOBFLEET_"),
        ("{s3cret", "use a table of a TOML file, or JSON"),
        (7, "use a table with channels and rules"),
    ],
)
def test_a_section_of_another_shape_is_refused(table: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=f"notify = .*{why}") as refusal:
        JobConfig(notify=table)
    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        (
            {"channels": {"a": {"type": "pigeon"}}},
            r"notify\.channels\.a: type = 'pigeon': use log, email, webhook, apprise",
        ),
        ({"channels": {"a": {}}}, "type = None"),
        ({"channels": {"a": {"type": "webhook"}}}, "url is missing"),
        ({"channels": {"a": {"type": "email", "host": "x"}}}, "sender is missing"),
        ({"channels": {"a": {**CHANNEL, "secrets": "x"}}}, "Unknown option 'secrets'; did you mean 'secret'"),
        ({"channels": {"a": {**CHANNEL, "url": {"env": "GONE"}}}}, "url: the variable GONE is not set"),
        ({"channels": {"a": {**CHANNEL, "allow_http": "yes"}}}, "allow_http: use true or false"),
        ({"channels": {"a": {**CHANNEL, "timeout": "soon"}}}, "timeout: use seconds"),
        ({"channels": {"a": {**CHANNEL, "timeout": -1}}}, "timeout: use 0 or more"),
        ({"channels": {"a": {**CHANNEL, "most": "many"}}}, "most: use a number"),
        ({"channels": {"a": {**CHANNEL, "headers": {"X": 7}}}}, "headers.X: use a text"),
        ({"channels": {"a b": {"type": "log"}}}, "use letters"),
        ({"channels": {"a": {**CHANNEL, "url": "http://example.com/s3cret"}}}, "is not https"),
        (
            {"channels": {"a": {"type": "log"}}, "rules": [{"channels": ["b"]}]},
            r"notify\.rules\[1\]: Unknown channel 'b'",
        ),
        (
            {"channels": {"a": {"type": "log"}}, "rules": [{"event": ["failed"]}]},
            "Unknown option 'event'; did you mean 'events'",
        ),
        ({"channels": {"a": {"type": "log"}}, "rules": [{"events": ["faild"]}]}, "did you mean 'failed'"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(table: Any, why: str) -> None:
    read_table = JobConfig(notify=table).notify

    with pytest.raises(ConfigError, match=why) as refusal:
        configured(read_table, {})
    assert "s3cret" not in str(refusal.value)


# ------------------------------------------------------------------------------------------- apprise


def test_apprise_brings_it_to_its_services() -> None:
    with Receiver() as receiver:
        channel = AppriseNotificationChannel(f"json://127.0.0.1:{receiver.port}/hook", timeout=20)

        channel.send(notification())

        (request,) = receiver.requests
        assert request.data["title"] == "mail.send failed with ConnectionError: refused by 10.0.0.7"
        assert request.data["type"] == "failure"
        assert "Job:            mail.0.a" in request.data["message"]
        assert channel.describe() == "1 URL of apprise"


def test_what_apprise_cannot_bring_is_tried_again() -> None:
    with Receiver(says(500)) as receiver:
        channel = AppriseNotificationChannel(f"json://127.0.0.1:{receiver.port}/hook")

        with pytest.raises(NotDelivered, match="apprise could not notify all URLs"):
            channel.send(notification())


def test_a_url_that_apprise_does_not_know_is_refused_without_being_shown() -> None:
    with pytest.raises(ConfigError, match="does not support URL number 2 of the channel 'x'") as refusal:
        AppriseNotificationChannel("json://localhost", "nonsense://s3cret", name="x")
    assert "s3cret" not in str(refusal.value)
    with pytest.raises(ConfigError, match="urls is empty"):
        AppriseNotificationChannel()


def test_without_apprise_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(ConfigError, match=r"needs the extra 'notify': pip install 'jobfleet\[notify\]'"):
        AppriseNotificationChannel("json://localhost")
