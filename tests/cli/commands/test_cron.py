"""`jobfleet cron`."""

from __future__ import annotations

import json
import re

from jobfleet import Fleet
from jobfleet.codec import encode
from jobfleet.operations.cron import TAKEN_OVER_S
from jobfleet.services.duties.cron import EVERY, LOOK_AT_FUNCTIONS
from jobfleet.store.calls.cron import ledger
from jobfleet.store.calls.presence import beat
from tests.cli.hand import AsRole, Cli, Hand
from tests.support.each import each

GAP = "2027-03-28 02:30 does not exist in Europe/Berlin: fires 03:00"
SOON = "not there yet: a worker has published it, and a reaper takes it over within 6 seconds."
NIGHTLY = ("cron", "add", "nightly", "30 2 * * *", "demo.add", "1", "-2", "--tz", "Europe/Berlin")


def test_a_recurring_job_whose_key_is_held_says_who_holds_it(cli: Cli, hand: Hand) -> None:
    cli("cron", "add", "hourly", "@hourly", "demo.add", "1", "2", "--unique", "sum-{0}", "--unique-for", "queued")
    holder = cli("cron", "run", "hourly").stdout.strip()

    again = cli("cron", "run", "hourly")

    said = f"hourly was not run: {holder} holds its unique key; it is queued.\n"
    assert (again.exit_code, again.stderr) == (1, said)


def test_a_recurring_job_is_added_listed_and_removed(cli: Cli, hand: Hand, in_berlin: None) -> None:
    added = cli(*NIGHTLY, "--by", "ann", "--overlap", "skip")
    assert added.stdout.startswith("nightly added: next at 20")
    assert cli(*NIGHTLY, "--by", "ann", "--overlap", "skip").stdout.startswith("nightly unchanged: ")
    again = cli(*NIGHTLY)
    assert (again.exit_code, again.stderr) == (
        2, "There is a cron entry 'nightly' already; give another name, or replace it (--replace, replace=True).\n",
    )  # fmt: skip
    assert cli(*NIGHTLY, "--replace").stdout.startswith("nightly changed: ")

    (row,) = json.loads(cli("cron", "ls", "-o", "json").stdout)
    assert (row["name"], row["expression"], row["tz"], row["queue"], row["function"], row["overlap"]) == (
        "nightly", "30 2 * * *", "Europe/Berlin", "default", "demo.add", "allow",
    )  # fmt: skip
    head, line = cli("cron", "ls").stdout.splitlines()
    assert head.split() == [
        "NAME", "WHEN", "ZONE", "FUNCTION", "QUEUE", "LAST", "TOOK", "SUCCEEDED", "NEXT", "STATE",
    ]  # fmt: skip
    assert line.startswith("nightly  30 2 * * *  Europe/Berlin  demo.add  default  -")
    due = r"(02:30:00 \+0[12]|03:00:00 \+02):00"  # in the night that has no 02:30 it fires at 03:00
    assert re.search(rf"  20\d\d-\d\d-\d\d {due}  on$", line)

    assert cli("cron", "rm", "nightly", input="n\n").exit_code == 1
    assert cli("cron", "rm", "nightly", "--yes").stdout == "Removed nightly.\n"
    assert cli("cron", "ls", "-o", "ids").stdout == ""


def test_a_schedule_is_edited(cli: Cli, hand: Hand) -> None:
    cli(*NIGHTLY, "--overlap", "skip", "--by", "ann")

    assert cli("cron", "edit", "nightly", "30 3 * * *", "--by", "bob").stdout.startswith("nightly changed: next at 20")
    assert cli("cron", "edit", "nightly", "30 3 * * *").stdout.startswith("nightly unchanged: ")

    (row,) = json.loads(cli("cron", "ls", "-o", "json").stdout)
    assert (row["expression"], row["tz"], row["overlap"], row["origin"]) == (
        "30 3 * * *",
        "Europe/Berlin",
        "skip",
        "ann",
    )
    assert cli("cron", "edit", "none", "@daily").exit_code == 3


def test_pause_and_resume(cli: Cli, hand: Hand) -> None:
    cli(*NIGHTLY)
    assert cli("cron", "pause", "nightly", "--by", "ann").stdout == "nightly is paused.\n"
    assert cli("cron", "pause", "nightly").stdout == "nightly was paused already.\n"
    assert cli("cron", "ls").stdout.endswith("-     -     -          -     paused by ann\n")
    assert cli("cron", "resume", "nightly").stdout == "nightly is on.\n"
    assert cli("cron", "resume", "nightly").stdout == "nightly was on already.\n"
    cli("cron", "pause", "nightly", "--by", "ann", "--reason", "the disk is full")
    assert cli("cron", "ls").stdout.endswith("paused by ann (the disk is full)\n")
    refused = cli("cron", "pause", "nightly", "--reason", "x" * 201)
    assert (refused.exit_code, "at most 200 characters" in refused.stderr) == (2, True)


def test_run_enqueues_at_once(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    cli(*NIGHTLY, "--priority", "high", "--queue", "night")

    job_id = cli("cron", "run", "nightly").stdout.strip()

    assert fleet.jobs(queue="night").jobs[0].id == job_id


def test_history_tells_what_became_of_each_fire(cli: Cli, as_role: AsRole, hand: Hand, in_berlin: None) -> None:
    cli(*NIGHTLY)
    assert "has not fired yet" in cli("cron", "history", "nightly").stderr
    notes = [
        (1_790_000_000_000_000, "missed - 1790000000000000"),
        (1_790_000_060_000_000, "fired default.0.x 17 as told"),
    ]
    as_role("reaper").store.run(ledger(hand.fleet.context.keys, "nightly", notes))

    hand.buries("y", error="no luck\nat all")
    as_role("reaper").store.run(
        ledger(hand.fleet.context.keys, "nightly", [(1_790_000_120_000_000, "fired default.0.y 17")])
    )

    assert cli("cron", "history", "nightly").stdout.splitlines() == [
        "PLANNED                     FIRE    STATUS  TOOK    JOB          NOTE",
        "2026-09-21 16:15:20 +02:00  fired   failed  1.24 s  default.0.y  ValueError: no luck",
        "2026-09-21 16:14:20 +02:00  fired   gone    -       default.0.x  as told",
        "2026-09-21 16:13:20 +02:00  missed  -       -       -",
    ]
    (row,) = json.loads(cli("cron", "ls", "-o", "json").stdout)
    assert (row["last"]["outcome"], row["last"]["status"], row["last"]["error"], row["interval"]) == (
        "fired", "failed", "ValueError: no luck", 36880.0,
    )  # fmt: skip


def test_preview_names_what_the_clocks_do(cli: Cli, hand: Hand, in_berlin: None) -> None:
    told = cli("cron", "preview", "30 2 * * *", "--tz", "Europe/Berlin", "--after", "2027-03-27T12:00+00:00", "-n", "2")

    assert told.stdout.splitlines() == [
        "FIRES                       Europe/Berlin                 NOTE",
        f"2027-03-28 03:00:00 +02:00  Sun 2027-03-28 02:30:00 CET   {GAP}",
        "2027-03-29 02:30:00 +02:00  Mon 2027-03-29 02:30:00 CEST",
    ]


def test_preview_of_a_name(cli: Cli, hand: Hand) -> None:
    cli(*NIGHTLY)

    rows = json.loads(cli("cron", "preview", "nightly", "-n", "3", "-o", "json").stdout)

    assert len(rows) == 3


@each("verb", ["preview", "pause", "resume", "run", "history", "rm"])
def test_a_name_that_is_not_known(cli: Cli, hand: Hand, verb: str) -> None:
    cli(*NIGHTLY)
    extra = ["--yes"] if verb == "rm" else []

    result = cli("cron", verb, "nigthly", *extra)

    assert (result.exit_code, result.stderr) == (3, "No cron entry 'nigthly'; there are: nightly.\n")


def test_a_wrong_expression_is_a_matter_of_usage(cli: Cli, hand: Hand) -> None:
    result = cli("cron", "add", "x", "61 * * * *", "demo.add")

    assert result.exit_code == 2
    assert result.stderr.startswith("cron '61 * * * *' is not valid: ")


def test_a_recurring_job_of_an_unknown_function_is_added_with_a_warning_about_its_fires(cli: Cli, hand: Hand) -> None:
    added = cli("cron", "add", "hourly", "@hourly", "demo.ad")

    assert added.exit_code == 0
    assert added.stderr == (
        "No worker has published 'demo.ad'; did you mean 'demo.add'? "
        "Until one does, each fire makes a job that goes to queue 'default' (give queue if the function has another "
        "one) and is parked; after 1 h it is a dead letter. The namespace of this process is 'jobfleet'.\n"
    )


def test_seconds_in_the_wrong_field_are_doubted(cli: Cli, hand: Hand) -> None:
    doubt = (
        "cron '*/2 * * * * *' fires in every second of its minutes, because seconds are the sixth field. "
        "Did you mean '* * * * * */2'?\n"
    )

    assert cli("cron", "add", "often", "*/2 * * * * *", "demo.add", "1", "2").stderr == doubt
    assert cli("cron", "preview", "*/2 * * * * *").stderr == doubt
    assert cli("cron", "add", "right", "* * * * * */2", "demo.add", "1", "2").stderr == ""
    assert cli("cron", "add", "slow", "*/2 * * * * 0", "demo.add", "1", "2").stderr == ""


def test_an_interval_is_added_listed_and_previewed(cli: Cli, hand: Hand) -> None:
    assert re.match(
        r"poll added: next at \d{4}-", cli("cron", "add", "poll", "@every 1h30m", "demo.add", "1", "2").stdout
    )
    assert "  @every 1h30m  UTC   demo.add  " in cli("cron", "ls").stdout

    shown = cli("cron", "preview", "poll", "--after", "2027-03-28T00:00+00:00", "-n", "2", "-o", "ids").stdout

    assert shown == "2027-03-28T01:30:00+00:00\n2027-03-28T03:00:00+00:00\n"
    refused = cli("cron", "add", "bad", "@every 5", "demo.add")
    assert refused.exit_code == 2
    assert refused.stderr == (
        "cron '@every 5' is not valid: give whole days, hours, minutes and seconds, 1 s to 366 d in all, "
        "such as '@every 90s' or '@every 1h30m'.\n"
    )


def test_an_entry_for_starts_is_added_listed_and_previewed(cli: Cli, hand: Hand) -> None:
    assert cli("cron", "add", "warm", "@startup", "demo.add").stdout == "warm added: it fires when workers start.\n"
    assert re.search(
        r"^warm  @startup  UTC   demo.add  default  -     -     -          at a start  on$",
        cli("cron", "ls").stdout,
        re.MULTILINE,
    )
    cli("cron", "pause", "warm")
    assert re.search(r"  -     -     -          -     paused$", cli("cron", "ls").stdout, re.MULTILINE)

    shown = cli("cron", "preview", "warm")

    assert (shown.stdout, shown.stderr) == (
        "", "@startup has no planned times: it fires when workers start that know its function.\n",
    )  # fmt: skip
    assert json.loads(cli("cron", "preview", "@startup", "-o", "json").stdout) == []


def test_a_schedule_that_no_reaper_has_stored_yet_is_announced(cli: Cli, fleet: Fleet, hand: Hand) -> None:
    record = encode({"cron": {"cron": "0 2 * * *", "tz": "UTC"}})
    hand.run(beat(fleet.context.keys, "w2", account=encode({}), gone_us=20_000_000, functions={"demo.night": record}))

    empty = cli("cron", "ls")
    fired = cli("cron", "run", "demo.night")
    cli(*NIGHTLY)
    listed = cli("cron", "ls")

    assert (empty.exit_code, empty.stdout, empty.stderr) == (0, "", f"demo.night is {SOON}\n")
    assert (fired.exit_code, fired.stderr) == (3, f"Cron entry 'demo.night' is {SOON} Then repeat this.\n")
    assert "nightly" in listed.stdout
    assert listed.stderr.startswith(f"demo.night is {SOON}\n")


def test_the_seconds_are_those_of_the_reaper() -> None:
    assert TAKEN_OVER_S == LOOK_AT_FUNCTIONS + EVERY
