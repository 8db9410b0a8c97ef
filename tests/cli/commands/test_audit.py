"""`jobfleet audit`: what operators have done, as a table, as JSON, and as it comes."""

from __future__ import annotations

import json
import re
import threading
from datetime import UTC, datetime

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.client._sync.audit import audited
from jobfleet.operations.audit import Action, whoami
from tests.cli.hand import Cli, Hand, local_day
from tests.support.waiting import wait_until

CLOCK = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d"


def rows(text: str) -> list[list[str]]:
    return [re.split(r" {2,}", re.sub(CLOCK, "<time>", line)) for line in text.splitlines()]


def test_a_table(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("Add up", "demo.add", (1, 2), delay=3600))
    cli("queues", "pause", "mail", "--by", "ann", "--reason", "a repair")
    cli("limits", "set", "mail", "--concurrency", "5", "--by", "ann")
    cli("limits", "set", "mail", "--concurrency", "20")
    cli("cancel", "--queue", "default", "--user", "bob", "--yes")
    cli("cancel", job_id, "--by", "ann")

    shown = cli("audit")

    assert (shown.exit_code, shown.stderr) == (0, "")
    me = whoami()
    title, *found = rows(shown.stdout)
    assert title == ["TIME", "BY", "VIA", "ACTION", "TARGET", "OUTCOME", "CHANGE"]
    due = found[0].pop()
    assert re.fullmatch(r"status scheduled, priority normal, due \S+", due)
    assert found == [
        ["<time>", "ann", "cli", "job.cancel", job_id, "done"],
        ["<time>", me, "cli", "limit.set", "mail", "done", "concurrency 5 → 20"],
        ["<time>", "ann", "cli", "limit.set", "mail", "done", "concurrency 5"],
        ["<time>", "ann", "cli", "queue.pause", "mail", "done", "paused no → yes, reason a repair"],
    ]


def test_a_command_that_is_made_of_no_verb_is_recorded_too(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    for line in ("limits set mail --concurrency 5 --by x", "limits set mail --clear", "cron add n @daily demo.add 1 2",
                 "workers quiet w1 --timeout 0s", "doctor --fix --by x", "archive detach --yes --by x"):  # fmt: skip
        assert cli(*line.split()).exit_code in (0, 1, 124), line

    entries = json.loads(cli("audit", "-o", "json").stdout)["entries"]

    assert [(entry["action"], entry["by"] == "x") for entry in reversed(entries)] == [
        ("limit.set", True), ("limit.clear", False), ("cron.add", False), ("worker.quiet", False),
        ("fleet.repair", True), ("archive.detach", True),
    ]  # fmt: skip
    assert {entry["source"] for entry in entries} == {"cli"}


def test_pages_and_filters(cli: Cli, fleet: Fleet) -> None:
    for number in range(5):
        fleet.pause(f"q{number}", by="ann" if number % 2 else "bob")
    ids = cli("audit", "-o", "ids").stdout.split()

    first = cli("audit", "--limit", "2", "-o", "ids")

    cursor = re.fullmatch(r"2 rows; there may be more: --cursor (\S+)\n", first.stderr)
    assert cursor is not None
    second = cli("audit", "--limit", "9", "--cursor", cursor[1], "-o", "ids")
    assert [*first.stdout.split(), *second.stdout.split()] == ids
    assert [row[4] for row in rows(cli("audit", "--by", "ann", "--action", "queue", "--since", "1h").stdout)[1:]] == [
        "q3", "q1"
    ]  # fmt: skip
    assert cli("audit", "--target", "q9").stderr == "No such actions.\n"
    assert (
        cli("audit", "--until", "2020-01-01T00:00", "-o", "json").stdout == '{\n  "entries": [],\n  "cursor": ""\n}\n'
    )
    assert cli("audit", "--since", "soon").exit_code == 2
    assert cli("audit", "--cursor", "here").exit_code == 2
    assert cli("audit", "-n", "1").exit_code == 2


def test_it_is_followed(cli: Cli, fleet: Fleet, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jobfleet.cli.commands.events.LOOK_EVERY", 0.01)
    fleet.pause("before", by="ann")
    stats = "cmdstat_xrange"

    def act() -> None:
        wait_until(lambda: stats in raw.info("commandstats"), why="the command follows")
        fleet.pause("mail", by="ann")
        fleet.pause("other", by="bob")
        fleet.resume("mail", by="ann")

    raw.config_resetstat()
    thread = threading.Thread(target=act)
    thread.start()
    result = cli("audit", "-f", "--by", "ann", "-n", "2")
    thread.join()

    assert [re.sub(r"^\d\d:\d\d:\d\d", "<clock>", line) for line in result.stdout.splitlines()] == [
        local_day(datetime.now(UTC)),
        "<clock>  ann  queue.pause  mail  done  paused no → yes",
        "<clock>  ann  queue.resume  mail  done  paused yes → no, paused_by ann",
    ]
    since = cli("audit", "-f", "--since", "1h", "-n", "4", "-o", "json").stdout
    assert [json.loads(line)["target"] for line in since.splitlines()] == ["before", "mail", "other", "mail"]
    assert len(cli("audit", "-f", "--since", "1h", "-n", "4", "-o", "ids").stdout.split()) == 4


def test_an_action_that_goes_on_is_shown_before_its_end_when_it_is_followed(
    cli: Cli, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.cli.commands.events.LOOK_EVERY", 0.01)
    monkeypatch.setattr("jobfleet.cli.commands.events.CONTINUES_AFTER", 0.01)

    def act() -> bool:
        shown = cli("audit", "-f", "--since", "1h", "-n", "1", "-o", "json").stdout
        assert (json.loads(shown)["outcome"], json.loads(shown)["ended_at"]) == ("unknown", None)
        return True

    audited(fleet.context, fleet._do, Action("queue.pause", "mail"), act, by="ann")

    assert json.loads(cli("audit", "-f", "--since", "1h", "-n", "1", "-o", "json").stdout)["outcome"] == "done"


def test_hostile_names_are_shown_harmlessly(cli: Cli, fleet: Fleet) -> None:
    fleet.pause("mail", by="\x1b[31mred\n", reason="\u202ebidi")

    shown = cli("audit").stdout

    assert "\\x1b[31mred\\n" in shown
    assert "\\u202ebidi" in shown
