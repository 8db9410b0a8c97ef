"""`forget`: erase one ended job, after a question."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobNotFound
from jobfleet.archive import JobRepository, init_job_tables
from tests.cli.hand import Cli, Hand

JOB = "default.0.a"


@pytest.fixture
def waiting(fleet: Fleet, hand: Hand) -> str:
    """A job that waits."""
    hand.knows("demo.add")
    fleet.enqueue(Job("demo.add", "demo.add", ["x", 2], id="a", user="ann"))
    return JOB


@pytest.fixture
def ended(hand: Hand, waiting: str) -> str:
    """A job that has ended."""
    hand.completes(hand.claims(waiting), 3)
    return waiting


def test_an_ended_job_is_erased_and_then_not_found(cli: Cli, fleet: Fleet, ended: str) -> None:
    done = cli("forget", ended, "--yes", "--by", "bob")
    again = cli("forget", ended, "--yes")

    assert (done.exit_code, done.stdout, done.stderr) == (0, "Erased default.0.a.\n", "")
    assert (again.exit_code, again.stdout) == (3, "")
    assert again.stderr == "No job 'default.0.a': never enqueued, or its result was deleted.\n"
    with pytest.raises(JobNotFound):
        fleet.poll(ended)


def test_json_and_ids_tell_the_same(cli: Cli, hand: Hand, fleet: Fleet, ended: str) -> None:
    done = cli("forget", ended, "-y", "-o", "json")
    again = cli("forget", ended, "-y", "-o", "json")

    assert (done.exit_code, json.loads(done.stdout)) == (0, {"forgotten": [ended]})
    assert (again.exit_code, json.loads(again.stdout)) == (3, {"forgotten": []})


def test_it_asks_first(cli: Cli, fleet: Fleet, ended: str) -> None:
    result = cli("forget", ended, input="n\n")

    assert result.exit_code == 1
    assert fleet.poll(ended).result == 3


def test_a_job_that_has_not_ended_is_refused_with_the_remedy(cli: Cli, fleet: Fleet, waiting: str) -> None:
    result = cli("forget", waiting, "--yes")

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "default.0.a is queued; cancel it first, and forget it when it has ended.\n"
    assert fleet.details(waiting).args == ("x", 2)


def test_the_archive_of_the_settings_is_erased_too(cli: Cli, fleet: Fleet, ended: str, here: Path) -> None:
    url = f"sqlite:///{here / 'archive.db'}"
    init_job_tables(url)
    with JobRepository(url) as repository:
        repository.save(fleet.poll(ended))

        result = cli("forget", ended, "--yes", "--archive-url", url)

        assert (result.exit_code, repository.get(ended)) == (0, None)


def test_an_archive_without_tables_is_reported_with_what_is_left_to_do(cli: Cli, ended: str, here: Path) -> None:
    url = f"sqlite:///{here / 'archive.db'}"

    result = cli("forget", ended, "--yes", "--archive-url", url)
    init_job_tables(url)
    again = cli("forget", ended, "--yes", "--archive-url", url)

    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith(f"default.0.a is erased in Redis, but not in the archive at {url}")
    assert again.exit_code == 3
