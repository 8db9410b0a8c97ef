"""The archive's tables: made once by however many, brought up to date, and told from others."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

import jobfleet
from jobfleet import ConfigError, Fleet
from jobfleet.archive import init_job_tables, schema
from jobfleet.archive.models import Base
from jobfleet.archive.schema import VERSIONS, is_newer, open_engine, revisions


def test_the_tables_are_made_and_making_them_again_changes_nothing(empty_url: str) -> None:
    engine = open_engine(empty_url)
    current, head = revisions(engine)
    assert current is None

    assert init_job_tables(empty_url) == head
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO jobfleet_tags (namespace, tag, job_id) VALUES ('jobfleet', 'eu', 'mail.0.a')")
        )

    assert init_job_tables(empty_url) == head
    assert revisions(engine) == (head, head)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM jobfleet_tags")) == 1
    engine.dispose()


def test_the_migrations_make_what_the_models_say(archive_url: str) -> None:
    engine = open_engine(archive_url)

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSIONS, "compare_type": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_many_may_make_them_at_once(empty_url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        heads = set(pool.map(init_job_tables, [empty_url] * 8))

    assert len(heads) == 1
    engine = open_engine(empty_url)
    assert set(inspect(engine).get_table_names()) == {
        VERSIONS, "jobfleet_jobs", "jobfleet_results", "jobfleet_attempts", "jobfleet_tags",
        "jobfleet_audit", "jobfleet_life", "jobfleet_samples",
    }  # fmt: skip
    engine.dispose()


def test_a_writer_delays_those_that_open_a_new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = sqlite3.connect(tmp_path / "archive.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            writer.execute("COMMIT")

    monkeypatch.setattr(schema, "sleep", pause)

    assert init_job_tables(f"sqlite:///{tmp_path}/archive.db")
    assert len(pauses) == 2
    writer.close()


def test_a_revision_of_a_later_version_is_known_as_such(archive_url: str) -> None:
    engine = open_engine(archive_url)

    assert not is_newer(engine, revisions(engine)[1])
    assert is_newer(engine, "9999")
    engine.dispose()


def test_the_setting_says_where(empty_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOBFLEET_ARCHIVE_URL", empty_url)

    assert jobfleet.init_job_tables() == jobfleet.init_job_tables(empty_url)
    assert not (tmp_path / ".jobfleet").exists()


@pytest.mark.parametrize("url", ["mysql://u:secret@host/db", "archive.db", "sqlite://archive.db"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="sqlite:///PATH") as refusal:
        open_engine(url)
    assert "secret" not in str(refusal.value)


def test_without_a_setting_the_archive_is_a_file_of_this_folder(
    tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("JOBFLEET_ARCHIVE_URL", raising=False)

    assert init_job_tables() == init_job_tables()  # twice is once

    file = tmp_path / ".jobfleet" / "archive.db"
    assert (file.stat().st_mode & 0o777, (file.parent / ".gitignore").read_text()) == (0o600, "*\n")
    with Fleet(redis_url) as fleet:
        assert fleet.config.archive_url == f"sqlite:///{file}"
    engine = open_engine(f"sqlite:///{file}")
    assert revisions(engine) == (init_job_tables(), init_job_tables())
    engine.dispose()
