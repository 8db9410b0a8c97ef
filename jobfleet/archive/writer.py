"""Writing what a batch of the journal says: one transaction, one statement a table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from jobfleet.archive.columns import ATTEMPTS, JOBS, RESULTS, TAGS, Upsert, upsert
from jobfleet.archive.fold import Folded, Row, fold
from jobfleet.codec import Limits
from jobfleet.store.journal import Event

log = logging.getLogger("jobfleet.archive")

AWAY = (OperationalError, InterfaceError)
"""What a database answers that is away, overloaded, or has to be asked again: nothing is wrong with the rows."""


REFUSALS = (DBAPIError, OverflowError, ValueError, TypeError)
"""What a row ends in that a database, or its driver, does not take."""


class Writer:
    """Writes into one archive.

    Args:
        engine: The database.
        namespace: Whose jobs.
        limits: Bounds of a result.
    """

    def __init__(self, engine: Engine, namespace: str, limits: Limits) -> None:
        self._engine = engine
        self._namespace = namespace
        self._limits = limits
        dialect = engine.dialect.name
        self._jobs = upsert("jobfleet_jobs", JOBS, dialect)
        self._results = upsert("jobfleet_results", RESULTS, dialect)
        self._attempts = upsert("jobfleet_attempts", ATTEMPTS, dialect)
        self._tags = upsert("jobfleet_tags", TAGS, dialect)

    def write(self, events: Sequence[Event]) -> int:
        """Write what events say, all or nothing; how many jobs they speak of. Safe to repeat, in any order.

        A job that the database refuses is left out, loudly; the others are written.

        Raises:
            OperationalError: The database is away.
        """
        folded = fold(events, self._limits)
        if folded.jobs:
            try:
                self._write(folded)
            except AWAY:
                raise
            except REFUSALS:
                self._write_each(folded)
        return len(folded.jobs)

    def _write(self, folded: Folded) -> None:
        jobs = [row for _, row in sorted(folded.jobs.items())]  # in one order: writers must not block each other
        tags = [{"tag": tag, "job_id": row["id"]} for row in jobs for tag in sorted(set(row.get("tags") or ()))]
        with self._engine.begin() as connection:
            self._run(connection, self._jobs, jobs)
            self._run(connection, self._results, [row for _, row in sorted(folded.results.items())])
            self._run(connection, self._attempts, [row for _, row in sorted(folded.attempts.items())])
            self._run(connection, self._tags, tags)

    def _run(self, connection: Connection, statement: Upsert, rows: Sequence[Row]) -> None:
        if rows:
            arguments: Any = statement.arguments(self._namespace, rows)
            connection.exec_driver_sql(statement.sql, arguments)

    def _write_each(self, folded: Folded) -> None:
        """Write job by job, so that one that is refused costs no other."""
        for job_id, job in folded.jobs.items():
            alone = Folded({job_id: job})
            if job_id in folded.results:
                alone.results[job_id] = folded.results[job_id]
            alone.attempts = {key: row for key, row in folded.attempts.items() if key[0] == job_id}
            try:
                self._write(alone)
            except AWAY:
                raise
            except REFUSALS as error:
                log.error("archive.refused job_id=%s %s", job_id, str(error).split("\n", 1)[0])
