"""Any job in full, named by any part of its id, and the newest jobs first."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Any

import pytest

from jobfleet import After, Fleet, Job, JobResult, JobStatus, Priority
from jobfleet.cli.output import Output
from jobfleet.cli.view import job_details
from jobfleet.codec import seal_record
from jobfleet.retry.tries import Begun, Tries
from jobfleet.store.calls.settle import fail, retry, settle
from tests.cli.hand import Cli, Hand

MOMENT = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d\d:\d\d"


@pytest.fixture
def parent(fleet: Fleet, hand: Hand) -> str:
    return fleet.enqueue(Job("fetch", "demo.add", (1, 2)))


@pytest.fixture
def child(fleet: Fleet, parent: str) -> str:
    """A blocked job with many options."""
    return fleet.enqueue(
        Job("process", "demo.add", ("eu", 20), {"to": "ann", "deep": {"k": [1]}}, priority=Priority.HIGH, max_retries=5,
            timeout=30, depends_on=[After(parent, otherwise="run")], expires_in=5400)
    )  # fmt: skip


def lines(text: str) -> dict[str, str]:
    return dict(re.split(r" {2,}", line.strip(), maxsplit=1) for line in text.splitlines() if "  " in line.strip())


def test_status_shows_an_open_job_with_what_it_was_enqueued_with(cli: Cli, parent: str, child: str) -> None:
    shown = lines(cli("status", child).stdout)

    assert shown["priority"] == "high"
    assert shown["arguments"] == 'eu, 20, to=ann, deep={"k": [1]}'
    assert shown["options"] == "max_retries 5, timeout 30 s"
    assert shown["retries"] == "0 of 5 used"
    assert re.fullmatch(rf"{MOMENT}  \(in 1 h (29|30) min\)", shown["expires"])
    assert shown["parents"] == f"{parent} (queued)"


@pytest.mark.parametrize(
    ("runs", "retries", "text"),
    [(0, 0, ""), (1, 0, "1"), (1, 1, "1, 1 retry used"), (3, 2, "3, 2 retries used")],
)
def test_runs_are_not_counted_as_retries_before_they_happen(runs: int, retries: int, text: str) -> None:
    job = JobResult[object](id="default.0.a", status=JobStatus.RETRYING, runs=runs, retry_count=retries)

    assert lines(job_details(Output(), job)).get("runs", "") == text


@pytest.mark.parametrize("command", ["status", "explain"])
def test_a_crash_uses_no_retry(cli: Cli, hand: Hand, command: str) -> None:
    job_id = hand.fleet.enqueue(Job("x", "demo.add", max_retries=1))
    item = retry(job_id, hand.claims(job_id).token, tries="0:1:0:0:0", delay_us=0)
    hand.run(settle(hand.fleet.context.keys.lane_of(job_id), [item]))
    waits = lines(cli(command, job_id).stdout)
    hand.claims(job_id)
    runs = lines(cli(command, job_id).stdout)

    apart = "0 of 1 used; crashes and lost leases are counted apart"
    crashes = "1 of 3"
    assert [(one["runs"], one["retries"], one["crashes"]) for one in (waits, runs)] == [
        ("1", apart, crashes), ("2", apart, crashes)
    ]  # fmt: skip
    assert "crashes" not in lines(cli(command, hand.fleet.enqueue(Job("y", "demo.add"))).stdout)


def test_explain_shows_it_below_the_reasons(cli: Cli, parent: str, child: str) -> None:
    shown = cli("explain", child).stdout

    assert f"Waits for 1 of 1 job: {parent} (queued)." in shown
    assert '\n  arguments  eu, 20, to=ann, deep={"k": [1]}\n' in shown
    assert f"\n  parents    {parent} (queued)\n" in shown
    assert re.search(r"\n  Expires in 1 h (29|30) min unless it has started by then\.\n", shown)


def test_json_has_all_of_it(cli: Cli, parent: str, child: str) -> None:
    (shown,) = json.loads(cli("status", child, "-o", "json").stdout)
    explained = json.loads(cli("explain", child, "-o", "json").stdout)["details"]

    wanted = {
        "priority": "high", "args": ["eu", 20], "kwargs": {"to": "ann", "deep": {"k": [1]}},
        "options": {"max_retries": 5, "timeout": 30.0}, "max_retries": 5, "history": [], "unknown_zones": [],
        "crashes": 0, "max_crashes": 3,
        "parents": [{"id": parent, "status": "queued", "name": "fetch", "error": None}],
    }  # fmt: skip
    assert {name: shown[name] for name in wanted} == wanted
    assert {name: explained[name] for name in wanted} == wanted
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00", shown["expires_at"])


def test_json_has_the_history_with_its_times_in_utc(cli: Cli, hand: Hand) -> None:
    job_id = hand.fleet.enqueue(Job("a", "demo.add"))
    tries = Tries().noting(1_795_822_926_602_494, "ConnectionError: away", Begun(1_795_822_925_102_494, "box:11:aa.2"))
    lane = hand.fleet.context.keys.lane_of(job_id)
    token = hand.claims(job_id).token
    record = seal_record({"error": "no", "error_type": "permanent"})
    spent: dict[str, Any] = {"ttl_ms": 60_000, "duration_us": 9, "reason": "error", "tries": tries.dump()}
    hand.run(settle(lane, [fail(job_id, token, record=record, **spent)]))
    first = {
        "event": "run", "at": "2026-11-27T23:42:06.602494+00:00", "run": 1,
        "started_at": "2026-11-27T23:42:05.102494+00:00", "duration": 1.5, "worker": "box:11:aa.2",
        "text": "ConnectionError: away",
    }  # fmt: skip

    assert json.loads(cli("dead", "show", job_id, "-o", "json").stdout)["history"] == [first]
    assert cli("dead", "replay", job_id, "--by", "ann").exit_code == 0
    (shown,) = json.loads(cli("status", job_id, "-o", "json").stdout)
    explained = json.loads(cli("explain", job_id, "-o", "json").stdout)["details"]

    again = shown["history"][1]
    assert shown["history"] == explained["history"] == [first, again]
    assert (again["event"], again["by"], again["is_edited"]) == ("replay", "ann", False)
    assert datetime.fromisoformat(again["at"]).utcoffset() == timedelta()


def test_status_shows_delays_and_bounds_of_retries(cli: Cli, hand: Hand) -> None:
    args = ("enqueue", "demo.add", "--retry-delay", "10,30s, 2m", "--retry-for", "1d")
    listed = cli(*args).stdout.strip()
    both = cli(*args, "--max-retries", "7").stdout.strip()

    shown = lines(cli("status", listed).stdout)
    (data,) = json.loads(cli("status", listed, "-o", "json").stdout)

    assert shown["options"] == "retry_delay [10 s, 30 s, 2 min], retry_for 1 d"
    assert shown["retries"] == "0 used, none due later than 1 d after the first run"
    assert lines(cli("status", both).stdout)["retries"] == "0 of 7 used, none due later than 1 d after the first run"
    assert data["options"] == {"retry_delay": [10.0, 30.0, 120.0], "retry_for": 86400.0}
    assert (data["max_retries"], data["retry_for"]) == (None, 86400.0)
    wrong = cli("enqueue", "demo.add", "--retry-delay", "10,soon")
    assert (wrong.exit_code, "'soon': use seconds" in wrong.stderr) == (2, True)


def test_status_and_explain_show_callbacks(cli: Cli, hand: Hand) -> None:
    job = cli("enqueue", "demo.add", "1", "--on-success", "demo.add", "--on-failure", "demo.fail").stdout.strip()

    shown = lines(cli("status", job).stdout)
    called = lines(cli("status", shown["on failure"]).stdout)
    (data,) = json.loads(cli("status", job, "-o", "json").stdout)

    assert (called["function"], called["callback"]) == ("demo.fail", "on_failure of its parent")
    assert called["parents"] == f"{job} (queued)"
    assert data["callbacks"] == {"on_success": shown["on success"], "on_failure": shown["on failure"]}
    assert lines(cli("explain", job).stdout)["on failure"] == shown["on failure"]
    assert lines(cli("explain", shown["on success"]).stdout)["callback"] == "on_success of its parent"


def test_the_past_runs_of_a_dead_letter_are_listed(cli: Cli, hand: Hand) -> None:
    dead = hand.buries("b")
    cli("dead", "replay", dead, "--by", "ann")

    shown = cli("status", dead).stdout

    assert re.search(rf"\nhistory:\n  {MOMENT}  enqueued\n  {MOMENT}  replayed by ann$", shown.rstrip())


def test_a_long_argument_is_cut_in_a_table_and_whole_in_json(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", ("x" * 5000,)))

    assert max(map(len, cli("status", job_id).stdout.splitlines())) < 1100
    assert json.loads(cli("status", job_id, "-o", "json").stdout)[0]["args"] == ["x" * 5000]


@pytest.mark.parametrize(
    "command", ["status", "wait", "explain", "logs", "cancel", "reschedule --delay 1h30m", "move --to bulk"]
)
def test_the_last_digits_of_an_id_are_enough(cli: Cli, fleet: Fleet, hand: Hand, command: str) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add"))
    if command == "wait":
        hand.completes(hand.claims(job_id), 1)

    result = cli(*command.split(), job_id[-8:], "-o", "ids")

    assert result.exit_code == 0, result.stderr
    assert result.stdout in ("", f"{fleet.poll(job_id).moved_to or job_id}\n")


def test_a_dead_letter_is_shown_edited_replayed_and_purged_by_the_last_digits(cli: Cli, hand: Hand) -> None:
    for verb in (["edit", "--args", "[1]"], ["replay"], ["purge", "--yes"]):
        dead = hand.fleet.enqueue(Job("demo.fail", "demo.fail"))
        hand.fails(hand.claims(dead))
        assert cli("dead", "show", dead[-8:], "-o", "ids").stdout == f"{dead}\n"
        assert cli("dead", verb[0], dead[-8:], *verb[1:], "-o", "ids").stdout == f"{dead}\n"
        if verb[0] != "purge":
            hand.completes(hand.claims(dead), 1)


def test_a_part_that_fits_several_jobs_is_refused_with_their_ids(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    ids = [fleet.enqueue(Job("x", "demo.add", id=f"order-{n}")) for n in range(3)]

    result = cli("cancel", "order", "--yes")

    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == f"'order' fits 3 jobs: {', '.join(ids)}; give more of the id.\n"
    assert {fleet.poll(job_id).status for job_id in ids} == {"queued"}


def test_jobs_are_listed_newest_first_across_queues(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    ids = [fleet.enqueue(Job("x", "demo.add", queue=f"q{n % 3}")) for n in range(12)]
    hand.completes(hand.claims(ids[0]), 1)

    assert cli("jobs", "-o", "ids").stdout.split() == ids[::-1]
    few = cli("jobs", "--limit", "5", "-o", "table")
    assert [line.split()[0] for line in few.stdout.splitlines()[1:]] == ids[:-6:-1]
    assert few.stderr == "The newest 5 jobs; --limit shows more, and '--order urgency' lists all by pages.\n"
    assert json.loads(cli("jobs", "--queue", "q1", "-o", "json").stdout)["cursor"] == ""


def test_a_job_waits_for_jobs_that_are_named_by_a_part_of_their_ids(
    cli: Cli, fleet: Fleet, hand: Hand, parent: str
) -> None:
    other = fleet.enqueue(Job("y", "demo.add", queue="mail"))

    child = cli(
        "enqueue", "demo.add", "3", "--depends-on", parent[-8:], "--depends-on", other, "--timeout", "1m",
        "--hard-timeout", "1m30s",
    ).stdout.strip()  # fmt: skip

    details = fleet.details(child)
    assert [one.id for one in details.parents] == [parent, other]
    assert {name: value.total_seconds() for name, value in details.options.items()} == {
        "timeout": 60.0, "hard_timeout": 90.0,
    }  # fmt: skip
    unknown = cli("enqueue", "demo.add", "--depends-on", "default.0.zzz")
    assert (unknown.exit_code, unknown.stdout) == (2, "")


def test_a_delay_may_have_several_units(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    job_id = cli("enqueue", "demo.add", "--delay", "1h30m").stdout.strip()

    job = fleet.poll(job_id)
    assert job.scheduled_at is not None
    assert job.enqueued_at is not None
    assert round((job.scheduled_at - job.enqueued_at).total_seconds(), -1) == 5400
