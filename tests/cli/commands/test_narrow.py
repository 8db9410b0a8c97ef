"""Tables on a terminal of 80 columns: every line fits, and what differs stays readable."""

from __future__ import annotations

import json
import re

import pytest

from jobfleet import Flow, Job
from jobfleet.cli.output import Column, Output
from jobfleet.codec import encode
from jobfleet.retry.tries import Tries
from jobfleet.store.calls.cron import ledger
from jobfleet.store.calls.presence import beat
from jobfleet.store.calls.settle import park, settle
from tests.cli.hand import AsRole, Cli, Hand
from tests.cli.terminal import Terminal

ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
ERRORS = ("no such address: bob@exmaple.org", "no such mailbox: eve@exmaple.org")


@pytest.fixture
def environ(cli: Cli, redis_url: str) -> dict[str, str]:
    return {"JOBFLEET_URL": redis_url}


def shown(*args: str, environ: dict[str, str], columns: int = 80) -> list[str]:
    """The lines that a command prints on a terminal of 80 columns."""
    with Terminal(*args, columns=columns, environ=environ) as terminal:
        assert terminal.ends() == 0, terminal.text
    lines = ANSI.sub("", terminal.text).replace("\r", "").splitlines()
    assert max(map(len, lines[:2])) <= columns, lines
    return lines


def bury(hand: Hand) -> list[str]:
    """Two dead letters with generated ids and different errors."""
    letters: list[str] = []
    for error in ERRORS:
        letters.append(hand.fleet.enqueue(Job("demo.fail", "demo.fail")))
        hand.fails(hand.claims(letters[-1]), error)
    return letters


@pytest.mark.parametrize("command", [("dead", "ls"), ("top", "--once")])
def test_dead_letters_have_short_ids_and_readable_errors(
    environ: dict[str, str], hand: Hand, command: tuple[str, ...]
) -> None:
    letters = bury(hand)

    text = "\n".join(shown(*command, environ=environ))

    for letter, error in zip(letters, ERRORS, strict=True):
        assert letter[-8:] in text
        assert letter not in text
        assert f"ValueError: {error.partition(':')[0]}" in text


@pytest.mark.parametrize("command", [("dead", "ls"), ("top", "--once")])
def test_programs_and_wide_terminals_get_whole_ids(
    environ: dict[str, str], cli: Cli, hand: Hand, command: tuple[str, ...]
) -> None:
    letters = bury(hand)

    piped, data = cli(*command).stdout, cli(*command, "-o", "json").stdout
    wide = "\n".join(shown(*command, environ=environ, columns=160))

    for letter in letters:
        assert letter in piped
        assert letter in data
        assert letter in wide


@pytest.mark.parametrize("command", ["show", "replay", "purge"])
def test_a_short_id_names_a_dead_letter(cli: Cli, hand: Hand, command: str) -> None:
    letter = bury(hand)[0]

    extra = ["--yes"] if command == "purge" else []

    assert cli("dead", command, letter[-8:], "-o", "ids", *extra).stdout == f"{letter}\n"


def test_queues_fit_with_all_their_counts(environ: dict[str, str], hand: Hand) -> None:
    bury(hand)
    fleet = hand.fleet
    parent = fleet.enqueue(Job("a", "demo.add"))
    hand.claims(parent)
    fleet.enqueue(Job("a", "demo.add", depends_on=[parent]))
    fleet.enqueue(Job("a", "demo.add", delay=60))
    done = fleet.enqueue(Job("a", "demo.add"))
    hand.completes(hand.claims(done), 1)

    titles, row = shown("queues", "ls", environ=environ)

    counts = ["QUEUED", "SCHED", "BLOCKED", "RETRY", "RUN", "DEAD", "DONE", "FAILED", "OLDEST"]
    assert titles.split() == ["QUEUE", *counts, "STATE"]
    assert row.split() == ["default", "0", "1", "1", "0", "1", "2", "1", "2", "-", "open"]


def test_recurring_jobs_fit(environ: dict[str, str], cli: Cli, hand: Hand) -> None:
    hand.fleet.cron.add("nightly", "0 2 * * *", Job("nightly", "demo.add"), tz="Europe/Berlin")

    lines = shown("cron", "ls", environ=environ)

    assert lines[0].split() == ["NAME", "WHEN", "ZONE", "FUNCTION", "QUEUE", "NEXT", "STATE"]  # it has not fired
    assert re.fullmatch(r"nightly  0 2 \* \* \*  Europe/Berlin  demo.add  default +in \d+ (h|min|s) +on", lines[1])


def test_recurring_jobs_that_have_fired_fit(environ: dict[str, str], as_role: AsRole, hand: Hand) -> None:
    hand.knows("shop.orders.confirm")
    hand.fleet.cron.add("tick-of-the-shop", "*/15 8-18 * * mon-fri", Job("tick", "shop.orders.confirm", queue="mail"))
    fires = [(1_790_000_060_000_000, "fired default.0.x 17 -")]
    as_role("reaper").store.run(ledger(hand.fleet.context.keys, "tick-of-the-shop", fires))

    titles, row = shown("cron", "ls", environ=environ)[:2]

    assert titles.split() == ["NAME", "WHEN", "ZONE", "FUNCTION", "LAST", "NEXT", "STATE"]
    assert (row[:4], row[-4:]) == ("tick", "  on")
    assert "ago gone" in row


def test_workers_fit_and_lose_first_what_their_ids_say(environ: dict[str, str], cli: Cli, hand: Hand) -> None:
    account = encode({"host": "web-7", "pid": 23_456, "queues": ["default"], "slots": 10, "running": 2, "children": 1,
                      "started": 1_700_000_000_000_000, "state": "running", "version": "0.1.0"})  # fmt: skip
    worker = "web-7:23456:9c3407"
    hand.run(beat(hand.fleet.context.keys, worker, account=account, gone_us=20_000_000, functions={}))

    titles, *rows = shown("workers", "ls", environ=environ)
    (row,) = [row for row in rows if worker in row]

    assert titles.split() == ["WORKER", "STATE", "CHILDREN", "RUNNING", "SLOTS", "UP", "HEARD", "QUEUES"]
    assert row.split()[-1] == "default"
    assert cli("workers", "ls").stdout.split()[2:4] == ["HOST", "PID"]


def test_the_jobs_of_a_flow_fit(environ: dict[str, str], hand: Hand) -> None:
    flow = Flow("import")
    fetch = flow.add(Job("fetch the orders of yesterday", "demo.add", (1, 2)))
    flow.add(Job("write the report of yesterday", "demo.add", (1, 2)), after=fetch)
    flow_id = hand.fleet.flows.enqueue(flow).id
    jobs = hand.fleet.flows.get(flow_id).jobs

    lines = shown("flow", "show", flow_id, environ=environ)

    listed = shown("flow", "ls", environ=environ)
    assert max(map(len, lines)) <= 80
    assert listed[1].startswith(f"{flow_id}  import  queued ")
    assert listed[1].endswith(" s ago")
    assert [line.split()[-1] for line in lines[1:]] == ["ID", *(job.id[-8:] for job in jobs)]


def test_a_scheduled_job_says_when_it_is_due_in_full(environ: dict[str, str], cli: Cli, hand: Hand) -> None:
    hand.fleet.enqueue(Job("a", "demo.add", delay=5400))

    assert shown("jobs", environ=environ)[1].endswith("  due in 1 h")
    assert "  due 20" in cli("jobs").stdout


def test_limits_fit(environ: dict[str, str], hand: Hand) -> None:
    hand.fleet.limits.set("default", concurrency=2, rate="10/min")

    lines = shown("limits", "ls", environ=environ)

    assert lines[0].split() == ["QUEUE", "GROUP", "CONCURRENCY", "RATE", "BURST", "STATE"]
    assert lines[1].split()[-1] == "on"


def test_a_parked_job_says_first_what_it_waits_for(environ: dict[str, str], cli: Cli, hand: Hand) -> None:
    job_id = hand.fleet.enqueue(Job("a", "demo.add"))
    grant = hand.claims(job_id)
    tries = Tries(parked_since=1).noting(1, "no worker knows 'demo.add'")
    lane = hand.fleet.context.keys.lane_of(job_id)
    hand.run(settle(lane, [park(job_id, grant.token, delay_us=60_000_000, tries=tries.dump())]))

    (line,) = [line for line in shown("jobs", environ=environ) if job_id[-8:] in line]

    assert "parked: no worker knows 'demo" in line
    assert "parked: no worker knows 'demo.add' · due 20" in cli("jobs").stdout
    assert json.loads(cli("jobs", "-o", "json").stdout)["jobs"][0]["error"] == "no worker knows 'demo.add'"


def test_a_table_that_is_too_wide_loses_empty_columns_and_then_cuts_elastic_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    output = Output()
    output.is_terminal = True
    heads: list[Column | str] = [
        "ID",
        Column("FUNCTION", is_elastic=True),
        Column("RUNS", True),
        Column("DEAD", True),
        "ERROR",
    ]

    table = output.table(heads, [["a" * 20, "shop.orders.confirm", "-", "3", "ValueError: no such address"]])

    assert table.splitlines()[0].split() == ["ID", "FUNCTION", "DEAD", "ERROR"]
    assert table.splitlines()[1].split() == ["a" * 20, "shop.orde…", "3", "ValueErro…"]
    assert max(map(len, table.splitlines())) == 50


def test_sentences_break_between_words(environ: dict[str, str], hand: Hand) -> None:
    waiting = hand.fleet.enqueue(Job("demo.add", "demo.add", (1, 2), delay=3600))
    (whole,) = [one for one in hand.fleet.doctor().findings if one.check == "persistence"]

    found = shown("doctor", environ=environ)
    explained = shown("explain", waiting, environ=environ)

    assert max(map(len, [*found, *explained])) <= 80
    assert f"{whole.seen} {whole.remedy}" in " ".join(" ".join(line.split()) for line in found)
