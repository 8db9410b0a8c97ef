"""The archive duty: writes the events of the journal into SQL.

Any number of reapers share the journal. A batch is acknowledged after its commit. A batch that is written twice, or
after a later one, changes nothing. While the database is unavailable, the batch is retried and errors are logged. The
journal then grows up to its limit; nothing is lost before.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Sequence
from typing import Any

from jobfleet.archive import database_errors
from jobfleet.archive.batch import PATIENCE, Pace
from jobfleet.clock import monotonic, to_us, wall_us
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig, mask_url
from jobfleet.config.table import needs_sql
from jobfleet.errors import ConfigError
from jobfleet.event_loop import CalmThread, in_thread
from jobfleet.metrics.tally import Tally
from jobfleet.model import JobStatus
from jobfleet.operations.audit import entries_after
from jobfleet.operations.operation import drive
from jobfleet.secret import Redaction
from jobfleet.services.long_lived import RepeatedFault
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.journal import Batch, Event, Journal
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Counts

log = logging.getLogger("jobfleet.archive")
GROUP = "archive"
IDLE = 0.5
GATHER = 0.2
"""Seconds to wait for more events after all were read, so that a job that starts and ends is written only once."""

YIELD = 0.1
"""Seconds until the next look at the journal while a burst of events lasts."""

FEWEST, MOST = 16, 512
"""Entries per read. The count starts low, because their size is unknown, and grows while reads leave entries behind."""

ENOUGH = 4 * 1024**2
"""Bytes per read."""
SHORT, LONG = 2_000, 8_000
"""Events per read. A write of fresh events is short, so that the archive can yield after it; a late one saves time."""

LATE = 3.0
"""Seconds after which an event is late. Before, events are written with low priority, so that a burst of jobs is not
slowed down by its own archive."""
FULL = 4
"""The share of a journal's limit, as one of `FULL`, beyond which its events are late, whatever the clocks say."""
TRIM_EVERY = 1.0
PRUNE_EVERY = 3600.0
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0


class Archive(Service):
    """Reads the journal and writes it into the archive.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings, with the URL and retention times of the archive.
        tally: Counts the metrics.
    """

    name = "archive"

    def __init__(self, store: AsyncStore, keys: Keyspace, config: JobConfig, tally: Tally) -> None:
        super().__init__(tally)
        if config.archive_url is None:
            raise ConfigError("There is no archive: set archive_url / JOBFLEET_ARCHIVE_URL.")
        self._store = store
        self._keys = keys
        self._config = config
        with needs_sql("archive"):
            from jobfleet.archive import schema, writer
        self._schema: Any = schema
        self._engine = schema.open_engine(config.archive_url)
        limits = limits_of(config)
        self._writer = writer.Writer(self._engine, config.namespace, limits, keys.seals, Redaction(config.redact))
        self._away: tuple[type[BaseException], ...] = database_errors()
        self.journal = Journal(
            store,
            keys,
            group=GROUP,
            consumer=f"{socket.gethostname()}.{os.getpid()}.{id(self):x}",
            most=config.journal_max,
            longest=config.journal_ttl,
            take_over_after=config.gone_after,
        )
        self._is_registered = self._is_ready = False
        self._held: list[Batch] = []
        self._count = FEWEST
        self._pause = FIRST_PAUSE
        self._absence = RepeatedFault(log, "archive", began="away", ended="back")
        self._mismatch = RepeatedFault(log, "archive", began="unready", ended="ready")
        self._calm = CalmThread("jobfleet-archive")
        self._backlog = 0
        self._low: dict[Lane, int] = {}
        patience = min(PATIENCE, config.journal_ttl / FULL)
        self._pace = Pace(config.journal_max // FULL, patience, monotonic())
        self._trimmed = self._pruned = float("-inf")
        self._audit = AuditCopy(store, keys, self._engine, config)

    async def turn(self) -> float:
        """Write new events; return the seconds until the next turn."""
        if not self._is_registered:  # from now on the journal keeps the events, even if the database is unavailable
            await self.journal.register()
            self._is_registered = True
        try:
            wait = await self._follow()
        except self._away as error:
            wait = self._stumbled(error)
        if monotonic() - self._trimmed >= TRIM_EVERY:
            kept = await self.journal.trim()
            self._backlog = max((each.backlog for _, each in kept), default=0)
            self._low = {lane: each.low for lane, each in kept}
            self._trimmed = monotonic()
        return wait

    async def stop(self) -> None:
        """Stop the duty and close the database connections."""
        await super().stop()
        self._calm.close()
        await in_thread(self._engine.dispose)

    async def _follow(self) -> float:
        if not self._is_ready:
            self._is_ready = await in_thread(self._prepare)
            if not self._is_ready:
                return LONGEST_PAUSE
        if not self._held:
            if await self._should_wait():
                return YIELD
            await self._read()
        wait = await self._write() if self._held else IDLE
        await self._audit.turn()
        self._absence.succeeded()
        self._pause = FIRST_PAUSE
        if monotonic() - self._pruned >= PRUNE_EVERY:
            self._pruned = monotonic()
            await in_thread(self._prune)
        return wait

    async def _should_wait(self) -> bool:
        """Whether the jobs need the machine more than the archive does."""
        lanes = self._pace.busy_lanes(await self.journal.counts(), monotonic())
        answers = await self._store.run_many([inspect.counts(lane) for lane in lanes]) if lanes else []
        due = sum(sum(answer.due) for answer in answers if isinstance(answer, Counts) and answer.paused is None)
        return self._pace.should_wait(self._low, due, monotonic())

    async def _read(self) -> None:
        began = monotonic()
        self._held = await self.journal.read(self._count)
        if not self._is_full():
            self._pace.has_read_all(began)

    def _is_full(self) -> bool:
        """Whether the journal may have more than was read."""
        return any(len(batch.entries) >= self._count for batch in self._held)

    async def _write(self) -> float:
        """Write what was read, and acknowledge it; return the seconds until the next read."""
        events = [event for batch in self._held for event in batch.events]
        are_late = self._are_late(events)
        call = in_thread if are_late else self._calm.call
        jobs = await call(self._writer.write, events)
        await self.journal.ack(self._held)
        is_full, self._held = self._is_full(), []
        self._count = self._next_count(events, LONG if are_late else SHORT, is_full=is_full)
        self.tally.count("archive_events_total", (), len(events))
        log.debug("archive.written events=%d jobs=%d", len(events), jobs)
        return 0.0 if is_full else GATHER

    def _next_count(self, events: Sequence[Event], most: int, *, is_full: bool) -> int:
        """The entries per read, after a read of these events: its size and its number of events are limited."""
        size = sum(len(event.envelope) + len(event.record) for event in events)
        if size >= ENOUGH:
            return max(1, self._count // 2)
        room = max(1, self._count * most // max(1, len(events)))
        return min(MOST, self._count * 2 if is_full else self._count, room)

    def _are_late(self, events: Sequence[Event]) -> bool:
        """Whether events should be written with the priority of other work."""
        if self._backlog > self._config.journal_max // FULL:
            return True
        return bool(events) and wall_us() - min(event.at for event in events) > to_us(LATE)

    def _stumbled(self, error: BaseException) -> float:
        """Log the error, if it is due; return the pause before the next try, which doubles each time."""
        self.tally.count("archive_errors_total")
        reason = str(error).split("\n", 1)[0]
        self._absence.failed(f"{mask_url(self._config.archive_url or '')}: {reason}", level=logging.ERROR)
        wait, self._pause = self._pause, min(LONGEST_PAUSE, self._pause * 2)
        return wait

    def _prepare(self) -> bool:
        """Create the tables if there are none; return whether their revision is the one that this version writes."""
        current, needed = self._schema.revisions(self._engine)
        if current is None:
            needed = self._schema.make_tables(self._engine)
            log.info("archive.made tables at revision %s", needed)
        elif current != needed:
            is_newer = self._schema.is_newer(self._engine, current)
            later = "of a later jobfleet; upgrade the reaper"
            remedy = later if is_newer else f"and need {needed}; run 'jobfleet archive upgrade'"
            self._mismatch.failed(f"its tables are at revision {current} {remedy}", level=logging.ERROR)
            return False
        self._mismatch.succeeded()
        return True

    def _prune(self) -> None:
        """Delete jobs that are older than their retention time."""
        retention, failed_retention = self._config.archive_ttl, self._config.archive_failed_ttl
        failed_retention = retention if failed_retention is None else failed_retention
        from jobfleet.archive import JobRepository

        repository = JobRepository(self._engine, namespace=self._config.namespace)
        for age, chosen in ((failed_retention, {JobStatus.FAILED}), (retention, _FINAL - {JobStatus.FAILED})):
            if age is not None and (count := repository.prune(age, status=chosen)):
                log.info("archive.pruned jobs=%d older than %g s", count, age)
        if retention is not None and (count := self._audit.prune(retention)):
            log.info("archive.pruned audit=%d older than %g s", count, retention)


_FINAL = frozenset(status for status in JobStatus if status.is_final)


EVERY = 1.0
"""Seconds between looks at the audit."""


class AuditCopy:
    """Copies new records of the audit from Redis into the archive; a part of the archive duty.

    Every reaper copies what it has not read yet, from the last record in the database. A record that is written twice
    changes nothing, so reapers need not agree.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        engine: The database.
        config: The settings.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, engine: Any, config: JobConfig) -> None:
        from jobfleet.archive.copies import AuditArchive

        self._store = store
        self._archive = AuditArchive(engine, config.namespace, keys.seals)
        self._keys = keys
        self._after: str | None = None
        self._look_at = float("-inf")

    async def turn(self) -> None:
        """Copy the records that are new since the last turn, if it is time.

        Raises:
            DBAPIError: The database is unreachable, or lacks tables or rights. The next turn reads the records again.
        """
        if monotonic() < self._look_at:
            return
        if self._after is None:
            self._after = await in_thread(self._archive.last)
        while True:
            found = await drive(self._store, entries_after(self._keys, self._after))
            if found.records:
                await in_thread(self._archive.write, found.records)
            self._after = found.after
            if found.is_last:
                break
        self._look_at = monotonic() + EVERY

    def prune(self, age: float) -> int:
        """Delete records that are older; return how many."""
        return self._archive.prune(age)
