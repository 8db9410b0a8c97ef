"""The database and its tables: connect, create or migrate, read the revision."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, OperationalError

from jobfleet.config import load, mask_url
from jobfleet.config.layers import ARCHIVE_FILE, archive_at
from jobfleet.config.machine import make_private, open_own
from jobfleet.config.url import check_database_url
from jobfleet.errors import ConfigError, StoreUnavailable

VERSIONS = "jobfleet_alembic"
"""The table with the revision. Its name differs from alembic's default, which the program itself may use."""

SQLITE_TIMEOUT = 30.0
"""Seconds to wait for other writers of an SQLite file."""
SQLITE_PAUSE = 0.02

_LOCK = 7_203_418_552


def open_engine(url: str, *, pool_size: int = 2) -> Engine:
    """Return an engine for an archive. It connects on first use.

    Args:
        url: ``sqlite:///path`` or ``postgresql://user:password@host/database``.
        pool_size: Connections to keep open; default 2.

    Raises:
        ConfigError: The URL is not that of a supported database.
    """
    try:
        made = make_url(check_database_url(url))
    except (ConfigError, ArgumentError):
        remedy = "use sqlite:///PATH or postgresql://USER:PASSWORD@HOST/DATABASE"
        raise ConfigError(f"archive_url = {mask_url(url)!r}: {remedy}.") from None
    if made.get_backend_name() == "sqlite":
        engine = create_engine(made, connect_args={"timeout": SQLITE_TIMEOUT})
        event.listen(engine, "connect", _prepare_sqlite)
        return engine
    made = made.set(drivername="postgresql+psycopg")
    return create_engine(made, pool_size=pool_size, pool_pre_ping=True, connect_args={"connect_timeout": 10})


def _prepare_sqlite(connection: Any, _record: object) -> None:
    """Use a write-ahead log, so that readers do not wait for writers.

    SQLite does not wait for another writer here, whatever the timeout of the connection.
    """
    ends_at = monotonic() + SQLITE_TIMEOUT
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > ends_at:
                raise
            sleep(SQLITE_PAUSE)
    connection.execute("PRAGMA synchronous=NORMAL")


def make_tables(database: str | Engine | None = None) -> str:
    """Create or migrate the tables; see `jobfleet.archive.init_job_tables`."""
    is_mine = not isinstance(database, Engine)
    if database is not None and not isinstance(database, Engine | str):
        raise ConfigError(f"database is {database!r:.100}; give a URL or an engine.")
    engine = database if isinstance(database, Engine) else open_engine(database or _configured())
    try:
        with _locked(engine) as connection, _alembic(connection) as config:
            command.upgrade(config, "head")
            return MigrationContext.configure(connection, opts=_OPTIONS).get_current_revision() or ""
    except OperationalError as error:  # it does not answer, or cannot be opened
        if not is_mine:  # the owner of an engine knows its errors
            raise
        reason = str(error.orig).strip().split("\n", 1)[0]
        where = engine.url.render_as_string(hide_password=True)
        raise StoreUnavailable(f"No archive at {where} ({reason}).") from error
    finally:
        if is_mine:
            engine.dispose()


def _configured() -> str:
    """The archive of the settings; without one, a file in this folder, which the programs of this folder use."""
    url = load().config.archive_url
    if url is not None:
        return url
    path = Path(ARCHIVE_FILE)
    make_private(path.parent)
    os.close(open_own(path, os.O_WRONLY))
    return archive_at(path)


def revisions(engine: Engine) -> tuple[str | None, str]:
    """Return the revision of the tables, None if there are none, and the revision that this version needs."""
    with engine.connect() as connection, _alembic(connection) as config:
        current = MigrationContext.configure(connection, opts=_OPTIONS).get_current_revision()
        return current, ScriptDirectory.from_config(config).get_current_head() or ""


def is_newer(engine: Engine, revision: str) -> bool:
    """Whether this version does not know the revision, because a newer version wrote it."""
    with engine.connect() as connection, _alembic(connection) as config:
        known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
        return revision not in known


_OPTIONS = {"version_table": VERSIONS}


@contextmanager
def _locked(engine: Engine) -> Iterator[Connection]:
    """A transaction that holds the lock on migrations."""
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            with connection.begin():
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                yield connection
        else:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield connection
            connection.commit()


@contextmanager
def _alembic(connection: Connection) -> Iterator[Config]:
    with as_file(files("jobfleet.archive").joinpath("migrations")) as folder:
        config = Config()
        config.set_main_option("script_location", str(folder).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        yield config
