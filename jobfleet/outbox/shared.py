"""The relay's rows in SQLite, MySQL and MariaDB, through SQLAlchemy in a thread; it polls."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet

from sqlalchemy import Connection, text

from jobfleet.event_loop import in_thread
from jobfleet.outbox import statements
from jobfleet.outbox.row import Row, Verdict
from jobfleet.outbox.rows import ERROR_LENGTH, OutboxRows, answering


class PolledSource:
    """Claims rows of a database that cannot notify.

    MySQL and MariaDB lock the rows of a claim until its end. SQLite has no such locks, so two relays may enqueue the
    same row. That makes one job, because both use its id.

    Args:
        url: URL of the database.
        namespace: Namespace of the fleet.

    Raises:
        ConfigError: The database is not supported.
    """

    notifies = False

    def __init__(self, url: str, namespace: str) -> None:
        self._rows = OutboxRows(url, namespace)
        self._namespace = namespace
        self._held: Connection | None = None
        kind = self._rows.kind
        self._waiting = text(statements.waiting(kind, ":namespace", ":limit"))
        self._refuse = text(statements.refuse(kind, ":error", ":seq"))
        self._postpone = text(statements.postpone(kind, ":error", ":seq", ":pause_us"))

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return the first rows that are due; see `Source`."""
        return await in_thread(self._claim, limit)

    async def finish(self, verdict: Verdict) -> None:
        """Commit a verdict; see `Source`."""
        await in_thread(self._finish, verdict)

    async def waiting(self, ids: Collection[str]) -> AbstractSet[str]:
        """Return those of some jobs that are rows which wait; see `Source`."""
        return await in_thread(self._rows.waiting, ids)

    async def release(self) -> None:
        """Unlock the claimed rows; see `Source`."""
        await in_thread(self._release)

    async def wait(self, seconds: float) -> None:
        """Return at once: the relay polls."""

    async def close(self) -> None:
        """Close the connections."""
        await in_thread(self._close)

    def _claim(self, limit: int) -> list[Row]:
        self._release()
        with answering(self._rows.shown):
            connection = self._rows.engine.connect()
            try:
                found = connection.execute(self._waiting, {"namespace": self._namespace, "limit": limit})
                rows = [
                    Row(int(seq), job_id, bytes(job), int(tries), max(0, int(age)))
                    for seq, job_id, job, tries, age in found
                ]
                if self._rows.kind == "sqlite" or not rows:
                    connection.rollback()  # a reader must not hold the file while Redis is away
            except BaseException:
                connection.close()
                raise
        if rows:
            self._held = connection
        else:
            connection.close()
        return rows

    def _finish(self, verdict: Verdict) -> None:
        connection, self._held = self._held, None
        if connection is None:
            return
        with answering(self._rows.shown), connection:
            if verdict.done:
                connection.execute(text(statements.delete(",".join(map(str, verdict.done)))))
            for refused in verdict.refused:
                connection.execute(self._refuse, {"seq": refused.seq, "error": refused.error[:ERROR_LENGTH]})
            for seq, error, pause_us in verdict.postponed:
                connection.execute(self._postpone, {"seq": seq, "error": error[:ERROR_LENGTH], "pause_us": pause_us})
            connection.commit()

    def _release(self) -> None:
        connection, self._held = self._held, None
        if connection is not None:
            with answering(self._rows.shown):
                connection.close()

    def _close(self) -> None:
        try:
            self._release()
        finally:
            self._rows.close()
