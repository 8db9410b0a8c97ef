"""The settings that name SQL databases, and the extra that these need."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from jobfleet.config.kind import DATABASE, OUTBOX
from jobfleet.config.setting import setting
from jobfleet.config.web import WebSettings
from jobfleet.errors import ConfigError

EXTRA = {"alembic", "greenlet", "psycopg", "sqlalchemy"}
"""The modules of the extra ``sql``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabaseSettings(WebSettings):
    """The databases of the archive and of the outbox; see `JobConfig`, which has the rows with durations."""

    archive_url: str | None = setting(
        DATABASE,
        None,
        "Database of the archive, which stores every job: SQLite or PostgreSQL; needs the extra 'sql'.",
        scope="all",
        derived="no archive",
    )
    outbox_url: str | None = setting(
        OUTBOX,
        None,
        "Database with the transactional outbox, whose rows reapers enqueue: PostgreSQL, SQLite, MySQL or MariaDB; "
        "needs the extra 'sql'.",
        scope="all",
        derived="no outbox",
    )


@contextmanager
def needs_sql(what: str) -> Iterator[None]:
    """Turn a missing module into an error that names the extra to install.

    Args:
        what: What needs the module, such as ``archive``.

    Raises:
        ConfigError: The extra is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in EXTRA:
            raise
        raise ConfigError(f"The {what} needs {error.name!r}: install the extra, 'jobfleet[sql]'.") from None
