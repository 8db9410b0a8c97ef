"""How a job is shown that failed, that is parked, or that has ended before it is cancelled."""

from __future__ import annotations

import re
from typing import Any

import pytest

from jobfleet import Fleet, Job
from jobfleet.codec import seal_record
from jobfleet.logs.formatters import LONGEST_TRACEBACK
from jobfleet.retry.tries import Tries
from jobfleet.store.calls.settle import fail, park, settle
from tests.cli.hand import Cli, Hand

TRACEBACK = 'Traceback (most recent call last):\n  File "mail.py", line 3, in send\nValueError: no luck\n'


def fails(hand: Hand, job: Job, **fields: Any) -> str:
    """Let a job fail for good, with a record that has these fields; return its id."""
    job_id = hand.fleet.enqueue(job)
    record = {"function": job.function, "name": job.name, "attempt": 2, "retry_count": 1, "worker": "w1.0",
              "error": "no luck", "error_class": "ValueError", "error_type": "permanent", **fields}  # fmt: skip
    item = fail(
        job_id, hand.claims(job_id).token, record=seal_record(record), ttl_ms=60_000, duration_us=5_000, reason="error",
        tries="2:0:0:0:0",
    )  # fmt: skip
    hand.run(settle(hand.fleet.context.keys.lane_of(job_id), [item]))
    return job_id


def retries(cli: Cli, command: str, job_id: str) -> str:
    found = re.search(r"^ *retries +(.*)$", cli(command, job_id).stdout, re.MULTILINE)
    return found[1] if found else ""


def test_the_status_of_a_failed_job_ends_with_its_traceback(cli: Cli, hand: Hand) -> None:
    job_id = fails(hand, Job("x", "demo.fail"), traceback=TRACEBACK)

    result = cli("status", job_id)

    assert (result.exit_code, result.stdout.endswith(f"\n\n{TRACEBACK}")) == (0, True)
    other = hand.fleet.enqueue(Job("x", "demo.fail"))
    assert "Traceback" not in cli("status", job_id, other).stdout


def test_a_long_traceback_is_cut_as_in_the_logs_and_is_harmless(cli: Cli, hand: Hand) -> None:
    job_id = fails(hand, Job("x", "demo.fail"), traceback="x" * LONGEST_TRACEBACK + "\x1b[2J\nend\n")

    shown = cli("status", job_id).stdout.partition("\n\n")[2]

    assert shown.startswith("…\nxxx")
    assert shown.endswith("\\x1b[2J\nend\n")
    assert LONGEST_TRACEBACK < len(shown) < LONGEST_TRACEBACK + 20


@pytest.mark.parametrize("command", ["status", "explain"])
@pytest.mark.parametrize(
    ("options", "fields", "text"),
    [
        ({}, {}, "1 of 3 used; the error is permanent"),
        ({"max_retries": 1}, {"error_type": "transient"}, "1 of 1 used"),
        ({}, {"error_type": "transient", "error_class": "crashed"}, "1 of 3 used; crashes are counted apart"),
        (
            {"retry_for": 60}, {"error_type": "transient"},
            "1 used, none due later than 1 min after the first run",
        ),
    ],
)  # fmt: skip
def test_a_failed_job_says_why_no_retry_follows(
    cli: Cli, hand: Hand, command: str, options: dict[str, Any], fields: dict[str, Any], text: str
) -> None:
    job_id = fails(hand, Job("x", "demo.fail", **options), **fields)

    assert retries(cli, command, job_id) == text


def test_a_failed_job_whose_options_are_gone_says_that_its_error_is_permanent(cli: Cli, hand: Hand) -> None:
    job_id = fails(hand, Job("x", "demo.fail"))
    hand.fleet.purge(job_id)

    assert retries(cli, "status", job_id) == "1 used; the error is permanent"


def test_a_parked_job_is_called_parked_with_the_reason(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("a", "demo.add"))
    tries = Tries(parked_since=1).noting(1, "no worker knows 'demo.add'")
    grant, lane = hand.claims(job_id), fleet.context.keys.lane_of(job_id)
    hand.run(settle(lane, [park(job_id, grant.token, delay_us=60_000_000, tries=tries.dump())]))

    status, explained, listed = (cli(*args).stdout for args in (("status", job_id), ("explain", job_id), ("jobs",)))

    assert re.search(r"^status +parked$", status, re.MULTILINE)
    assert re.search(r"^error +no worker knows 'demo.add'$", status, re.MULTILINE)
    assert explained.startswith(f"{job_id}  parked  demo.add\n  Parked ")
    assert re.search(rf"^{job_id} +parked +demo.add .* parked: no worker knows 'demo.add' · due ", listed, re.MULTILINE)
    assert "retrying" not in status + explained + listed
    fleet.enqueue(Job("b", "demo.add"))
    shown = [cli("jobs", "--status", "parked", *more, "-o", "ids").stdout for more in ((), ("--order", "urgency"))]
    assert shown == [f"{job_id}\n"] * 2
    assert '"status": "retrying"' in cli("status", job_id, "-o", "json").stdout


@pytest.mark.parametrize("form", ["table", "ids"])
def test_cancelling_an_ended_job_says_that_nothing_was_done(cli: Cli, hand: Hand, form: str) -> None:
    job_id = hand.buries("a")

    result = cli("cancel", job_id, "-o", form)

    text = f"{job_id}  had ended already: failed; nothing was done\n"
    assert (result.exit_code, result.stdout + result.stderr) == (1, text)
    assert result.stdout == (text if form == "table" else "")
