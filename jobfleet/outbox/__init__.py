"""The table of the transactional outbox: rows that programs write in their own transactions, and the relay removes.

A row has the id of its job and the job itself, sealed as in Redis; see `jobfleet.operations.outbox`. Only the modules
`schema`, `rows`, `shared` and `postgres` need the extra ``sql``.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

from jobfleet.config.table import needs_sql
from jobfleet.errors import StoreUnavailable
from jobfleet.outbox.statements import Counts


def create_tables(database: Any) -> None:
    """Create the table of the outbox, unless it exists. Safe to repeat, and in several processes at once.

    Args:
        database: URL of the database, or an engine of SQLAlchemy.

    Raises:
        ConfigError: The extra ``sql`` is not installed, or the database is not supported.
        StoreUnavailable: No database answers at the URL.
    """
    with needs_sql("outbox"):
        from jobfleet.outbox import rows
    rows.create_tables(database)


def table(metadata: Any) -> Any:
    """Add the table of the outbox to a `MetaData`, for the program's own migrations; return it.

    Args:
        metadata: A ``MetaData`` of SQLAlchemy, such as ``Base.metadata``.

    Raises:
        ConfigError: The extra ``sql`` is not installed.
    """
    with needs_sql("outbox"):
        from jobfleet.outbox import rows
    return rows.table(metadata)


def read_counts(url: str, namespace: str) -> Counts:
    """Count the rows of a fleet.

    Args:
        url: URL of the database.
        namespace: Namespace of the fleet.

    Raises:
        OutboxUnavailable: The database does not answer, or has no table.
        ConfigError: The extra ``sql`` is not installed, or the database is not supported.
    """
    with needs_sql("outbox"):
        from jobfleet.outbox.rows import OutboxRows
    with closing(OutboxRows(url, namespace)) as rows:
        return rows.counts()


class OutboxUnavailable(StoreUnavailable):
    """The database with the outbox does not answer, or has no table for it."""


__all__ = ["OutboxUnavailable", "create_tables", "read_counts", "table"]
