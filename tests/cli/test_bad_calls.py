"""Calls that cannot be meant: one line that names the flag and the remedy, and the documented exit code."""

from __future__ import annotations

import json

import pytest

from jobfleet import Fleet, Job
from tests.cli.hand import Cli, Hand, Shell
from tests.support.each import each


@each(
    "args, meant",
    [
        (("retry", "default.0.a"), "dead replay"),
        (("queue", "ls"), "queues"),
        (("deaed", "ls"), "dead"),
        (("cron", "prevew", "x"), "preview"),
    ],
)
def test_a_command_that_is_misspelt_is_told_with_the_one_that_was_meant(
    cli: Cli, args: tuple[str, ...], meant: str
) -> None:
    result = cli(*args)

    wrong, group = (args[0], "jobfleet") if meant != "preview" else (args[1], "jobfleet cron")
    told = f"No such command {wrong!r}. Did you mean {meant!r}? Try '{group} -h'.\n"
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", told)


@each(
    "args, flag",
    [
        (("enqueue", "demo.add", "--wait-timeout", "-1"), "--wait-timeout"),
        (("enqueue", "demo.add", "--delay", "-1"), "--delay"),
        (("wait", "default.0.x", "--timeout", "-1"), "--timeout"),
        (("workers", "stop", "--all", "--grace", "-1"), "--grace"),
        (("archive", "prune", "--older-than", "-1", "--yes"), "--older-than"),
    ],
)
def test_no_time_is_less_than_nothing(cli: Cli, args: tuple[str, ...], flag: str) -> None:
    result = cli(*args)

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Invalid value for '{flag}': '-1': use 0 or more, and at most 100 years. Try ")


@each(
    "args, line",
    [
        (("enqueue", "demo.add", "--name", ""), "name is ''; give a printable label of 1 to 200 characters."),
        (
            ("enqueue", "demo.add", "--delay", "5", "--at", "2030-01-01"),
            "Give --at or --delay, not both. Try 'jobfleet enqueue -h'.",
        ),
        (
            ("enqueue", "demo.add", "--max-retries", "99999999999999999999"),
            "max_retries is 99,999,999,999,999,999,999; give 1,000,000,000 or less.",
        ),
        (
            ("enqueue", "demo.add", "--delay", "10", "--expires-in", "5"),
            "expires_in is 5 s, and delay 10 s: it would never start; give more.",
        ),
        (("jobs", "--tag", ""), "tags is ''; give a text that is not empty."),
        (("jobs", "--function", ""), "function is ''; give a text that is not empty."),
        (("jobs", "--url", "localhost:6379"), "The URL has no scheme; write it as redis://HOST:6379/0."),
        (("worker", "demo", "--app-dir", "nowhere"), "No folder 'nowhere'; correct --app-dir / JOBFLEET_APP_DIR."),
        (("reaper", "--app-dir", "nowhere"), "No folder 'nowhere'; correct --app-dir / JOBFLEET_APP_DIR."),
    ],
)
def test_what_cannot_be_is_refused_by_name(cli: Cli, hand: Hand, args: tuple[str, ...], line: str) -> None:
    result = cli(*args)

    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line + "\n")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (("move", "{}", "--to", "a b"), "queue is 'a b'; use 1 to 32 letters, digits, '_' or '-'."),
        (
            ("reschedule", "{}", "--at", "0001-01-01"),
            "at is datetime.datetime(1, 1, 1, 0, 0); give a time within the calendar.",
        ),
        (
            ("reschedule", "{}", "--at", "2200-01-01T00:00+00:00"),
            "at is datetime.datetime(2200, 1, 1, 0, 0, tzinfo=datetime.timezone.utc); give a time before 2190.",
        ),
    ],
)
def test_what_is_wrong_for_every_job_is_a_wrong_call(
    cli: Cli, fleet: Fleet, hand: Hand, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], line: str
) -> None:
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    job_id = fleet.enqueue(Job("n", "demo.add", (1, 2), delay=60))

    result = cli(*(arg.format(job_id) for arg in args))

    assert (result.exit_code, result.stdout, result.stderr) == (2, "", line + "\n")


def test_nobody_is_asked_about_a_recurring_job_that_is_not_there(cli: Cli) -> None:
    result = cli("cron", "rm", "nightly")

    assert (result.exit_code, result.stderr) == (3, "No cron entry 'nightly'; there are: none yet.\n")


def test_an_unknown_function_is_told_at_once_with_what_becomes_of_the_job(cli: Cli, hand: Hand) -> None:
    result = cli("enqueue", "demo.ad", "1", "2")

    assert (result.exit_code, result.stderr) == (
        0,
        (
            "No worker has published 'demo.ad'; did you mean 'demo.add'? The job goes to queue 'default' (give queue "
            "if the function has another one) and will be parked; unless one does within 1 h, it goes to the dead "
            "letters. The namespace of this process is 'jobfleet'.\n"
        ),
    )


def test_settings_that_follow_from_others_are_shown_as_what_follows(cli: Cli) -> None:
    lines = [line.split() for line in cli("config", "show").stdout.splitlines()]
    shown = {line[0]: " ".join(line[1:]) for line in lines}
    data = json.loads(cli("config", "show", "-o", "json").stdout)

    assert shown["renew_every"].startswith("a third of lease default ")
    assert shown["max_jobs"].startswith("never default ")
    assert (data["renew_every"]["value"], data["max_jobs"]["value"]) == (None, None)


def test_only_flags_that_there_are_are_shown(cli: Cli) -> None:
    data = json.loads(cli("config", "show", "-o", "json").stdout)

    assert (data["lease"]["flag"], data["dead_ttl"]["flag"]) == ("--lease", None)


@pytest.mark.parametrize("name", ["./jobs.py", "app/jobs", "", "app..jobs"])
def test_a_path_is_no_modules_name(shell: Shell, redis_url: str, name: str) -> None:
    result = shell("reaper", name, "--url", redis_url)

    told = f"Cannot import {name!r}: it is not a module name; write it with dots, such as app.jobs.\n"
    assert (result.returncode, result.stderr) == (2, told)


def test_a_files_name_is_told_what_to_leave_out(shell: Shell, redis_url: str) -> None:
    result = shell("reaper", "jobs.py", "--url", redis_url)

    told = "Cannot import 'jobs.py': No module named 'jobs' (looked in .; leave '.py' out).\n"
    assert (result.returncode, result.stderr) == (2, told)


@pytest.mark.parametrize("command", [("reschedule", "--delay", "9h"), ("move", "--to", "bulk"), ("cancel",)])
def test_an_empty_filter_is_not_left_out(cli: Cli, fleet: Fleet, hand: Hand, command: tuple[str, ...]) -> None:
    job_id = fleet.enqueue(Job("n", "demo.add", (1, 2), delay=60, user="ann"))
    before = fleet.poll(job_id)

    result = cli(*command, "--queue", "default", "--user", "", "--yes")

    assert (result.exit_code, result.stderr) == (2, "user is ''; give a text that is not empty.\n")
    assert fleet.poll(job_id) == before


@pytest.mark.parametrize("name", ["", "w", "bo"])
def test_no_worker_is_named_by_nothing_or_by_half_of_a_host(cli: Cli, hand: Hand, name: str) -> None:
    result = cli("workers", "stop", name, "--yes", "--timeout", "0")

    assert (result.exit_code, result.stderr) == (3, f"There is no live worker {name!r}; see 'jobfleet workers ls'.\n")
