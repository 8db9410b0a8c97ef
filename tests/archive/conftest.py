"""What the tests of the archive start from: databases, and a fleet on the server of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobfleet import AsyncFleet
from jobfleet.archive import JobRepository, init_job_tables
from tests.support.postgres import Postgres

DATABASES = ("sqlite", "postgresql")


@pytest.fixture(params=DATABASES)
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'archive.db'}"
    cluster: Postgres = request.getfixturevalue("postgres")
    return cluster.database()


@pytest.fixture
def archive_url(empty_url: str) -> str:
    """The URL of an archive with its tables."""
    init_job_tables(empty_url)
    return empty_url


@pytest.fixture
def repository(archive_url: str) -> Iterator[JobRepository]:
    """The archive."""
    with JobRepository(archive_url) as repository:
        yield repository


@pytest.fixture
def fleet(afleet: AsyncFleet) -> AsyncFleet:
    """The fleet of these tests is awaited."""
    return afleet


@pytest.fixture
def rebuilt(archive_url: str) -> Callable[[], JobRepository]:
    """Another repository of the same archive."""
    return lambda: JobRepository(archive_url)
