"""The archive: every job, attempt and result in SQL, after Redis has let them go. Needs the extra ``sql``."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from jobfleet.errors import ConfigError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from jobfleet.archive.models import JobAttemptModel, JobModel, JobResultModel, JobTagModel
    from jobfleet.archive.repository import JobRepository

_HOMES = {
    "JobAttemptModel": "models",
    "JobModel": "models",
    "JobRepository": "repository",
    "JobResultModel": "models",
    "JobTagModel": "models",
}
_EXTRA = {"alembic", "psycopg", "sqlalchemy"}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'jobfleet.archive' has no attribute {name!r}")
    value = globals()[name] = getattr(part(home), name)
    return value


def part(name: str) -> Any:
    """A module of the archive.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        return import_module(f"jobfleet.archive.{name}")
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
    revision: str = part("schema").make_tables(database)
    return revision


__all__ = [
    "JobAttemptModel",
    "JobModel",
    "JobRepository",
    "JobResultModel",
    "JobTagModel",
    "init_job_tables",
]
