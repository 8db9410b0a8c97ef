"""`jobfleet outbox`, and what the doctor and scrapers see of the same rows."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from jobfleet import Fleet, Job
from jobfleet.config import JobConfig
from jobfleet.contrib import outbox
from jobfleet.metrics.tally import Tally
from jobfleet.operations.audit import whoami
from jobfleet.services.duties.outbox import Outbox
from jobfleet.services.gauges import OutboxGauges
from jobfleet.store.aio import AsyncStore
from jobfleet.store.target import target
from tests.cli.hand import Cli
from tests.support.server import free_port

URL = "sqlite:///shop.db"


@pytest.fixture(autouse=True)
def url(here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("JOBFLEET_OUTBOX_URL", URL)
    monkeypatch.setattr(outbox, "_is_first", lambda *_: False)  # tests/outbox has the tests of it
    return URL


def fill(fleet: Fleet) -> list[str]:
    """Three rows: one that waits, one that was postponed, one that was refused."""
    engine = create_engine(URL)
    with engine.begin() as connection:
        ids = outbox.enqueue_many(
            connection, [Job("send", "mail.send", (number,), queue="mail") for number in range(3)], fleet=fleet
        )
        connection.execute(text("UPDATE jobfleet_outbox SET created_us = created_us - 90000000 WHERE seq = 1"))
        connection.execute(text("UPDATE jobfleet_outbox SET error = 'No job', tries = 2 WHERE seq = 2"))
        connection.execute(
            text("UPDATE jobfleet_outbox SET error = 'Not ours', tries = 1, failed_us = created_us WHERE seq = 3")
        )
    engine.dispose()
    return ids


def test_rows_are_listed_retried_and_dropped(cli: Cli, fleet: Fleet) -> None:
    missing = cli("outbox", "status")
    assert missing.exit_code == 4
    assert "run 'jobfleet outbox init'" in missing.stderr
    assert cli("outbox", "init").stdout == "The outbox at sqlite:///shop.db has its table.\n"
    assert cli("outbox", "ls").stderr == "No such rows.\n"
    first, second, third = fill(fleet)

    state = json.loads(cli("outbox", "status", "-o", "json").stdout)
    assert (state["waiting"], state["refused"], state["error"], state["lag"] > 89) == (2, 1, "Not ours", True)
    assert "1 min old" in cli("outbox", "status").stdout
    (row,) = json.loads(cli("outbox", "ls", "--refused", "-o", "json").stdout)
    del row["age"]
    assert row == {"id": third, "function": "mail.send", "tries": 1, "state": "refused", "error": "Not ours"}
    assert cli("outbox", "ls", "--waiting", "-o", "ids").stdout.split() == [first, second]
    assert "mail.send" in cli("outbox", "ls").stdout

    assert cli("outbox", "retry", third).stdout == "1 row will be tried again.\n"
    assert json.loads(cli("outbox", "status", "-o", "json").stdout)["refused"] == 0
    assert cli("outbox", "retry", "--all").stdout == "2 rows will be tried again.\n"
    unknown = cli("outbox", "retry", first)  # it has no error
    assert (unknown.exit_code, unknown.stdout, unknown.stderr) == (3, "", "No such rows with an error.\n")
    assert json.loads(cli("outbox", "drop", "7", "--yes", "-o", "json").stdout) == {"dropped": 0}
    assert cli("outbox", "retry").exit_code == 2
    refused = cli("outbox", "drop", first, input="n\n")
    assert (refused.exit_code, len(cli("outbox", "ls", "-o", "ids").stdout.split())) == (1, 3)
    assert cli("outbox", "drop", first, "--yes").stdout == "Deleted 1 row.\n"
    assert cli("outbox", "drop", "--all", "--yes").stdout == "Deleted 0 rows.\n"
    assert cli("outbox", "ls", "-o", "ids").stdout.split() == [second, third]


def test_a_part_of_an_id_is_enough(cli: Cli, fleet: Fleet) -> None:
    assert cli("outbox", "init").exit_code == 0
    first, second, third = fill(fleet)
    common = first.rpartition(".")[2][:4]

    unclear = cli("outbox", "drop", common, "--yes")
    absent = cli("outbox", "drop", "absent")  # there is nothing to ask about
    asked = cli("outbox", "drop", first[-8:], input="n\n")
    retried = cli("outbox", "retry", third[-8:])

    assert unclear.exit_code == 2
    assert f"{common!r} fits several rows: {first}, {second}, {third}; give more of the id." in unclear.stderr
    assert (absent.exit_code, absent.stdout, absent.stderr) == (3, "", "No such rows.\n")
    assert asked.exit_code == 1
    assert f"Delete 1 row ({first} mail.send) of the outbox? Their jobs are lost." in asked.output
    assert retried.stdout == "1 row will be tried again.\n"
    assert cli("outbox", "ls", "-o", "ids").stdout.split() == [first, second, third]
    assert cli("outbox", "drop", first[-8:], "--yes").stdout == "Deleted 1 row.\n"
    assert cli("outbox", "ls", "-o", "ids").stdout.split() == [second, third]


def test_retries_and_drops_are_in_the_audit(cli: Cli, fleet: Fleet) -> None:
    assert cli("outbox", "init").exit_code == 0
    first, second, third = fill(fleet)
    for line in (
        f"retry {third} --by ann", f"retry {first}", "retry --all", f"drop {first} 7 --yes --by ann",
        "drop --all --yes",
    ):  # fmt: skip
        assert cli("outbox", *line.split()).exit_code in (0, 3), line
    assert cli("outbox", "drop", second, input="n\n").exit_code == 1

    page = fleet.audit()

    waiting, gone = "waiting mail.send", "deleted"
    assert [(one.action, one.target, one.before, one.after, one.outcome, one.count)
            for one in reversed(page.entries)] == [
        ("outbox.retry", third, {third: "refused mail.send"}, {third: waiting}, "done", 1),
        ("outbox.retry", first, {}, {}, "unchanged", 0),
        ("outbox.retry", "all rows with an error", {second: "postponed mail.send", third: waiting},
         {second: waiting, third: waiting}, "done", 2),
        ("outbox.drop", f"{first}, 7", {first: waiting}, {first: gone}, "done", 1),
        ("outbox.drop", "all refused rows", {}, {}, "unchanged", 0),
    ]  # fmt: skip
    assert [(one.by, one.source, one.error) for one in page.entries] == [
        (by, "cli", None) for by in (whoami(), "ann", whoami(), whoami(), "ann")
    ]
    assert all(one.ended_at is not None and one.ended_at >= one.at for one in page.entries)


def test_a_database_that_is_away_leaves_no_entry(cli: Cli, fleet: Fleet) -> None:
    assert cli("outbox", "retry", "--all").exit_code == 4

    assert list(fleet.audit().entries) == []


def test_rows_are_dropped_while_redis_is_away(
    cli: Cli, fleet: Fleet, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert cli("outbox", "init").exit_code == 0
    ids = fill(fleet)
    monkeypatch.setenv("JOBFLEET_URL", f"redis://127.0.0.1:{free_port()}/0")

    dropped = cli("outbox", "drop", *ids, "--yes")

    assert (dropped.exit_code, dropped.stdout) == (0, "Deleted 3 rows.\n")
    (warning,) = (one.getMessage() for one in caplog.records if one.name == "jobfleet.audit")
    assert warning.startswith(f"audit.refused outbox.drop {', '.join(ids)} is not in the audit")
    assert list(fleet.audit().entries) == []


def test_without_an_outbox_the_setting_is_named(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JOBFLEET_OUTBOX_URL")

    found = cli("outbox", "ls")

    assert (found.exit_code, found.stderr) == (2, "There is no outbox: set --outbox-url / JOBFLEET_OUTBOX_URL.\n")


async def test_the_doctor_reports_old_and_refused_rows_and_who_relays(
    cli: Cli, fleet: Fleet, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finding() -> tuple[str, str]:
        found = json.loads(cli("doctor", "-o", "json").stdout)["findings"]
        (one,) = (finding for finding in found if finding["check"] == "database")
        return one["level"], one["seen"]

    def relays() -> tuple[int, str]:
        line = cli("outbox", "status").stdout.splitlines()[-1]
        number = json.loads(cli("outbox", "status", "-o", "json").stdout)["relays"]
        return number, line.removeprefix("relayed by").strip()

    assert finding()[0] == "fault"
    assert cli("outbox", "init").exit_code == 0
    assert finding() == ("warning", "0 rows of the outbox wait. No live reaper relays them.")
    assert relays() == (0, "nobody: start a reaper with outbox_url")
    store = AsyncStore(target(redis_url))
    duty = Outbox(store, JobConfig(url=redis_url, outbox_url=URL), Tally())
    await duty.turn()
    assert finding() == ("ok", "0 rows of the outbox wait.")
    assert relays() == (1, "1 reaper")
    assert fleet.cron() == []
    monkeypatch.delenv("JOBFLEET_OUTBOX_URL")
    assert finding() == ("ok", "No transactional outbox is set. Reapers relay sqlite/shop.db.")
    monkeypatch.setenv("JOBFLEET_OUTBOX_URL", URL)
    ids = fill(fleet)
    level, seen = finding()
    assert level == "fault"
    assert "1 row refused" in seen
    assert "Not ours" in seen
    assert cli("outbox", "drop", ids[2], "--yes").exit_code == 0
    level, seen = finding()
    assert level == "warning"
    assert re.match(r"2 rows of the outbox wait; the oldest was written \d min \d+ s ago\.", seen)
    await duty.stop()
    assert relays()[0] == 0
    await store.close()


async def test_scrapers_see_the_rows_and_their_lag(cli: Cli, fleet: Fleet, redis_url: str) -> None:
    gauges = OutboxGauges(JobConfig(url=redis_url, outbox_url=URL))
    assert await gauges.gauges() == {"sql_outbox_rows": {}, "sql_outbox_lag_seconds": {}}  # there is no table
    assert cli("outbox", "init").exit_code == 0
    fill(fleet)

    found = await gauges.gauges()

    assert found["sql_outbox_rows"] == {("waiting",): 2, ("refused",): 1}
    assert 90 <= found["sql_outbox_lag_seconds"][()] < 1000
