"""Writes a batch of journal events: one transaction, one statement per table."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from jobfleet.archive.columns import ATTEMPTS, JOBS, RESULTS, TAGS, Upsert, upsert
from jobfleet.archive.fold import Folded, Row, fold
from jobfleet.archive.forget import forget_job
from jobfleet.codec import Limits
from jobfleet.codec.seals import Seals
from jobfleet.redaction import Redaction
from jobfleet.store.journal import Event

log: logging.Logger = logging.getLogger("jobfleet.archive")

AWAY = (DBAPIError,)
"""Errors of a database that is unreachable or not set up. Unless the rows are at fault, the events must be kept."""

_ROWS_AT_FAULT = ("22", "23", "54")
"""Classes of PostgreSQL's error codes that blame the rows: data, integrity, limits such as that of an index entry."""


class Writer:
    """Writes into one archive.

    Args:
        engine: The database.
        namespace: Namespace of the fleet.
        limits: Limits of a result's size and depth.
        seals: Checks signed records; None without keys.
        redaction: Hides values of the columns in JSON by their keys.
    """

    def __init__(
        self,
        engine: Engine,
        namespace: str,
        limits: Limits,
        seals: Seals | None = None,
        redaction: Redaction | None = None,
    ) -> None:
        self._engine = engine
        self._namespace = namespace
        self._limits = limits
        self._seals = seals
        self._redaction = Redaction() if redaction is None else redaction
        dialect = engine.dialect.name
        self._jobs = upsert("jobfleet_jobs", JOBS, dialect)
        self._results = upsert("jobfleet_results", RESULTS, dialect)
        self._attempts = upsert("jobfleet_attempts", ATTEMPTS, dialect)
        self._tags = upsert("jobfleet_tags", TAGS, dialect)

    def write(self, events: Sequence[Event]) -> int:
        """Write events in one transaction. Safe to repeat, and in any order.

        If the database refuses the row of a job, that job is logged and left out; the others are written.

        Args:
            events: Events of the journal.

        Returns:
            The number of jobs in these events.

        Raises:
            DBAPIError: The database is unreachable, or lacks tables or rights. Nothing was written.
        """
        folded = fold(events, self._limits, self._seals)
        for rows, column in ((folded.jobs, "metadata"), (folded.results, "result")):
            for row in rows.values():
                if row.get(column) is not None:
                    row[column] = self._redaction(row[column])
        if folded.jobs or folded.forgotten:
            try:
                self._write(folded)
            except (DBAPIError, OverflowError, ValueError, TypeError) as error:
                if not _is_at_fault(error):
                    raise
                self._write_each(folded)
        return len(folded.jobs)

    def _write(self, folded: Folded) -> None:
        jobs = [row for _, row in sorted(folded.jobs.items())]  # in a fixed order, so that writers cannot deadlock
        tags = [{"tag": tag, "job_id": row["id"]} for row in jobs for tag in sorted(set(row.get("tags") or ()))]
        with self._engine.begin() as connection:
            for job_id, seq in sorted(folded.forgotten.items()):
                forget_job(connection, self._namespace, job_id, upto=seq)
            self._run(connection, self._jobs, jobs)
            self._run(connection, self._results, [row for _, row in sorted(folded.results.items())])
            self._run(connection, self._attempts, [row for _, row in sorted(folded.attempts.items())])
            self._run(connection, self._tags, tags)

    def _run(self, connection: Connection, statement: Upsert, rows: Sequence[Row]) -> None:
        if rows:
            arguments: Any = statement.arguments(self._namespace, rows)
            connection.exec_driver_sql(statement.sql, arguments)

    def _write_each(self, folded: Folded) -> None:
        """Write job by job, so that a refused job does not keep the others out."""
        self._write(Folded(forgotten=folded.forgotten))
        for job_id, job in folded.jobs.items():
            alone = Folded({job_id: job})
            if job_id in folded.results:
                alone.results[job_id] = folded.results[job_id]
            alone.attempts = {key: row for key, row in folded.attempts.items() if key[0] == job_id}
            try:
                self._write(alone)
            except (DBAPIError, OverflowError, ValueError, TypeError) as error:
                if not _is_at_fault(error):
                    raise
                log.error("archive.refused job_id=%s %s", job_id, str(error).split("\n", 1)[0])


def _is_at_fault(error: Exception) -> bool:
    """Whether the rows caused the error, and not the database."""
    if not isinstance(error, DBAPIError) or isinstance(error, DataError | IntegrityError):
        return True
    return str(getattr(error.orig, "sqlstate", None) or "").startswith(_ROWS_AT_FAULT)
