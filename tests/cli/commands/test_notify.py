"""`jobfleet notify`: what channels there are, what they have yet to tell, and a trial."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from jobfleet.notify import registry
from jobfleet.store.calls.journal import Item, gather
from jobfleet.store.keys import Keyspace
from tests.cli.hand import AsRole, Cli
from tests.support.receiver import Receiver, says

KEYS = Keyspace("jobfleet")
AT = 1_700_000_000_000_000


@pytest.fixture(autouse=True)
def untouched() -> Iterator[None]:
    """What modules add in a test goes with it."""
    yield
    registry.default._channels.clear()
    registry.default._rules.clear()
    del registry.managers[1:]
    sys.modules.pop("alerts", None)


def configure(folder: Path, *receivers: Receiver) -> None:
    lines = []
    for number, receiver in enumerate(receivers):
        lines += [
            f"[notify.channels.hook{number}]", 'type = "webhook"', f'url = "{receiver.url}/s3cret"',
            "allow_http = true", "allow_private = true",
        ]  # fmt: skip
    (folder / "jobfleet.toml").write_text("\n".join(lines))


def test_without_channels_it_says_how_to_have_some(cli: Cli) -> None:
    assert "No channels. Write [notify.channels.NAME] into jobfleet.toml" in cli("notify", "ls").output
    trial = cli("notify", "test")
    assert (trial.exit_code, "No channels." in trial.output) == (3, True)


def test_a_trial_goes_through_every_channel_and_says_which_failed(cli: Cli, here: Path) -> None:
    with Receiver() as fine, Receiver(says(500, b"oh no")) as broken:
        configure(here, fine, broken)

        trial = cli("notify", "test")

        assert trial.exit_code == 1
        assert trial.output.splitlines() == ["hook0: sent", "hook1: 127.0.0.1 answered 500: oh no."]
        assert fine.requests[0].data["text"] == "This is a trial of the channel hook0"
        assert fine.requests[0].data["event"] == "trial"
        assert fine.requests[0].data["job"] is None
        assert cli("notify", "test", "hook0").exit_code == 0
        assert len(broken.requests) == 1
        unknown = cli("notify", "test", "hok0")
        assert (unknown.exit_code, "did you mean 'hook0'" in unknown.output) == (3, True)


def test_a_module_may_add_channels(cli: Cli, here: Path) -> None:
    (here / "alerts.py").write_text(
        "from jobfleet.notify import LogNotificationChannel, add_notification_channel\n"
        "add_notification_channel(LogNotificationChannel(name='team'), events=['failed'])\n"
        "from jobfleet.notify import JobNotificationManager\n"
        "JobNotificationManager().add_notification_channel(LogNotificationChannel(name='own'), events=['missed'])\n"
    )

    listed = cli("notify", "ls", "-m", "alerts", "-o", "json")

    assert [(row["name"], row["events"], row["waiting"]) for row in json.loads(listed.output)] == [
        ("team", ["failed"], 0),
        ("own", ["missed"], 0),
    ]
    wrong = cli("notify", "ls", "-m", "nowhere")
    assert (wrong.exit_code, "Cannot import 'nowhere'" in wrong.output) == (2, True)


def test_what_is_yet_to_be_told_is_listed(cli: Cli, here: Path, as_role: AsRole) -> None:
    items = [Item(f"m{n}", "boom", 60_000_000, f"d{n}", AT, b"") for n in range(3)]
    as_role("reaper").store.run(gather(KEYS.channel("hook0"), items, most=30))
    with Receiver() as receiver:
        configure(here, receiver)

        (row,) = json.loads(cli("notify", "ls", "-o", "json").output)
        table = cli("notify", "ls").output

    assert (row["waiting"], row["tried"], row["gathered"], row["events"]) == (1, 0, 2, ["failed", "retried"])
    assert "hook0" in table
    assert f"http://127.0.0.1:{receiver.port}/…" in table
    assert "s3cret" not in table


def test_no_more_is_kept_once_it_is_off(cli: Cli, raw: redis.Redis) -> None:
    raw.hset(KEYS.consumers, "notify", 1000)

    assert cli("notify", "off", "--yes").output == "Events are no longer kept for notifications.\n"

    assert raw.hgetall(KEYS.consumers) == {}


def test_config_shows_no_secret_and_checks_what_channels_need(
    cli: Cli, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Receiver() as receiver:
        configure(here, receiver)
        with (here / "jobfleet.toml").open("a") as file:
            file.write('\nsecret = { env = "HOOK_SECRET" }\n')
        shown = cli("config", "show", "-o", "json").output
        unset = cli("config", "check")
        monkeypatch.setenv("HOOK_SECRET", "s3cret-s3cret-s3cret")
        fine = cli("config", "check")
        shown += cli("config", "show").output + cli("config", "show", "-o", "json").output

    assert (unset.exit_code, fine.exit_code) == (2, 0)
    assert "notify.channels.hook0: secret: the variable HOOK_SECRET is not set." in unset.output
    assert "s3cret" not in shown + fine.output
    assert "HOOK_SECRET" in shown
