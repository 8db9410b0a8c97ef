"""The archive: every job, attempt and result in SQL, also after Redis has deleted them. Needs the extra ``sql``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobfleet.config.table import needs_sql

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from jobfleet.archive.models import JobAttemptModel, JobModel, JobResultModel, JobTagModel
    from jobfleet.archive.repository import JobRepository

_MODELS = {"JobAttemptModel", "JobModel", "JobResultModel", "JobTagModel"}


def __getattr__(name: str) -> Any:
    if name != "JobRepository" and name not in _MODELS:
        raise AttributeError(f"module 'jobfleet.archive' has no attribute {name!r}")
    with needs_sql("archive"):
        from jobfleet.archive import models, repository
    value = globals()[name] = getattr(models if name in _MODELS else repository, name)
    return value


def init_job_tables(database: str | Engine | None = None) -> str:
    """Create the archive's tables, or migrate them to this version. Safe to repeat, and in several processes at once.

    Args:
        database: URL of the database, or an engine. Default: the setting ``archive_url``, and without it the SQLite
            file ``.jobfleet/archive.db``, which the programs of this folder use from then on.

    Returns:
        The revision of the tables.

    Raises:
        ConfigError: The extra is not installed, or the database is not supported.
        StoreUnavailable: No database answers at the URL.

    Example:
        >>> init_job_tables("sqlite:///jobs.db")
        '0001'
    """
    with needs_sql("archive"):
        from jobfleet.archive import schema
    return schema.make_tables(database)


def database_errors() -> tuple[type[Any], ...]:
    """The exceptions of a database that does not answer.

    Raises:
        ConfigError: The extra is not installed.
    """
    with needs_sql("archive"):
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
