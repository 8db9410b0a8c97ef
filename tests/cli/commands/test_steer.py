"""`explain`, `reschedule` and `move`."""

from __future__ import annotations

import json
import re
from dataclasses import fields

import pytest

from jobfleet import Fleet, Job, JobStatus
from jobfleet.model.fields import any_index
from jobfleet.model.result import Explanation, Reason
from tests.cli.hand import Cli, Hand
from tests.support.each import each

ONE, TWO = "default.0.a", "default.0.b"
LATER = "'scheduled', 'queued', 'retrying', 'parked', 'awaiting', 'sleeping'"


@pytest.fixture(autouse=True)
def two(fleet: Fleet, hand: Hand) -> None:
    """Two jobs that wait, and a worker that serves them."""
    fleet.enqueue(Job("Add up", "demo.add", (1, 2), id="a", tags=("eu",)))
    fleet.enqueue(Job("Add up", "demo.add", (1, 2), id="b", user="ann"))


# explain


def test_a_job_is_explained_line_by_line(cli: Cli, fleet: Fleet) -> None:
    fleet.pause("default", by="ann")

    result = cli("explain", TWO)

    assert (result.exit_code, result.stderr) == (0, "")
    timeless = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d", "<moment>", result.stdout)
    assert re.sub(r"\d+ ms|[\d.]+ s", "<age>", timeless).splitlines() == [
        "default.0.b  queued  demo.add",
        "  Queue 'default' was paused by ann <age> ago; 'jobfleet queues resume default' opens it.",
        "  1 job ahead of it: 0 more urgent, 1 of its own priority.",
        "  priority   normal",
        "  arguments  1, 2",
        "  retries    0 of 3 used",
        "  due        <moment>  (<age> ago)",
    ]
    assert cli("explain", ONE, "-o", "ids").stdout == f"{ONE}\n"


def test_json_has_every_attribute_and_every_reasons(cli: Cli) -> None:
    told = json.loads(cli("explain", TWO, "-o", "json").stdout)

    assert set(told) == {field.name for field in fields(Explanation)}
    assert (told["id"], told["status"], told["function"], told["queue"]) == (TWO, "queued", "demo.add", "default")
    assert [set(reason) for reason in told["reasons"]] == [{field.name for field in fields(Reason)}]
    assert told["reasons"][0] == {
        "code": "behind",
        "text": "1 job ahead of it: 0 more urgent, 1 of its own priority.",
        "facts": {"ahead": 1, "more_urgent": 0, "same": 1},
    }


@pytest.mark.parametrize(
    ("job_id", "text"),
    [
        ("default.0.zzz", "No job 'default.0.zzz': never enqueued, or its result was deleted."),
        (
            "nonsense",
            (
                "'nonsense' is not a job id; ids look like mail.0.0192f0c1…; "
                "commands also take its last 4 or more characters."
            ),
        ),
    ],
)
def test_a_job_that_is_not_known_ends_with_3(cli: Cli, job_id: str, text: str) -> None:
    result = cli("explain", job_id)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "", f"{text}\n")

    as_json = cli("explain", job_id, "-o", "json")
    assert as_json.exit_code == 3
    assert json.loads(as_json.stdout)["reasons"] == [{"code": "unknown", "text": text, "facts": {}}]


def test_a_text_of_the_jobs_own_cannot_reach_the_terminal(cli: Cli, hand: Hand) -> None:
    hand.claims(ONE)
    hand.fails(hand.claims(TWO), "bad\x1b[2J")

    assert r"ValueError: bad\x1b[2J; 'jobfleet dead replay default.0.b'" in cli("explain", TWO).stdout


# reschedule


def test_jobs_are_rescheduled_by_id(cli: Cli, fleet: Fleet) -> None:
    result = cli("reschedule", ONE, TWO, "--at", "2100-01-01T00:00+00:00", "--priority", "low", "--by", "ann")

    assert (result.exit_code, result.stdout) == (0, "default.0.a  rescheduled\ndefault.0.b  rescheduled\n")
    jobs = [fleet.poll(job_id) for job_id in (ONE, TWO)]
    assert [job.status for job in jobs] == [JobStatus.SCHEDULED] * 2
    assert {job.scheduled_at.isoformat() for job in jobs if job.scheduled_at} == {"2100-01-01T00:00:00+00:00"}
    assert fleet.queues()[0].by_priority == {"low": 2, "normal": 0, "high": 0, "critical": 0}
    assert cli("reschedule", ONE, "--delay", "0", "-o", "ids").stdout == f"{ONE}\n"
    assert fleet.poll(ONE).status is JobStatus.QUEUED


def test_those_that_cannot_be_rescheduled_are_named_and_the_others_are(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    hand.claims(ONE)

    result = cli("reschedule", "default.0.zzz", ONE, TWO, "--delay", "1h", "-o", "json")

    assert result.exit_code == 3
    assert json.loads(result.stdout) == {"rescheduled": [TWO], "left": ["default.0.zzz", ONE]}
    assert result.stderr.splitlines() == [
        "No job 'default.0.zzz': never enqueued, or its result was deleted.",
        "default.0.a is running; only a scheduled, queued or retrying job can be rescheduled.",
    ]
    assert cli("reschedule", ONE, "--delay", "1h").exit_code == 1


def test_a_filter_counts_and_asks(cli: Cli, fleet: Fleet) -> None:
    no = cli("reschedule", "--tag", "eu", "--delay", "1h", input="n\n")
    assert (no.exit_code, no.stdout) == (1, "")
    assert no.stderr == "Reschedule 1 waiting job? [y/N] Nothing was changed; answer y, or use --yes.\n"
    assert fleet.poll(ONE).status is JobStatus.QUEUED

    yes = cli("reschedule", "--function", "demo.add", "--status", "queued", "--delay", "1h", input="y\n")
    assert (yes.exit_code, yes.stdout) == (0, "Rescheduled 2 jobs.\n")

    sure = cli("reschedule", "--user", "ann", "--queue", "default", "--priority", "high", "--yes", "-o", "json")
    assert json.loads(sure.stdout) == {"rescheduled": 1}
    assert fleet.queues()[0].by_priority["high"] == 1
    none = cli("reschedule", "--tag", "us", "--delay", "1h")
    assert (none.exit_code, none.stdout, none.stderr) == (3, "Rescheduled 0 jobs.\n", "")


@each(
    "args, message",
    [
        (("reschedule", "--delay", "1h"), "Give ids, or options that select jobs."),
        (("reschedule", ONE, "--tag", "eu", "--delay", "1h"), "Give ids, or options that select jobs."),
        (("move", "--to", "bulk"), "Give ids, or options that select jobs."),
        (("move", ONE), "Missing option '--to'."),
        (
            ("move", "--status", "blocked", "--to", "bulk"),
            f"Invalid value for '--status': 'blocked' is not one of {LATER}.",
        ),
        (
            ("jobs", "--tag", "eu", "--order", "urgency"),
            f"Jobs of {any_index()} are listed newest first; leave --order urgency out.",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(cli: Cli, args: tuple[str, ...], message: str) -> None:
    result = cli(*args)

    assert result.exit_code == 2
    assert result.stderr == f"{message} Try 'jobfleet {args[0]} -h'.\n"


# move


def test_a_job_is_moved_and_its_new_id_told(cli: Cli, fleet: Fleet) -> None:
    result = cli("move", ONE, "--to", "bulk", "--by", "ann")

    moved = fleet.poll(ONE).moved_to
    assert (result.exit_code, result.stdout) == (0, f"default.0.a  moved → {moved}\n")
    assert cli("move", ONE, "--to", "bulk", "-o", "ids").stdout == f"{moved}\n"
    assert f"error      moved to {moved} by ann" in cli("status", ONE).stdout
    as_json = cli("move", ONE, TWO, "default.0.zzz", "--to", "bulk", "-o", "json")
    assert as_json.exit_code == 3
    assert json.loads(as_json.stdout) == {
        "moved": [{"id": ONE, "now": moved}, {"id": TWO, "now": fleet.poll(TWO).moved_to}],
        "left": ["default.0.zzz"],
    }


def test_a_job_that_runs_is_not_moved(cli: Cli, hand: Hand) -> None:
    hand.claims(ONE)

    result = cli("move", ONE, "--to", "bulk")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "default.0.a is running; only a scheduled, queued or retrying job can be moved.\n"


def test_a_filter_moves_after_a_question(cli: Cli, fleet: Fleet) -> None:
    asked = cli("move", "--user", "ann", "--to", "bulk", input="y\n")

    assert (asked.exit_code, asked.stdout) == (0, "Moved 1 job.\n")
    assert asked.stderr == "Move 1 waiting job to bulk? [y/N] "
    assert fleet.poll(TWO).moved_to is not None
    assert fleet.poll(ONE).moved_to is None
    assert cli("move", "--user", "ann", "--to", "bulk", "--yes").stdout == "Moved 0 jobs.\n"
