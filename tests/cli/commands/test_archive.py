"""`jobfleet archive`."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, JobResult, JobStatus
from jobfleet.archive import JobRepository
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.calls.journal import consumers, enlist, register, unregister
from tests.cli.hand import Cli
from tests.support.each import each


@pytest.fixture
def url(here: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("JOBFLEET_ARCHIVE_URL", "sqlite:///archive.db")
    return "sqlite:///archive.db"


def fill(url: str) -> None:
    with JobRepository(url) as repository:
        for name, status, age in (
            ("a", "completed", 1),
            ("b", "failed", 2),
            ("c", "completed", 90),
            ("d", "queued", 1),
        ):
            at = datetime.now(UTC) - timedelta(days=age)
            ended = at if status != "queued" else None
            job = JobResult[Any](
                id=f"mail.0.{name}", status=JobStatus(status), queue="mail", function="mail.send", user="ann",
                enqueued_at=at, completed_at=ended, tags=("eu",),
            )  # fmt: skip
            repository.save(job)


def test_it_is_made_filled_searched_and_pruned(cli: Cli, url: str) -> None:
    missing = cli("archive", "search").stderr
    assert missing == "The archive at sqlite:///archive.db has no tables: run 'jobfleet archive init'.\n"
    assert cli("archive", "init").stdout == "The archive at sqlite:///archive.db is at revision 0005.\n"
    assert cli("archive", "upgrade").stdout == "The archive at sqlite:///archive.db is at revision 0005.\n"
    fill(url)

    ids = cli("archive", "search", "--user", "ann", "--tag", "eu", "--since", "24d", "-o", "ids").stdout.split()
    assert sorted(ids) == ["mail.0.a", "mail.0.b", "mail.0.d"]
    (row,) = json.loads(cli("archive", "search", "--status", "failed", "-o", "json").stdout)
    assert (row["id"], row["user"], row["tags"]) == ("mail.0.b", "ann", ["eu"])
    assert "mail.0.c" in cli("archive", "search", "--until", "30d", "--limit", "1").stdout
    none = cli("archive", "search", "--user", "bob")
    assert (none.exit_code, none.stderr) == (0, "No such jobs.\n")

    told = json.loads(cli("archive", "status", "-o", "json").stdout)
    assert (told["total"], told["completed"], told["failed"], told["behind"], told["dropped"]) == (4, 2, 1, 0, 0)
    assert "sqlite:///archive.db" in cli("archive", "status").stdout

    asked = cli("archive", "prune", "--older-than", "30d", input="n\n")
    assert (asked.exit_code, asked.stderr.splitlines()[0]) == (
        1, "Delete 1 job from the archive? [y/N] Nothing was changed; answer y, or use --yes."
    )  # fmt: skip
    assert cli("archive", "prune", "--older-than", "30d", "--yes").stdout == "Deleted 1 job.\n"
    assert cli("archive", "prune", "--older-than", "1h", "--status", "failed", "-y").stdout == "Deleted 1 job.\n"
    assert cli("archive", "prune", "--older-than", "30d").stdout == "Deleted 0 jobs.\n"
    assert sorted(cli("archive", "search", "-o", "ids").stdout.split()) == ["mail.0.a", "mail.0.d"]


def test_it_is_taken_off_the_journal(cli: Cli, url: str, fleet: Fleet) -> None:
    lane = fleet.context.keys.lane("mail", 0)
    fleet.store.run(open_queue(fleet.context.keys, "mail", 1))
    fleet.store.run(enlist(fleet.context.keys, "archive", most=1000))
    fleet.store.run(register(lane, "archive", most=1000))

    assert cli("archive", "detach", input="n\n").exit_code == 1
    assert cli("archive", "detach", "--yes").stdout == "Detached.\n"
    assert fleet.store.run(consumers(fleet.context.keys)) == {}
    assert fleet.store.run(unregister(lane, "archive")) is False
    assert cli("archive", "detach", "--yes").stdout == "It was not attached.\n"


@each("command", [("init",), ("status",), ("search",), ("prune", "--older-than", "1d")])
def test_without_an_archive_the_remedy_is_named(cli: Cli, command: tuple[str, ...]) -> None:
    answer = cli("archive", *command)

    assert (answer.exit_code, answer.stderr) == (
        2, "There is no archive: set --archive-url / JOBFLEET_ARCHIVE_URL.\n"
    )  # fmt: skip


def test_a_database_that_is_away_is_named_without_its_password(cli: Cli) -> None:
    answer = cli("archive", "status", "--archive-url", "postgresql://ann:secret@/none?host=/nowhere")

    assert answer.exit_code == 4
    assert answer.stderr.startswith("No archive at postgresql://ann:***@/none?host=/nowhere (")
    assert "secret" not in answer.stderr


def test_a_time_that_is_none_is_refused(cli: Cli, url: str) -> None:
    answer = cli("archive", "search", "--since", "yesterday")

    assert answer.exit_code == 2
    assert (
        "--since 'yesterday': use '24h' for 24 hours ago, or an ISO time such as 2026-11-25T08:00+01:00."
        in answer.stderr
    )
