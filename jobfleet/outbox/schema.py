"""The database and the table of the outbox, through SQLAlchemy."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    make_url,
    text,
)
from sqlalchemy.dialects.mysql import LONGBLOB, VARCHAR
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from jobfleet.config import mask_url
from jobfleet.config.url import check_outbox_url
from jobfleet.errors import ConfigError
from jobfleet.outbox import OutboxUnavailable
from jobfleet.outbox.statements import TABLE, ddl, kind_of

SQLITE_TIMEOUT = 30.0
"""Seconds to wait for other writers of an SQLite file."""
CONNECT_TIMEOUT = 10
SILENCE: Final = MappingProxyType(
    {
        "postgresql": {
            "keepalives_idle": "15",
            "keepalives_interval": "5",
            "keepalives_count": "3",
            "tcp_user_timeout": "30000",
        },
        "mysql": {"read_timeout": "60", "write_timeout": "60"},
    }
)
"""What ends a connection whose host has vanished, unless the URL sets it: seconds, but ms for the user timeout."""
CREATE_RIGHT = (
    "If its user may not create tables, grant it that (PostgreSQL: GRANT CREATE ON SCHEMA public), or run the "
    "command with the URL of a user who may."
)
_LOCK = 7_203_418_553
"""The advisory lock of PostgreSQL under which the table is created."""


def open_engine(url: str) -> Engine:
    """Return an engine for a database with an outbox. It connects on first use.

    Args:
        url: The URL, such as ``postgresql://user:password@host/database``.

    Raises:
        ConfigError: The database is not supported, or its driver is not installed.
    """
    try:
        made = make_url(check_outbox_url(url))
    except (ConfigError, ArgumentError) as error:
        remedy = str(error) if isinstance(error, ConfigError) else "the URL cannot be read"
        raise ConfigError(f"outbox_url = {mask_url(url)!r}: {remedy}.") from None
    kind = made.get_backend_name()
    try:
        if kind == "sqlite":
            return create_engine(made, connect_args={"timeout": SQLITE_TIMEOUT})
        if kind == "postgresql":
            made = made.set(drivername="postgresql+psycopg")
        elif made.drivername in ("mysql", "mariadb"):
            made = made.set(drivername=f"{made.drivername}+pymysql")
        limits = SILENCE[kind_of(kind)]
        made = made.update_query_dict({name: limit for name, limit in limits.items() if name not in made.query})
        # A relay, a doctor and a command see what is committed now; MySQL's default is a snapshot per transaction.
        options = {"isolation_level": "READ COMMITTED", "pool_pre_ping": True, "pool_size": 2}
        return create_engine(made, connect_args={"connect_timeout": CONNECT_TIMEOUT}, **options)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        what = "its driver is not installed; 'pip install pymysql' is one for MySQL and MariaDB"
        raise ConfigError(f"outbox_url = {mask_url(url)!r}: {what} ({error}).") from None


def table(metadata: MetaData) -> Table:
    """Add the table to a `MetaData`; see `jobfleet.outbox.table`."""
    if TABLE in metadata.tables:
        return metadata.tables[TABLE]
    made = Table(
        TABLE,
        metadata,
        Column("seq", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
        Column("namespace", _ascii(64), nullable=False),
        Column("id", _ascii(112), nullable=False),
        Column("job", LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb"), nullable=False),
        Column("created_us", BigInteger(), nullable=False),
        Column("retry_us", BigInteger(), nullable=False, server_default=text("0")),
        Column("tries", Integer(), nullable=False, server_default=text("0")),
        Column("failed_us", BigInteger()),
        Column("error", Text()),
        sqlite_autoincrement=True,
        mysql_engine="InnoDB",
    )
    Index(f"{TABLE}_waiting", made.c.namespace, made.c.failed_us, made.c.seq)
    return made


def _ascii(length: int) -> String:
    """A text that is compared by its bytes on MySQL, too."""
    return String(length).with_variant(VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")


def create_tables(database: str | Engine) -> None:
    """Create the table, unless it exists; see `jobfleet.outbox.create_tables`."""
    if not isinstance(database, Engine | str):
        raise ConfigError(f"database is {database!r:.100}; give a URL or an engine.")
    engine = database if isinstance(database, Engine) else open_engine(database)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":  # IF NOT EXISTS fails if two create the table at once
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            for statement in ddl(engine.dialect.name):
                connection.exec_driver_sql(statement)
    except DBAPIError as error:
        if engine is database:  # the owner of an engine knows its errors
            raise
        reason = reason_of(error)
        remedy = f" {CREATE_RIGHT}" if " denied" in reason else ""
        raise OutboxUnavailable(f"No outbox at {mask_url(str(database))} ({reason}).{remedy}") from error
    finally:
        if engine is not database:
            engine.dispose()


def reason_of(error: BaseException) -> str:
    """The first line of the error of a database."""
    lines = str(getattr(error, "orig", None) or error).strip().split("\n", 1)
    return lines[0] or type(error).__name__
