"""The outbox duty: moves the committed rows of a transactional outbox to Redis.

A row is claimed, its job is enqueued under the id that the row has, and then the row is deleted. If the relay, the
database or Redis dies in between, the row is still there, and the next relay enqueues the same id again, which changes
nothing. Any number of relays share an outbox. A row that can never be enqueued is marked and stays; others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from typing import Literal

from jobfleet.clock import monotonic, span, to_us
from jobfleet.config import JobConfig
from jobfleet.config.table import needs_sql
from jobfleet.errors import ConfigError, FleetFull, JobfleetError, StoreUnavailable
from jobfleet.metrics.tally import Tally
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.operations.outbox import Fate, Outcome, Packed, relay
from jobfleet.outbox import OutboxUnavailable
from jobfleet.outbox.statements import Postponed, Refused, Row, Source, Verdict, name_of_url, relay_id
from jobfleet.services.long_lived import RepeatedFault, describe
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.presence import attend

log = logging.getLogger("jobfleet.outbox")
FEWEST, MOST = 16, 512
"""Rows per claim. The number starts low, because their size is unknown, and grows until a claim has `ENOUGH` bytes."""
ENOUGH = 4 * 1024**2
ANSWER = 15.0
"""Seconds for which claimed rows wait for Redis before they are released."""
LISTEN = 1.0
"""Seconds for which one turn waits for an announcement; the next one looks, in case that one was lost."""
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
LONGEST_POSTPONEMENT = 60.0
FORGOTTEN = 3 * LONGEST_POSTPONEMENT
"""Seconds after its last try for which a postponed row counts as waiting; another relay may have relayed it."""


class Outbox(Service):
    """Relays the rows of an outbox.

    Args:
        store: The connection to Redis.
        config: The settings, with the URL of the database.
        tally: Counts the metrics.

    Raises:
        ConfigError: There is no outbox, its URL is not supported, or a package is missing.
    """

    name = "outbox"

    def __init__(self, store: AsyncStore, config: JobConfig, tally: Tally) -> None:
        super().__init__(tally)
        if config.outbox_url is None:
            raise ConfigError("There is no outbox: set outbox_url / JOBFLEET_OUTBOX_URL.")
        self._store = store
        self._context = FleetContext(config)
        self._poll = config.outbox_poll
        self._source = source_of(config.outbox_url, config.namespace)
        self._process = relay_id(name_of_url(config.outbox_url))
        self._announced = float("-inf")
        self._count = FEWEST
        self._pause = FIRST_PAUSE
        self._absence = RepeatedFault(log, "outbox", began="away", ended="back")
        self._delays: dict[str, _Delay] = {}

    async def turn(self) -> float:
        """Relay the rows that are due; return the seconds until the next turn."""
        if monotonic() - self._announced >= self._context.config.beat:
            await self._attend("relay")
            self._announced = monotonic()
        try:
            rows = await self._source.claim(self._count)
            if rows:
                await self._relay(rows)
                wait = 0.0
            else:
                await self._source.wait(LISTEN)
                wait = 0.0 if self._source.notifies else self._poll
        except OutboxUnavailable as error:
            self.tally.count("sql_outbox_errors_total")
            self._absence.failed(str(error), level=logging.ERROR)
            return self._longer_pause()
        self._absence.succeeded()
        self._pause = FIRST_PAUSE
        return wait

    async def stop(self) -> None:
        """Stop the duty and close the connection. Rows that were claimed are released."""
        await super().stop()
        if self._announced > float("-inf"):
            with suppress(JobfleetError):
                await self._attend("nobody", patience=1.0)
        await self._source.close()

    async def _attend(self, role: Literal["relay", "nobody"], **patience: float) -> None:
        """Announce what this process relays, or that it stops; programs and the doctor read that."""
        gone_us = round(self._context.config.gone_after * 1e6)
        await self._store.run(attend(self._context.keys, self._process, role, gone_us=gone_us), **patience)

    def _longer_pause(self) -> float:
        wait, self._pause = self._pause, min(LONGEST_PAUSE, self._pause * 2)
        return wait

    async def _relay(self, rows: Sequence[Row]) -> None:
        found: dict[int, Outcome] = {}
        began = monotonic()
        try:
            async with asyncio.timeout(ANSWER):
                await self._enqueue(rows, found)
        except TimeoutError:
            self._count = max(1, len(rows) // 2)  # their arguments, or the jobs that they wait for, take long
            await self._conclude([row for row in rows if row.seq in found], found)
            raise StoreUnavailable(
                f"Redis and the payload store have taken {len(found)} of {len(rows)} rows of the outbox within "
                f"{span(ANSWER)}."
            ) from None
        except BaseException:
            with suppress(OutboxUnavailable):  # the first error counts: above all the end of the duty
                await self._source.release()
            raise
        await self._conclude(rows, found)
        took, size = monotonic() - began, sum(len(row.job) for row in rows)
        if size >= ENOUGH or took > ANSWER / 2:
            self._count = max(1, self._count // 2)
        elif took < ANSWER / 4:
            self._count = min(MOST, self._count * 2)

    async def _conclude(self, rows: Sequence[Row], found: Mapping[int, Outcome]) -> None:
        """Write how rows ended, and unlock all that were claimed; count and log it."""
        outcomes = await self._patient([found[row.seq] for row in rows])
        await self._source.finish(_verdict(rows, outcomes))
        for fate, number in Counter(one.fate for one in outcomes).items():
            self.tally.count("sql_outbox_jobs_total", (fate.value,), number)
        self._report(rows, outcomes)

    async def _patient(self, outcomes: list[Outcome]) -> list[Outcome]:
        """Postpone the jobs that were refused for a parent which is still a row that waits."""
        lost = {parent for one in outcomes if one.fate is Fate.REFUSED for parent in one.parents}
        waiting = await self._source.waiting(lost) if lost else frozenset()
        if not waiting:
            return outcomes
        return [
            one._replace(fate=Fate.POSTPONED)
            if one.fate is Fate.REFUSED and not waiting.isdisjoint(one.parents)
            else one
            for one in outcomes
        ]

    async def _enqueue(self, rows: Sequence[Row], found: dict[int, Outcome]) -> None:
        """Enqueue rows; after an unexpected error one by one, so that only the row that causes it is refused.

        Args:
            rows: The rows.
            found: Gets how they ended, by `seq`; after an error, as far as it is known.
        """
        packed = [Packed(row.id, row.job, row.age_us, row.tries) for row in rows]
        outcomes: dict[int, Outcome] = {}
        try:
            await drive(self._store, relay(self._context, packed, outcomes))
        except (StoreUnavailable, FleetFull, ConfigError):
            raise
        except Exception as error:
            outcomes.clear()
            if len(rows) == 1:
                log.exception("outbox.unexpected id=%s", rows[0].id)
                outcomes[0] = Outcome(Fate.REFUSED, describe(error))
            else:
                for row in rows:
                    await self._enqueue([row], found)
        finally:
            found.update({rows[place].seq: one for place, one in outcomes.items()})

    def _report(self, rows: Sequence[Row], outcomes: Sequence[Outcome]) -> None:
        delayed: defaultdict[str, list[tuple[Row, str]]] = defaultdict(list)
        for row, (fate, error, cause, _) in zip(rows, outcomes, strict=True):
            if fate is Fate.REFUSED:
                log.error("outbox.refused id=%s %s 'jobfleet outbox ls' lists such rows.", row.id, error)
            elif fate is Fate.POSTPONED:
                delayed[cause or error].append((row, error))
        for cause, found in delayed.items():
            self._delays.setdefault(cause, _Delay()).failed(found)
        claimed = {row.seq for row in rows}
        for cause, delay in list(self._delays.items()):
            if delay.is_over_with(claimed - {row.seq for row, _ in delayed.get(cause, ())}):
                del self._delays[cause]


class _Delay:
    """The rows that wait for one reason, which is logged once, once per minute, and when none waits for it any more."""

    def __init__(self) -> None:
        self._fault = RepeatedFault(log, "outbox", began="delayed", ended="in_time")
        self._text = ""
        self._rows: set[int] = set()
        self._seen_at = monotonic()

    def failed(self, found: Sequence[tuple[Row, str]]) -> None:
        """Note another try of some rows, each with its error."""
        first, error = found[0]
        self._text = self._text or f"id={first.id} {_more(len(found) - 1)}{error}"
        self._rows.update(row.seq for row, _ in found)
        self._seen_at = monotonic()
        self._fault.failed(self._text)

    def is_over_with(self, others: AbstractSet[int]) -> bool:
        """Forget rows that wait for it no more; log its end if it was the last one, or others relay the rest."""
        self._rows -= others
        if self._rows and monotonic() - self._seen_at < FORGOTTEN:
            return False
        self._fault.succeeded()
        return True


def _more(number: int) -> str:
    return f"and {number} more rows: " if number > 1 else "and 1 more row: " if number else ""


def source_of(url: str, namespace: str) -> Source:
    """The rows of a database.

    Args:
        url: URL of the database.
        namespace: Namespace of the fleet.

    Raises:
        ConfigError: The database is not supported, or a package is missing.
    """
    with needs_sql("outbox"):
        if url.startswith("postgres"):
            from jobfleet.outbox.postgres import ListeningSource

            return ListeningSource(url, namespace)
        from jobfleet.outbox.rows import PolledSource

        return PolledSource(url, namespace)


def _verdict(rows: Sequence[Row], outcomes: Sequence[Outcome]) -> Verdict:
    verdict = Verdict()
    for row, (fate, error, *_) in zip(rows, outcomes, strict=True):
        if fate is Fate.REFUSED:
            verdict.refused.append(Refused(row.seq, error))
        elif fate is Fate.POSTPONED:
            pause = min(LONGEST_POSTPONEMENT, 2.0 ** min(row.tries, 10))
            verdict.postponed.append(Postponed(row.seq, error, to_us(pause)))
        else:
            verdict.done.append(row.seq)
    return verdict
