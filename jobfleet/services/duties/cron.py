"""The cron duty: enqueues due fires of recurring jobs, each once per fleet.

One script in the entry's lane moves the progress mark and creates the job, so any number of reapers may run this duty.
The ledger is written after the script; a reaper that finds the fire done writes it again, in case the first one died.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Literal, NamedTuple

from jobfleet.clock import monotonic
from jobfleet.codec import amended, encode, header_or_empty
from jobfleet.config import JobConfig
from jobfleet.cron import SAME_GROUP, CronEntry, Planned, from_us, plan, plan_starts, to_us
from jobfleet.errors import EncodingError, InvalidJob, JobfleetError
from jobfleet.metrics.tally import Tally
from jobfleet.operations.cron.entries import Decorated, decorated, entry_of, lane_of, too_many
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.services.confirmations import Confirmations
from jobfleet.services.service import Service
from jobfleet.services.worker_starts import Starts, starts_of
from jobfleet.store.aio import AsyncStore
from jobfleet.store.barrier import DURABILITY, KNOWN
from jobfleet.store.call import Call
from jobfleet.store.calls import cron as calls
from jobfleet.store.calls import enqueue, inspect
from jobfleet.store.calls.presence import kinds
from jobfleet.store.keys import Lane
from jobfleet.store.records import Entry, FleetSeen
from jobfleet.store.trip import only

log = logging.getLogger("jobfleet.reaper")
EVERY = 1.0
LOOK_AT_FUNCTIONS = 5.0


class Known(NamedTuple):
    """The state that this reaper keeps for an entry.

    Attributes:
        stored: The entry as stored.
        entry: The parsed entry.
        lane: The lane of its jobs.
        mark: The last handled fire; earlier ones are not considered.
    """

    stored: calls.Scheduled
    entry: CronEntry
    lane: Lane
    mark: datetime


class Cron(Service):
    """Enqueues the jobs of recurring entries.

    Args:
        store: The connection to Redis.
        config: The settings.
        tally: Counts the metrics.
        process: The id of the reaper. The duty announces it, so that no worker runs the duty as well. None for a
            worker, which announces itself before it starts the duty.
        clock: Converts Redis's time (µs) to the effective time; tests replace it.
    """

    name = "cron"

    def __init__(
        self,
        store: AsyncStore,
        config: JobConfig,
        tally: Tally,
        *,
        process: str | None = None,
        clock: Callable[[int], int] = lambda now: now,
    ) -> None:
        super().__init__(tally)
        self._process = process
        self._announced = float("-inf")
        self._clock = clock
        self._store = store
        self._confirmations = Confirmations(store, config, log)
        self._context = FleetContext(config)
        self._known: dict[str, Known] = {}
        self._refused: dict[str, bytes] = {}
        self._looked = 0
        self._starts: Starts = {}

    async def turn(self) -> float:
        """Enqueue the due fires; return the seconds until the next turn."""
        if self._process is not None and monotonic() - self._announced >= self._context.config.beat:
            await self._attend(self._process, "reaper")
            self._announced = monotonic()
        now, rows = await self._store.run(calls.entries(self._context.keys))
        seen: FleetSeen | None = None
        if abs(now - self._looked) >= LOOK_AT_FUNCTIONS * 1e6:
            self._looked = now
            seen = await self._store.run(inspect.fleet(self._context.keys, most=0))
            if await self._adopt(rows, seen):
                now, rows = await self._store.run(calls.entries(self._context.keys))
        await self._learn(rows)
        if seen is not None and any(known.entry.cron.is_startup for known in self._known.values()):
            gone_us = round(self._context.config.gone_after * 1e6)
            kinds_seen = await self._store.run(kinds(self._context.keys, gone_us=gone_us))
            self._starts = starts_of(seen, kinds_seen, gone_us=gone_us)
        soonest = EVERY
        for known in list(self._known.values()):
            if known.stored.paused is None:
                at = from_us(self._clock(now))
                await self._fire_due(known, at)
                soonest = min(soonest, self._until_next(known.stored.name, at))
        return soonest

    async def stop(self) -> None:
        """Stop the duty, and let another process take over at once; Redis may be unavailable."""
        await super().stop()
        if self._process is not None:
            with suppress(JobfleetError):
                await self._attend(self._process, "nobody", patience=1.0)

    async def _attend(self, process: str, role: Literal["reaper", "nobody"], **patience: float) -> None:
        gone_us = round(self._context.config.gone_after * 1e6)
        await self._store.run(calls.attend(self._context.keys, process, role, gone_us=gone_us), **patience)

    def _until_next(self, name: str, now: datetime) -> float:
        known = self._known[name]
        following = known.entry.cron.next(max(known.mark, now))
        return EVERY if following is None else max(0.005, (following.at - now).total_seconds())

    async def _adopt(self, rows: Iterable[calls.Scheduled], seen: FleetSeen) -> bool:
        """Store the entries of decorators that workers have published; return whether any is new or changed."""
        stored: Mapping[str, calls.Scheduled] = {row.name: row for row in rows}
        changed = False
        for made in decorated(self._context, seen):
            if isinstance(made, Decorated):
                record = encode(made.entry.dump())
                row = stored.get(made.entry.name)
                if row is None or row.record != record:
                    word = await self._store.run(self._add_call(made.entry, record))
                    if word == "full":
                        self._refuse(made.entry.name, b"full", too_many(made.entry.name))
                        continue
                    log.info("cron.%s entry=%s from its decorator", word, made.entry.name)
                    changed = True
            else:
                self._refuse(made[0], made[1].encode(), made[1])
        return changed

    def _add_call(self, entry: CronEntry, record: bytes) -> Call[str]:
        """The call that stores an entry. A worker starts before it publishes ``@startup``, so that start counts too."""
        back_us = round(entry.cron.misfire_window * 1e6) if entry.cron.is_startup else 0
        return calls.add(self._context.keys, entry.name, entry.fingerprint, record, back_us=back_us)

    def _refuse(self, name: str, cause: bytes, why: str) -> None:
        """Log once that an entry is refused."""
        if self._refused.get(name) != cause:
            self._refused[name] = cause
            log.error("cron.refused entry=%s %s", name, why)

    async def _learn(self, stored: Iterable[calls.Scheduled]) -> None:
        """Load new and changed entries, and drop deleted ones."""
        rows = {row.name: row for row in stored}
        for name in [name for name in self._known if name not in rows]:
            del self._known[name]
        fresh = []
        for row in rows.values():
            known = self._known.get(row.name)
            if known is not None and known.stored.record == row.record and known.stored.since == row.since:
                self._known[row.name] = known._replace(stored=row)
                continue
            try:
                entry = entry_of(row.record)
            except (InvalidJob, EncodingError) as error:
                if self._refused.get(row.name) != row.record:
                    self._refused[row.name] = row.record
                    log.error("cron.refused entry=%s %s", row.name, error)
                continue
            fresh.append((row, entry))
        for row, entry in fresh:
            opened = await self._store.run(self._context.open_queue_call(entry.queue))
            lane = lane_of(self._context.keys, entry, opened.home)
            mark, job_id = (await self._store.run(calls.marks(lane, [row.name])))[0]
            if job_id.endswith(entry.suffix(from_us(mark))):  # the reaper that fired may have died before its note
                note = f"fired {job_id} {mark}"
                await self._store.run(calls.ledger(self._context.keys, row.name, [(mark, note)]))
            self._known[row.name] = Known(row, entry, lane, from_us(max(mark, row.since)))

    async def _fire_due(self, known: Known, now: datetime) -> None:
        unusual: dict[str, list[datetime]] = {}
        try:
            for planned in self._plan(known, now):
                if not await self._carry_out(known, planned, unusual):
                    return
        finally:
            for outcome, fires in unusual.items():
                _report(known.entry, outcome, fires)

    def _plan(self, known: Known, now: datetime) -> list[Planned]:
        entry, mark = known.entry, known.mark
        if not entry.cron.is_startup:
            return plan(entry, mark, now)
        is_start = to_us(mark) > known.stored.since
        return plan_starts(entry, self._starts.get(entry.function, ()), mark, now, is_start=is_start)

    async def _carry_out(self, known: Known, planned: Planned, unusual: dict[str, list[datetime]]) -> bool:
        """Execute the decision about one fire; return whether to continue with the next fire.

        Args:
            known: The entry.
            planned: The decision.
            unusual: Receives the fire by its outcome, unless it fired in time.
        """
        entry, at = known.entry, planned.fire.at
        overlap = entry.cron.overlap if planned.is_to_fire else calls.PASS
        job, levels = Entry("", 0, "", "", b""), frozenset[str]()
        if planned.is_to_fire:
            level = await self._level(known)
            job, levels = self._job(known, planned, level), frozenset({level}) & KNOWN
        call = calls.fire(known.lane, entry.name, to_us(at), job, overlap=overlap)
        what = f"the fire {job.id}"
        answer: calls.Fired = only(await self._confirmations.run_many(known.lane, (call,), levels, what=what))
        if answer.word == "open":
            return False  # try again when the previous job has ended
        if answer.word == "already":
            self._known[entry.name] = known._replace(mark=max(known.mark, from_us(answer.at)))
            if answer.at == to_us(at) and answer.id == job.id and planned.is_to_fire:
                await self._note(known, planned, planned.outcome, job.id)  # its reaper may have died before its note
            return answer.at <= to_us(at)
        self._known[entry.name] = known = known._replace(mark=at)
        if planned.outcome == SAME_GROUP:
            return True
        outcome = "overlapped" if answer.word == "overlapped" else planned.outcome
        await self._note(known, planned, outcome, answer.id or job.id)
        self.tally.count("cron_fires_total", (entry.name, outcome))
        if outcome != "fired":
            unusual.setdefault(outcome, []).append(at)
        return True

    async def _level(self, known: Known) -> str:
        """The durability of the job of a fire: that of its entry, else of its queue, else of the fleet."""
        header = header_or_empty(known.entry.envelope)
        if DURABILITY in header:
            return str(header[DURABILITY])
        first = self._context.keys.lane(known.lane.queue, 0)
        return await self._store.run(enqueue.level(first)) or self._context.config.durability

    def _job(self, known: Known, planned: Planned, level: str) -> Entry:
        entry, at = known.entry, planned.fire.at
        job_id = known.lane.id_prefix + entry.suffix(at)
        fields: dict[str, object] = {"nominal": to_us(planned.fire.nominal), "enqueued_at": to_us(at)}
        envelope = amended(entry.envelope, {**fields, DURABILITY: level} if level in KNOWN else fields)
        return Entry(job_id, entry.band, str(to_us(entry.due(at))), entry.meta, envelope)

    async def _note(self, known: Known, planned: Planned, outcome: str, job_id: str) -> None:
        text = f"{outcome} {job_id or '-'} {to_us(planned.fire.nominal)} {planned.fire.note}".rstrip()
        await self._store.run(calls.ledger(self._context.keys, known.entry.name, [(to_us(planned.fire.at), text)]))


def _report(entry: CronEntry, outcome: str, fires: Sequence[datetime]) -> None:
    """Log fires with the same outcome in one line, because a schedule by the second has many after an outage."""
    first, last = (at.astimezone().isoformat() for at in (fires[0], fires[-1]))
    more = f" last={last} fires={len(fires)}" if len(fires) > 1 else ""
    log.warning("cron.%s entry=%s planned=%s%s", outcome, entry.name, first, more)
