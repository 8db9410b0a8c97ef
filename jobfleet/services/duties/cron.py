"""The cron duty: enqueues due fires of recurring jobs, each once per fleet.

One script in the entry's lane moves the progress mark and creates the job, so any number of reapers may run this duty.
The ledger is written after the script; a reaper that finds the fire done writes it again, in case the first one died.

The fires of up to 50 entries of a lane travel in one pipeline, and then their notes. There is one fire per entry in it:
the next one of an entry follows when this one is noted. So a reaper that dies leaves at most its last fire without a
note, and a fire that fails is not passed by a later one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Literal, NamedTuple

from jobfleet.clock import LATEST_US, monotonic
from jobfleet.codec import amended, decode, encode, header_or_empty
from jobfleet.config import JobConfig
from jobfleet.cron import SAME_GROUP, CronEntry, Planned, from_us, plan, plan_starts, to_us
from jobfleet.errors import EncodingError, InvalidJob, JobfleetError
from jobfleet.metrics.tally import Tally
from jobfleet.operations.cron import Decorated, decorated, entry_of, lane_of, storing, too_many
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import batches
from jobfleet.services.confirmations import Confirmations
from jobfleet.services.duties.fire_outcomes import FireFollower
from jobfleet.services.service import Service
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import DURABILITY, KNOWN, Call
from jobfleet.store.calls import cron as calls
from jobfleet.store.calls import enqueue, inspect
from jobfleet.store.calls.presence import attend, kinds
from jobfleet.store.keys import Lane
from jobfleet.store.records import Entry, FleetSeen, KindsSeen
from jobfleet.store.rows import number_of

log = logging.getLogger("jobfleet.reaper")
EVERY = 1.0
LOOK_AT_FUNCTIONS = 5.0
NOTE_TIMES = 60.0
"""Seconds after which the times of all entries are written down again, because others may have changed them."""
NEVER = datetime.max.replace(tzinfo=UTC)
STEP = timedelta(seconds=60)
"""A mark that is later than now by more than this was set before Redis's clock stepped back."""
NODE_PATIENCE = 2.0
"""Seconds to wait for a node of a cluster. The turn then fails, and the next one leaves its lanes out."""


class Known(NamedTuple):
    """The state that this reaper keeps for an entry.

    Attributes:
        stored: The entry as stored.
        entry: The parsed entry.
        lane: The lane of its jobs.
        mark: The last handled fire; earlier ones are not considered.
        quiet_until: No fire is due before this time, so that most turns need not ask the schedule.
    """

    stored: calls.Scheduled
    entry: CronEntry
    lane: Lane
    mark: datetime
    quiet_until: datetime


@dataclass(slots=True)
class Due:
    """An entry whose fires are due.

    Attributes:
        name: Its name.
        left: The decisions about its fires that are still to be carried out.
        level: The durability of its jobs.
        unusual: The fires that did not fire in time, by outcome.
    """

    name: str
    left: Iterator[Planned]
    level: str
    unusual: dict[str, list[datetime]] = field(default_factory=dict)


class Attempt(NamedTuple):
    """One fire that is sent."""

    due: Due
    planned: Planned
    job: Entry


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
        self._store = store = store.within(NODE_PATIENCE)
        self._confirmations = Confirmations(store, config, log)
        self._context = FleetContext(config)
        self._known: dict[str, Known] = {}
        self._gone: dict[tuple[str, Lane], datetime] = {}
        """Entries that were removed, or moved to another lane, and the time up to which their marks are to go."""
        self._refused: dict[str, bytes] = {}
        self._looked = 0
        self._noted: dict[str, tuple[int, bytes]] = {}
        self._noted_at = 0
        self._starts: Starts = {}
        self._follower = FireFollower(store, self._context)

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
        await self._learn(rows, from_us(self._clock(now)))
        if seen is not None and any(known.entry.cron.is_startup for known in self._known.values()):
            gone_us = round(self._context.config.gone_after * 1e6)
            kinds_seen = await self._store.run(kinds(self._context.keys, gone_us=gone_us))
            self._starts = starts_of(seen, kinds_seen, gone_us=gone_us)
        at = from_us(self._clock(now))
        # An entry whose node is away fires late, like after an outage.
        names = [
            name
            for name, known in self._known.items()
            if known.stored.paused is None and not self._store.is_away(known.lane)
        ]
        for name in names:
            if self._known[name].mark - at > STEP and not self._known[name].entry.cron.is_startup:
                await self._set_back(name, at)
        await self._fire_all(names, at)
        await self._note_times(now)
        await self._follower.turn({name: known.mark for name, known in self._known.items()})
        return min([EVERY, *(self._until_next(name, at) for name in names)])

    async def stop(self) -> None:
        """Stop the duty, and let another process take over at once; Redis may be unavailable."""
        await super().stop()
        if self._process is not None:
            with suppress(JobfleetError):
                await self._attend(self._process, "nobody", patience=1.0)

    async def _attend(self, process: str, role: Literal["reaper", "nobody"], **patience: float) -> None:
        gone_us = round(self._context.config.gone_after * 1e6)
        await self._store.run(attend(self._context.keys, process, role, gone_us=gone_us), **patience)

    def _until_next(self, name: str, now: datetime) -> float:
        known = self._known[name]
        following = known.quiet_until
        if following <= now:
            following = _time_after(known.entry, known.mark)
            self._known[name] = known._replace(quiet_until=following)
        if following <= now:  # it is still due: its last job is open
            following = _time_after(known.entry, now)
        return max(0.005, (following - now).total_seconds())

    async def _adopt(self, rows: Iterable[calls.Scheduled], seen: FleetSeen) -> bool:
        """Store the entries of decorators that workers have published; return whether any is new or changed."""
        stored: Mapping[str, calls.Scheduled] = {row.name: row for row in rows}
        changed = False
        for made in decorated(self._context, seen):
            if isinstance(made, Decorated):
                record = encode(made.entry.dump())
                row = stored.get(made.entry.name)
                if row is None or row.record != record:
                    word = await self._store.run(self._add_call(made.entry))
                    if word == "full":
                        self._refuse(made.entry.name, b"full", too_many(made.entry.name))
                        continue
                    log.info("cron.%s entry=%s from its decorator", word, made.entry.name)
                    changed = True
            else:
                self._refuse(made[0], made[1].encode(), made[1])
        return changed

    def _add_call(self, entry: CronEntry) -> Call[str]:
        """The call that stores an entry. A worker starts before it publishes ``@startup``, so that start counts too."""
        back_us = round(entry.cron.misfire_window * 1e6) if entry.cron.is_startup else 0
        return storing(self._context.keys, entry, back_us=back_us)

    async def _note_times(self, now: int) -> None:
        """Write down when new and changed entries fire, those of the former revision too; now and then, all."""
        known = {name: (one.stored.since, one.stored.record) for name, one in self._known.items()}
        if again := abs(now - self._noted_at) >= NOTE_TIMES * 1e6:
            self._noted_at, self._noted = now, {}
        fresh = [name for name, kept in known.items() if self._noted.get(name) != kept]
        if fresh or again or self._noted.keys() - known.keys():
            for part in batches(fresh, calls.CHUNK) if fresh else [()]:
                times = [(name, known[name][0], encode(self._known[name].entry.times.dump())) for name in part]
                await self._store.run(calls.note_times(self._context.keys, times))
        self._noted = known

    def _refuse(self, name: str, cause: bytes, why: str) -> None:
        """Log once that an entry is refused."""
        if self._refused.get(name) != cause:
            self._refused[name] = cause
            log.error("cron.refused entry=%s %s", name, why)

    async def _learn(self, stored: Iterable[calls.Scheduled], now: datetime) -> None:
        """Load new and changed entries, and drop deleted ones."""
        rows = {row.name: row for row in stored}
        for name in [name for name in self._known if name not in rows]:
            self._drop(name, self._known.pop(name), now=now)
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
            if self._store.is_away(lane):
                continue
            if (former := self._known.get(row.name)) is not None and former.lane != lane:
                self._drop(row.name, former, now=now)
            mark, job_id = (await self._store.run(calls.marks(lane, [row.name])))[0]
            if job_id.endswith(entry.suffix(from_us(mark))):  # the reaper that fired may have died before its note
                note = f"fired {job_id} {mark}"
                await self._store.run(calls.ledger(self._context.keys, row.name, [(mark, note)]))
            since = from_us(max(mark, row.since))
            self._known[row.name] = Known(row, entry, lane, since, quiet_until=since)
        await self._unmark_gone()

    def _drop(self, name: str, known: Known, *, now: datetime | None = None) -> None:
        """Note that an entry is gone, as known now or since its last fire: its mark is to go, too."""
        self._gone[name, known.lane] = max(now or known.mark, known.mark)

    async def _unmark_gone(self) -> None:
        """Delete the marks of entries that are gone, as soon as their nodes are there."""
        for (name, lane), until in list(self._gone.items()):
            if not self._store.is_away(lane):
                await self._store.run(calls.unmark(lane, name, until_us=to_us(until)))
                del self._gone[name, lane]

    async def _set_back(self, name: str, now: datetime) -> None:
        """Continue from now, because Redis's clock has stepped back. A fire whose job is known makes no second job."""
        known = self._known[name]
        call = calls.set_back(known.lane, name, to_us(now), tolerance_us=round(STEP.total_seconds() * 1e6))
        mark = from_us(await self._store.run(call))
        self._known[name] = known._replace(mark=mark, quiet_until=mark)
        log.warning("cron.set_back entry=%s from=%s to=%s the clock of Redis stepped back", name, known.mark, mark)

    async def _fire_all(self, names: Iterable[str], now: datetime) -> None:
        """Carry out what is due, in batches of a lane; raise the first error when everything else is done."""
        batches: dict[Lane, list[Due]] = {}
        levels: dict[str, str] = {}
        errors: list[JobfleetError] = []
        for name in names:
            known = self._known[name]
            planned = self._plan(known, now)
            if not planned:
                continue
            await asyncio.sleep(0)  # to plan many late fires takes a while, and other duties share the loop
            is_to_fire = any(one.is_to_fire for one in planned)
            batch = batches.setdefault(known.lane, [])
            batch.append(Due(name, iter(planned), await self._level(known, levels) if is_to_fire else ""))
            if len(batch) == calls.CHUNK:
                await self._fire_batch(known.lane, batches.pop(known.lane), errors)
        for lane, batch in batches.items():
            await self._fire_batch(lane, batch, errors)
        await self._unmark_gone()
        if errors:
            raise errors[0]

    def _plan(self, known: Known, now: datetime) -> list[Planned]:
        entry, mark = known.entry, known.mark
        if not entry.cron.is_startup:
            return plan(entry, mark, now) if known.quiet_until <= now else []
        is_start = to_us(mark) > known.stored.since
        return plan_starts(entry, self._starts.get(entry.function, ()), mark, now, is_start=is_start)

    async def _fire_batch(self, lane: Lane, batch: Sequence[Due], errors: list[JobfleetError]) -> None:
        """Carry out the decisions about entries of a lane, one fire of each entry at a time.

        Args:
            lane: The lane.
            batch: At most 50 entries.
            errors: Receives the errors; no further fire of such an entry is tried.
        """
        left = list(batch)
        try:
            while attempts := [self._attempt(due, planned) for due in left for planned in _one(due.left)]:
                left = await self._carry_out(lane, attempts, errors)
        finally:
            for due in batch:
                for outcome, fires in due.unusual.items():
                    _report(self._known[due.name].entry, outcome, fires)

    async def _carry_out(self, lane: Lane, attempts: Sequence[Attempt], errors: list[JobfleetError]) -> list[Due]:
        """Execute the decisions about one fire of some entries; return the entries to continue with."""
        sent = [self._fire_call(attempt) for attempt in attempts]
        levels = frozenset(due.level for due, planned, _ in attempts if planned.is_to_fire) & KNOWN
        answers = await self._confirmations.run_many(lane, sent, levels, what=_named(attempts))
        left: list[Due] = []
        notes: dict[str, Call[int | None]] = {}
        for attempt, answer in zip(attempts, answers, strict=True):
            if isinstance(answer, JobfleetError):
                errors.append(answer)
            elif self._took(attempt, answer, notes):
                left.append(attempt.due)
        gone = set()
        for name, noted in zip(notes, await self._store.run_many(list(notes.values())), strict=True):
            if isinstance(noted, JobfleetError):
                errors.append(noted)
            elif noted is None:  # others have deleted its mark before this fire set it again
                gone.add(name)
                self._drop(name, self._known[name])
        return [due for due in left if due.name not in gone]

    def _attempt(self, due: Due, planned: Planned) -> Attempt:
        is_to_fire = planned.is_to_fire
        return Attempt(due, planned, self._job(due, planned) if is_to_fire else Entry("", 0, "", "", b""))

    def _fire_call(self, attempt: Attempt) -> Call[calls.Fired]:
        due, planned, job = attempt
        known = self._known[due.name]
        overlap = known.entry.cron.overlap if planned.is_to_fire else calls.PASS
        return calls.fire(known.lane, due.name, to_us(planned.fire.at), job, overlap=overlap)

    def _took(self, attempt: Attempt, answer: calls.Fired, notes: dict[str, Call[int | None]]) -> bool:
        """Take the answer to a fire; return whether to continue with the next fire of its entry.

        Args:
            attempt: The fire.
            answer: The answer.
            notes: Receives what is to be noted in the ledger of the entry.
        """
        due, planned, job = attempt
        at, known = planned.fire.at, self._known[due.name]
        if answer.word == "open":
            return False  # try again when the previous job has ended
        if answer.word == "already":
            self._known[due.name] = known._replace(mark=max(known.mark, from_us(answer.at)))
            if answer.at == to_us(at) and answer.id == job.id and planned.is_to_fire:
                # The process that fired may have died before its note.
                notes[due.name] = self._note(due.name, planned, planned.outcome, job.id)
            return answer.at <= to_us(at)
        self._known[due.name] = known._replace(mark=at)
        if planned.outcome == SAME_GROUP:
            return True
        outcome = "overlapped" if answer.word == "overlapped" else planned.outcome
        notes[due.name] = self._note(due.name, planned, outcome, answer.id or job.id)
        self.tally.count("cron_fires_total", (due.name, outcome))
        if outcome != "fired":
            due.unusual.setdefault(outcome, []).append(at)
        return True

    async def _level(self, known: Known, levels: dict[str, str]) -> str:
        """The durability of an entry's jobs: that of the entry, else of its queue, else of the fleet.

        Args:
            known: The entry.
            levels: The levels of queues that were read in this turn.
        """
        header = header_or_empty(known.entry.envelope)
        if DURABILITY in header:
            return str(header[DURABILITY])
        queue = known.lane.queue
        if queue not in levels:
            asked = self._store.run(enqueue.level(self._context.keys.lane(queue, 0)))
            levels[queue] = await asked or self._context.config.durability
        return levels[queue]

    def _job(self, due: Due, planned: Planned) -> Entry:
        known = self._known[due.name]
        entry, at = known.entry, planned.fire.at
        job_id = known.lane.id_prefix + entry.suffix(at)
        fields: dict[str, object] = {"nominal": to_us(planned.fire.nominal), "enqueued_at": to_us(at)}
        envelope = amended(entry.envelope, {**fields, DURABILITY: due.level} if due.level in KNOWN else fields)
        return Entry(job_id, entry.band, str(to_us(entry.due(at))), entry.meta, envelope)

    def _note(self, name: str, planned: Planned, outcome: str, job_id: str) -> Call[int | None]:
        text = f"{outcome} {job_id or '-'} {to_us(planned.fire.nominal)} {planned.fire.note}".rstrip()
        return calls.ledger(self._context.keys, name, [(to_us(planned.fire.at), text)])


def _time_after(entry: CronEntry, mark: datetime) -> datetime:
    fire = entry.cron.next(mark)
    return NEVER if fire is None else fire.at


def _one(left: Iterator[Planned]) -> list[Planned]:
    """The next decision; empty if there is none."""
    return list(islice(left, 1))


def _named(attempts: Sequence[Attempt]) -> str:
    more = f" and {len(attempts) - 1} more" if len(attempts) > 1 else ""
    return f"the fire {attempts[0].job.id}{more}"


def _report(entry: CronEntry, outcome: str, fires: Sequence[datetime]) -> None:
    """Log fires with the same outcome in one line, because a schedule by the second has many after an outage."""
    first, last = (at.astimezone().isoformat() for at in (fires[0], fires[-1]))
    more = f" last={last} fires={len(fires)}" if len(fires) > 1 else ""
    log.warning("cron.%s entry=%s planned=%s%s", outcome, entry.name, first, more)


# When the live workers have started, by the functions that they know.


Starts = Mapping[str, list[datetime]]


def starts_of(fleet: FleetSeen, kinds: KindsSeen, *, gone_us: int) -> Starts:
    """Return the starts of live workers by function, by Redis's clock.

    A worker of an older version does not report its start, and is left out.

    Args:
        fleet: A reading of the fleet.
        kinds: The kinds of its workers.
        gone_us: Silence in µs after which a worker counts as gone.
    """
    functions = {row.kind: row.functions for row in kinds.kinds}
    starts: dict[str, list[datetime]] = {}
    for worker in fleet.workers:
        if fleet.now - worker.beat > gone_us:
            continue
        joined, known = _account(worker.account)
        if joined:
            for function in {name for kind in known for name in functions.get(kind, {}) if name}:
                starts.setdefault(function, []).append(from_us(joined))
    return starts


def _account(account: bytes) -> tuple[int, list[str]]:
    """Read from an account when its worker has joined the fleet (µs; 0 if unknown), and the kinds of its children."""
    try:
        fields = decode(account) if account else None
    except EncodingError:
        fields = None
    if not isinstance(fields, dict):
        return 0, []
    joined, kinds = number_of(fields.get("joined", 0)), fields.get("kinds")
    return joined if 0 < joined < LATEST_US else 0, [str(kind) for kind in kinds] if isinstance(kinds, list) else []
