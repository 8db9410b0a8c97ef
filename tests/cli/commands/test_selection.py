"""Select jobs by group and by the time of their enqueue, in every command that lists or changes jobs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from functools import partial

import pytest

from jobfleet import Fleet, Job
from tests.cli.hand import Cli, Hand
from tests.support.each import each
from tests.support.waiting import wait_until

EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.fixture
def ids(fleet: Fleet, hand: Hand) -> list[str]:
    """Three waiting jobs, the oldest first; the first one is of another group."""
    made: list[str] = []
    for group in ("us", "eu", "eu"):
        made.append(fleet.enqueue(Job("x", "demo.add", (1, 2), group=group)))
        after = datetime.fromisoformat(time_of(fleet, made[-1])) + timedelta(milliseconds=2)
        wait_until(partial(has_passed, after), why="the next job has a later time")
    return made


def time_of(fleet: Fleet, job_id: str) -> str:
    """When a job was enqueued, with an offset."""
    at = fleet.poll(job_id).enqueued_at
    assert at is not None
    return at.astimezone(EAST).isoformat()


def has_passed(moment: datetime) -> bool:
    return datetime.now(UTC) > moment


def found(cli: Cli, *options: str) -> list[str]:
    return str(cli("jobs", *options, "-o", "ids").stdout).split()


def test_jobs_are_listed_by_group(cli: Cli, ids: list[str]) -> None:
    assert found(cli, "--group", "eu") == ids[:0:-1]
    assert sorted(found(cli, "--group", "us", "--order", "urgency")) == ids[:1]
    assert found(cli, "--group", "nobody") == []


@pytest.mark.parametrize("order", ["newest", "urgency"])
def test_jobs_are_listed_by_the_time_of_their_enqueue(cli: Cli, fleet: Fleet, ids: list[str], order: str) -> None:
    second, third = (time_of(fleet, job_id) for job_id in ids[1:])

    assert sorted(found(cli, "--since", second, "--order", order)) == ids[1:]
    assert sorted(found(cli, "--until", second, "--order", order)) == ids[:1]
    assert found(cli, "--since", second, "--until", third, "--order", order) == ids[1:2]
    assert sorted(found(cli, "--since", "1h", "--order", order)) == ids
    assert found(cli, "--until", "1h30m", "--order", order) == []


def test_jobs_are_cancelled_by_group_and_time(cli: Cli, fleet: Fleet, ids: list[str]) -> None:
    result = cli("cancel", "--group", "eu", "--since", time_of(fleet, ids[2]), "--by", "ann", "--yes")

    assert (result.exit_code, result.stdout) == (0, "Cancelled, or asked to stop: 1 job.\n")
    assert [fleet.poll(job_id).status for job_id in ids] == ["queued", "queued", "cancelled"]
    assert cli("cancel", "--until", "1h", "--yes").exit_code == 3
    audit = cli("audit", "-o", "json").stdout
    assert "group=eu since=" in audit


def test_dead_letters_are_listed_by_a_time_ago(cli: Cli, hand: Hand) -> None:
    dead = hand.buries("b")

    assert cli("dead", "ls", "--since", "1h", "-o", "ids").stdout == f"{dead}\n"
    assert cli("dead", "ls", "--until", "1h", "-o", "ids").stdout == ""


@each("flag", ["--since", "--until"])
@each("command", [("jobs",), ("cancel",), ("dead", "ls"), ("archive", "search")])
@each("text", ["yesterday", "-1h", "nan", "40000d", "99999999999999d", "0001-01-01T00:00+14:00", ""])
def test_a_time_that_is_none_is_refused_with_the_flag_and_the_remedy(
    cli: Cli, command: tuple[str, ...], flag: str, text: str
) -> None:
    result = cli(*command, f"{flag}={text}")

    assert (result.exit_code, result.stdout) == (2, "")
    remedy = "use '24h' for 24 hours ago, or an ISO time such as 2026-11-25T08:00+01:00."
    assert result.stderr.startswith(f"{flag} {text!r}: {remedy}")


def test_a_group_that_is_empty_is_refused(cli: Cli) -> None:
    result = cli("jobs", "--group", "")

    assert (result.exit_code, result.stderr) == (2, "group is ''; give a text that is not empty.\n")


def test_a_time_without_an_offset_is_that_of_this_machine(cli: Cli, fleet: Fleet, ids: list[str]) -> None:
    here = datetime.fromisoformat(time_of(fleet, ids[1])).astimezone().replace(tzinfo=None).isoformat()

    assert found(cli, "--since", here) == ids[:0:-1]
