"""The archive: every job, attempt and result in SQL, after Redis has let them go. Needs the extra ``sql``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from jobfleet.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from jobfleet.archive.models import JobAttemptModel, JobModel, JobResultModel, JobTagModel
    from jobfleet.archive.repository import JobRepository

_MODELS = {"JobAttemptModel", "JobModel", "JobResultModel", "JobTagModel"}
_EXTRA = {"alembic", "psycopg", "sqlalchemy"}


def __getattr__(name: str) -> Any:
    if name != "JobRepository" and name not in _MODELS:
        raise AttributeError(f"module 'jobfleet.archive' has no attribute {name!r}")
    with needs_sql():
        from jobfleet.archive import models, repository
    value = globals()[name] = getattr(models if name in _MODELS else repository, name)
    return value


@contextmanager
def needs_sql() -> Iterator[None]:
    """Name the extra if a module of the archive cannot be imported without it.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        raise ConfigError(f"The archive needs {error.name!r}: install the extra, 'jobfleet[sql]'.") from None


def init_job_tables(database: str | Engine | None = None) -> str:
    """Make the archive's tables, or bring them up to date; answer their revision. Safe to repeat, by many at once.

    Args:
        database: Its URL, or an engine; without one, the setting ``archive_url``.

    Raises:
        ConfigError: There is no such setting, the extra is not installed, or it is no database that is supported.
        StoreUnavailable: No database answers at the URL.
    """
    with needs_sql():
        from jobfleet.archive import schema
    return schema.make_tables(database)


def database_errors() -> tuple[type[Any], ...]:
    """The exceptions that mean that the database does not answer.

    Raises:
        ConfigError: The extra is not installed.
    """
    with needs_sql():
        from jobfleet.archive.writer import AWAY
    return AWAY


__all__ = [
    "JobAttemptModel",
    "JobModel",
    "JobRepository",
    "JobResultModel",
    "JobTagModel",
    "init_job_tables",
]
