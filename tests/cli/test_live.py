"""What a person sees while a command waits, on a terminal of 80 and of 120 columns."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from jobfleet import Fleet, Job
from jobfleet.cli.output import Hours, Output
from tests.cli.hand import Hand
from tests.cli.terminal import Terminal
from tests.support.waiting import wait_until

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
NAME = "build the quarterly report of all departments"


@pytest.fixture
def environ(here: Path, redis_url: str) -> dict[str, str]:
    return {"JOBFLEET_URL": redis_url}


def drawn(text: str) -> list[str]:
    """All lines that were drawn, without colours and moves of the cursor."""
    parts = re.split(r"\r?\n|\r|\x1b\[\d*A|\x1b\[2K", text)
    return [line for part in parts if (line := ANSI.sub("", part).rstrip())]


@pytest.mark.parametrize("columns", [80, 120])
def test_watch_draws_one_line_per_job_that_fits(
    environ: dict[str, str], fleet: Fleet, hand: Hand, columns: int
) -> None:
    one, two = (fleet.enqueue(Job(NAME, "demo.add", queue=queue)) for queue in ("a", "b"))
    first, second = hand.claims(one), hand.claims(two)
    hand.reports(first, 0.25, "reading 1,000 rows of the first of four tables")

    with Terminal("watch", one[-8:], two, columns=columns, environ=environ) as terminal:
        terminal.until("reading")
        hand.fails(second, "no luck at all")
        hand.completes(first, 3)
        code = terminal.ends()

    lines = drawn(terminal.text)
    assert code == 1
    bars = [line for line in lines if line.startswith("build the ")]
    assert bars
    assert max(map(len, bars)) <= columns
    assert all(re.search(r" (-|\d+ %)? +(running|failed|completed) ", line) for line in bars)
    assert any(re.search(rf"… {one[-6:]} .* 25 % running +[\d.]+ m?s reading", line) for line in bars)
    assert lines[-1] == f"{two} failed: ValueError: no luck at all"


@pytest.mark.parametrize("columns", [80, 120])
def test_wait_shows_bars_and_then_the_table_alone(
    environ: dict[str, str], fleet: Fleet, hand: Hand, columns: int
) -> None:
    job_id = fleet.enqueue(Job(NAME, "demo.add"))
    grant = hand.claims(job_id)

    with Terminal("wait", job_id, columns=columns, environ=environ) as terminal:
        terminal.until("running")
        hand.reports(grant, 0.5, "half of it")
        terminal.until("half of it")
        hand.completes(grant, 3)
        code = terminal.ends()

    lines = drawn(terminal.text)
    assert code == 0
    assert any(" 50 % running" in line for line in lines)
    assert max(map(len, lines)) <= columns
    assert lines[-2].startswith("ID ")
    assert lines[-1].startswith(job_id if columns >= 100 else f"{job_id[-8:]}  completed")
    assert terminal.text.rstrip().endswith("→ 3")


def test_enqueue_and_wait_shows_a_bar_and_then_the_result_alone(
    environ: dict[str, str], fleet: Fleet, hand: Hand
) -> None:
    with Terminal("enqueue", "demo.add", "1", "--id", "own", "--wait", environ=environ) as terminal:
        terminal.until("queued")
        grant = hand.claims("default.0.own")
        hand.reports(grant, 0.5, "half of it")
        terminal.until("half of it")
        hand.completes(grant, {"rows": 20})
        code = terminal.ends()

    assert (code, drawn(terminal.text)[-1]) == (0, '{"rows": 20}')


def test_waiting_warns_above_the_bars_that_no_worker_serves_the_queue(
    environ: dict[str, str], fleet: Fleet, hand: Hand
) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", queue="lonely"))

    with Terminal("wait", job_id, "--timeout", "3", environ=environ) as terminal:
        terminal.until("No live worker serves the queue 'lonely'; start one: 'jobfleet worker MODULE -Q lonely'.")
        code = terminal.ends()

    assert code == 124
    assert drawn(terminal.text)[-1].startswith(f"{job_id} did not end within 3 s")


def await_redraws(terminal: Terminal, last: str) -> None:
    """Wait until the last bar is drawn again and again: rich loses the end of a drawing that Ctrl-C interrupts."""
    terminal.until(last)
    for _ in range(3):
        terminal.until(last, after=len(terminal.text))


def test_ctrl_c_ends_the_wait_and_not_the_job(environ: dict[str, str], fleet: Fleet, hand: Hand) -> None:
    with Terminal("enqueue", "demo.add", "--id", "own", "--wait", environ=environ) as terminal:
        await_redraws(terminal, "queued")
        terminal.types("\x03")
        code = terminal.ends()

    assert (code, drawn(terminal.text)[-1]) == (130, "default.0.own continues.")
    assert fleet.poll("default.0.own").status == "queued"


def test_ctrl_c_ends_a_wait_for_several_jobs_and_says_that_they_continue(
    environ: dict[str, str], fleet: Fleet, hand: Hand
) -> None:
    ids = [fleet.enqueue(Job("x", "demo.add", id=name)) for name in ("a", "b")]
    with Terminal("wait", *ids, environ=environ) as terminal:
        await_redraws(terminal, "lt.0.b")
        terminal.types("\x03")
        code = terminal.ends()

    assert (code, drawn(terminal.text)[-1]) == (130, "Jobs that have not ended continue.")
    assert fleet.poll(ids[0]).status == "queued"


@pytest.mark.parametrize("key", ["q", "Q"])
def test_top_ends_at_q(environ: dict[str, str], fleet: Fleet, hand: Hand, key: str) -> None:
    with Terminal("top", "--every", "60", environ=environ) as terminal:
        terminal.until("No dead letters")
        terminal.types("x")
        terminal.types(key)
        code = terminal.ends()

    assert code == 0
    assert terminal.text.count("\x1b[?1049l") == 1


def test_top_shows_the_keys_that_it_knows_and_the_zone(environ: dict[str, str], fleet: Fleet, hand: Hand) -> None:
    with Terminal("top", environ={**environ, "TZ": "Europe/Berlin"}) as terminal:
        terminal.until("No dead letters")
        head = next(line for line in drawn(terminal.text) if line.startswith("jobfleet"))
        terminal.types("q")
        terminal.ends()

    assert re.search(r"  q quits  \d\d:\d\d:\d\d \+0[12]:00$", head)


def test_times_are_in_the_local_zone_on_a_terminal_and_in_utc_in_json(
    environ: dict[str, str], fleet: Fleet, hand: Hand
) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", delay=3600))
    berlin = {**environ, "TZ": "Europe/Berlin"}

    with Terminal("status", job_id, columns=120, environ=berlin) as shown:
        shown.ends()
    with Terminal("status", job_id, "-o", "json", columns=120, environ=berlin) as data:
        data.ends()

    due = fleet.poll(job_id).scheduled_at
    assert due is not None
    assert re.search(
        r"due +\x1b\[0m +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \+0[12]:00  \(in (?:1 h|59 min \d+ s)\)", shown.text
    )
    assert f'"scheduled_at": "{due.isoformat()}"' in data.text


def test_a_new_day_is_announced_once(here: Path) -> None:
    class Heard(Output):
        lines: list[str]

        def line(self, text: str) -> None:
            self.lines.append(text)

    output = Heard()
    output.lines = []
    hours = Hours(output)
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)

    for moment in (noon, noon + timedelta(hours=1), noon + timedelta(days=1)):
        output.lines.append(hours.at(moment))

    days = [line for line in output.lines if "2026" in line]
    assert [line.split()[:2] for line in days] == [["Sun", "2026-03-01"], ["Mon", "2026-03-02"]]
    assert output.lines.index(days[1]) == 3


def test_nothing_is_drawn_for_programs(environ: dict[str, str], fleet: Fleet, hand: Hand) -> None:
    job_id = fleet.enqueue(Job("x", "demo.add", id="a"))
    hand.claims(job_id)

    with Terminal("wait", job_id, "--timeout", "0.3", "-o", "json", environ=environ) as terminal:
        code = terminal.ends()

    assert (code, drawn(terminal.text)) == (124, ["default.0.a did not end within 0.3 s; it is still open."])
    wait_until(lambda: fleet.poll(job_id).status == "running", why="the job runs on")
