"""`logs`: what a job has logged."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.operations.jobs.poll import LogReading as Reading
from jobfleet.operations.jobs.poll import read_log as read
from jobfleet.store.calls.run import Entry, log
from jobfleet.store.records import Grant
from tests.cli.hand import Cli, Hand, local_day
from tests.support.waiting import wait_until

AT = 1_772_366_400_000_000


def writes(hand: Hand, grant: Grant, lines: Sequence[tuple[int, str]], *, first: int = 1) -> None:
    """A run writes lines of its log."""
    entries = [
        Entry(grant.id, grant.token, n, 60_000, f"{AT} {level} {text}".encode())
        for n, (level, text) in enumerate(lines, start=first)
    ]
    hand.run(log(hand.fleet.context.keys.lane_of(grant.id), entries, most_lines=100, most_bytes=10_000))


def timeless(text: str) -> list[str]:
    """The lines with the time of day left out, after the line with the date."""
    head, *lines = re.sub(r"^\d\d:\d\d:\d\d", "<clock>", text, flags=re.MULTILINE).splitlines()
    assert head == local_day(datetime.fromtimestamp(AT / 1e6, UTC))
    return lines


@pytest.fixture
def grant(fleet: Fleet, hand: Hand) -> Grant:
    return hand.claims(fleet.enqueue(Job("Add up", "demo.add", (1, 2), id="a")))


def test_lines_are_shown_with_time_and_level(cli: Cli, hand: Hand, grant: Grant) -> None:
    writes(hand, grant, [(20, "begun"), (30, "odd\x1b[2J"), (40, "bad\nTraceback\n  here"), (25, "own level")])

    result = cli("logs", grant.id)

    assert (result.exit_code, result.stderr) == (0, "")
    assert timeless(result.stdout) == [
        "<clock>  INFO      begun",
        r"<clock>  WARNING   odd\x1b[2J",
        "<clock>  ERROR     bad",
        "                    Traceback",
        "                      here",
        "<clock>  Level 25  own level",
    ]


def test_the_tail_is_what_is_asked_for(cli: Cli, hand: Hand, grant: Grant) -> None:
    writes(hand, grant, [(20, f"line {n}") for n in range(5)])

    assert timeless(cli("logs", grant.id, "--tail", "2").stdout) == [
        "<clock>  INFO      line 3",
        "<clock>  INFO      line 4",
    ]


def test_what_was_let_go_is_said(cli: Cli, hand: Hand, grant: Grant) -> None:
    writes(hand, grant, [(20, "later")], first=3)
    writes(hand, grant, [(20, "last")], first=1315)

    assert timeless(cli("logs", grant.id).stdout) == [
        "<clock>  WARNING   … 2 lines dropped",
        "<clock>  INFO      later",
        "<clock>  WARNING   … 1,311 lines dropped",
        "<clock>  INFO      last",
    ]


def test_programs_get_json_lines_or_the_id(cli: Cli, hand: Hand, grant: Grant) -> None:
    writes(hand, grant, [(20, "one"), (30, "two")])

    rows = [json.loads(line) for line in cli("logs", grant.id, "-o", "json").stdout.splitlines()]

    assert rows == [
        {"at": "2026-03-01T12:00:00+00:00", "level": "INFO", "text": "one", "token": grant.token},
        {"at": "2026-03-01T12:00:00+00:00", "level": "WARNING", "text": "two", "token": grant.token},
    ]
    assert cli("logs", grant.id, "-o", "ids").stdout == f"{grant.id}\n"


def test_a_job_that_said_nothing_is_no_error(cli: Cli, grant: Grant) -> None:
    result = cli("logs", grant.id)

    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == f"{grant.id} has no log lines.\n"


@pytest.mark.parametrize("options", [(), ("-f",)])
def test_an_unknown_job_is_not_found(cli: Cli, options: tuple[str, ...]) -> None:
    result = cli("logs", "default.0.none", *options)

    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith("No job 'default.0.none'")


def test_a_log_is_followed_until_the_job_ends(
    cli: Cli, fleet: Fleet, hand: Hand, grant: Grant, raw: redis.Redis
) -> None:
    writes(hand, grant, [(20, "one")])
    seen: list[str] = []

    def follow() -> None:
        seen.append(cli("logs", grant.id, "-f").stdout)

    follower = threading.Thread(target=follow)
    follower.start()
    wait_until(lambda: raw.exists(fleet.context.keys.lane_of(grant.id).listeners), timeout=30, why="somebody listens")
    writes(hand, grant, [(20, "two")], first=2)
    hand.completes(grant, 3)
    follower.join(30)

    assert [timeless(text) for text in seen] == [["<clock>  INFO      one", "<clock>  INFO      two"]]


def test_a_tail_of_nothing_begins_after_the_last_line(fleet: Fleet, hand: Hand, grant: Grant) -> None:
    writes(hand, grant, [(20, "old"), (20, "older")])
    reading = Reading(grant.id, tail=0)

    assert fleet._do(read(fleet.context, reading)) == []
    writes(hand, grant, [(20, "new")], first=3)
    assert [line.text for line in fleet._do(read(fleet.context, reading))] == ["new"]


@pytest.mark.parametrize("tail", [0, 1])
def test_a_tail_of_an_empty_log_is_followed_by_every_line(fleet: Fleet, hand: Hand, grant: Grant, tail: int) -> None:
    reading = Reading(grant.id, tail=tail)

    assert fleet._do(read(fleet.context, reading)) == []
    writes(hand, grant, [(20, "first"), (20, "second")])
    assert [line.text for line in fleet._do(read(fleet.context, reading))] == ["first", "second"]
