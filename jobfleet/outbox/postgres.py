"""The relay's rows in PostgreSQL: one connection that listens, claims and deletes.

It speaks to the driver itself. A claim and its `BEGIN`, and a deletion and its `COMMIT`, are one round trip each, and
no thread is between a notification and its claim.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from contextlib import aclosing, suppress

import psycopg
from psycopg import AsyncConnection, sql

from jobfleet.config import mask_url
from jobfleet.errors import ConfigError
from jobfleet.outbox import statements
from jobfleet.outbox.rows import CONNECT_TIMEOUT, ERROR_LENGTH, open_engine, unavailable
from jobfleet.outbox.statements import Row, Verdict

KIND = "postgresql"


class ListeningSource:
    """Claims rows of a PostgreSQL database, and listens for their announcement.

    Args:
        url: URL of the database.
        namespace: Namespace of the fleet.

    Raises:
        ConfigError: The URL cannot be read.
    """

    notifies = True

    def __init__(self, url: str, namespace: str) -> None:
        engine = open_engine(url)
        if statements.kind_of(engine.dialect.name) != KIND:
            raise ConfigError(f"outbox_url = {mask_url(url)!r}: it is not PostgreSQL.")
        _, self._options = engine.dialect.create_connect_args(engine.url)
        self._shown = mask_url(url)
        self._namespace = namespace
        self._connection: AsyncConnection | None = None
        self._is_called = True

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return the first rows that are due; see `Source`."""
        asked = statements.waiting(KIND, _literal(self._namespace), str(int(limit)))
        try:
            connection = await self._opened()
            cursor = await connection.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED; {asked}".encode())
            cursor.nextset()
            rows = [
                Row(seq, job_id, bytes(job), tries, max(0, age))
                for seq, job_id, job, tries, age in await cursor.fetchall()
            ]
            if not rows:
                await connection.execute(b"COMMIT")
        except BaseException as error:
            await self._lost(error)
            raise
        return rows

    async def finish(self, verdict: Verdict) -> None:
        """Commit a verdict; see `Source`."""
        parts = []
        if verdict.done:
            parts.append(statements.delete(",".join(map(str, verdict.done))))
        parts += [statements.refuse(KIND, _literal(one.error), str(one.seq)) for one in verdict.refused]
        parts += [
            statements.postpone(KIND, _literal(error), str(seq), str(pause_us))
            for seq, error, pause_us in verdict.postponed
        ]
        await self._end("; ".join([*parts, "COMMIT"]))

    async def waiting(self, ids: Collection[str]) -> AbstractSet[str]:
        """Return those of some jobs that are rows which wait; see `Source`."""
        asked = statements.among(_literal(self._namespace), ",".join(map(_literal, ids)))
        try:
            connection = await self._opened()
            return {job_id for (job_id,) in await (await connection.execute(asked.encode())).fetchall()}
        except BaseException as error:
            await self._lost(error)
            raise

    async def release(self) -> None:
        """Unlock the claimed rows; see `Source`."""
        if self._connection is not None:
            await self._end("ROLLBACK")

    async def wait(self, seconds: float) -> None:
        """Wait for an announcement, at most for some seconds; return at once if one has come since the last wait."""
        try:
            connection = await self._opened()
            if self._is_called:  # rows may have been written before the connection listened
                self._is_called = False
                return
            async with aclosing(connection.notifies(timeout=seconds)) as notes:
                async for note in notes:
                    if note.payload == self._namespace:
                        return
        except BaseException as error:
            await self._lost(error)
            raise

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(psycopg.Error):
                await connection.close()

    async def _opened(self) -> AsyncConnection:
        if self._connection is None:
            options = {"connect_timeout": CONNECT_TIMEOUT, **self._options, "client_encoding": "utf8"}
            self._connection = await AsyncConnection.connect(autocommit=True, **options)
            await self._connection.execute(f"LISTEN {statements.CHANNEL}".encode())
            self._is_called = True
        return self._connection

    async def _end(self, statement: str) -> None:
        if self._connection is None:
            return
        try:
            await self._connection.execute(statement.encode())
        except BaseException as error:
            await self._lost(error)
            raise

    async def _lost(self, error: BaseException) -> None:
        """Close a connection after an error, which may have come in the middle of a transaction."""
        await self.close()
        if isinstance(error, psycopg.Error):
            raise unavailable(self._shown, error) from error


def _literal(value: str) -> str:
    """A text, cut to the length of an error, as a literal of SQL. PostgreSQL has no text with a NUL."""
    return sql.Literal(value[:ERROR_LENGTH].replace("\0", "\ufffd")).as_string()
