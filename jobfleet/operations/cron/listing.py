"""Recurring jobs: list them with their last and next fires, and read their ledgers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from jobfleet.cron import Cron, Fire, from_us
from jobfleet.errors import EncodingError, InvalidJob, JobNotFound
from jobfleet.functions.callables import CLEANUP
from jobfleet.functions.manifest import read_cron
from jobfleet.model.option_checks import similar_function
from jobfleet.model.status import check_number
from jobfleet.operations.cron.entries import DECORATOR, entry_of, find, is_published
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.results import moment
from jobfleet.operations.workers.info import WorkerInfo, runs_undecorated, workers_of
from jobfleet.store.calls import cron as calls
from jobfleet.store.calls import presence
from jobfleet.store.records import FleetSeen
from jobfleet.store.rows import kept, report

HISTORY = 50


class CronFire(NamedTuple):
    """The outcome of one planned fire.

    Attributes:
        at: The planned time.
        outcome: fired, late, skipped, missed or overlapped.
        job_id: The job of the fire; for ``overlapped`` the job that was still open.
        nominal: The local time of the schedule, as an instant.
        note: How a change of the clocks moved it; may be empty.
    """

    at: datetime
    outcome: str
    job_id: str | None
    nominal: datetime
    note: str


@dataclass(frozen=True, slots=True)
class CronInfo:
    """A recurring job at one moment.

    Attributes:
        name: The name of the entry.
        cron: The schedule.
        queue: The queue of its jobs.
        function: The function of its jobs.
        origin: ``decorator``, or who added the entry.
        is_orphaned: Whether it came from a decorator that no worker publishes any more.
        paused: Who paused it; None when it is not paused.
        paused_at: When it was paused.
        last: The outcome of its last fire; None when it has not fired.
        next: Its next fire; None when it has none, or is paused.
        fired_by: The live processes that have announced that they fire recurring jobs, as ``reaper ID`` or ``worker
            ID``. Empty when there is none; a reaper of an older version does not announce itself.
        doubt: That no worker has published its function; empty if one has.
    """

    name: str
    cron: Cron
    queue: str
    function: str
    origin: str
    is_orphaned: bool
    paused: str | None
    paused_at: datetime | None
    last: CronFire | None
    next: Fire | None
    fired_by: tuple[str, ...] = ()
    doubt: str = ""


def firing(context: FleetContext, attendants: Iterable[presence.Attendant]) -> tuple[str, ...]:
    """The live processes that fire recurring jobs, as ``reaper ID`` or ``worker ID``."""
    gone_us = round(context.config.gone_after * 1e6)
    return tuple(sorted(f"{one.role} {one.id}" for one in attendants if one.silent <= gone_us and one.role != "relay"))


def fired_by(names: Sequence[str]) -> str:
    """`CronInfo.fired_by` as text; it must not be empty."""
    reapers = [name for name in names if name.startswith("reaper ")]
    return ", ".join(reapers) if reapers else f"{', '.join(names)}, since no reaper is alive"


def recurring(seen: FleetSeen) -> list[str]:
    """The names of the published functions that have a schedule."""
    return sorted(name for name, record in seen.functions.items() if read_cron(record) is not None)


def listing(context: FleetContext, *, limit: int | None = None, after: str = "") -> Operation[list[CronInfo]]:
    """List entries by name.

    Args:
        context: The context of the fleet.
        limit: The most entries; None for all.
        after: Only entries whose names come after this one.

    Raises:
        InvalidJob: `limit` is not a whole number from 1.
    """
    if limit is not None:
        check_number(limit)
    now, rows = value((yield (calls.entries(context.keys),)))
    chosen = [row for row in rows if row.name > after] if after else rows
    return (yield from _infos(context, now, chosen[:limit]))


def pending(context: FleetContext) -> Operation[list[str]]:
    """Return the names of the published schedules that no reaper has stored yet."""
    answers = yield (context.fleet_call(), calls.entries(context.keys))
    seen, (_, rows) = value(answers[:1]), value(answers[1:])
    return sorted(set(recurring(seen)) - {row.name for row in rows})


def get(context: FleetContext, name: str) -> Operation[CronInfo]:
    """Read one entry.

    Raises:
        JobNotFound: No entry has this name, or a later version wrote it.
    """
    found = yield from find(context, name)
    infos = yield from _infos(context, found.now, [found.row])
    if not infos:
        raise JobNotFound(name, f"Cron entry {name!r} cannot be read: a later version of jobfleet wrote it.")
    return infos[0]


def _infos(context: FleetContext, now: int, rows: Sequence[calls.Scheduled]) -> Operation[list[CronInfo]]:
    if not rows:
        return []
    answers = yield (context.fleet_call(), presence.attendants(context.keys))
    seen, by = value(answers[:1]), firing(context, value(answers[1:]))
    workers = workers_of(context, seen)
    lasts = yield [calls.history(context.keys, row.name, limit=1) for row in rows]
    infos = []
    for row, answer in zip(rows, lasts, strict=True):
        try:
            entry = entry_of(row.record)
        except (InvalidJob, EncodingError) as error:  # something else, or a later version, wrote it
            report([f"cron has {row.name:.100}: {error}"])
            continue
        fires = _fires(value([answer]))
        infos.append(
            CronInfo(
                name=row.name,
                cron=entry.cron,
                queue=entry.queue,
                function=entry.function,
                origin=entry.origin,
                is_orphaned=entry.origin == DECORATOR and not is_published(seen, row.name),
                paused=row.paused,
                paused_at=moment(row.paused_at) if row.paused else None,
                last=fires[0] if fires else None,
                next=entry.cron.next(from_us(now)) if row.paused is None else None,
                fired_by=by,
                doubt=_doubt(entry.function, seen, workers),
            )
        )
    return infos


def _doubt(function: str, seen: FleetSeen, workers: Sequence[WorkerInfo]) -> str:
    if function == CLEANUP or function in seen.functions or runs_undecorated(workers, function):
        return ""
    meant = similar_function(function, seen.functions)
    close = f"; did you mean {meant!r}?" if meant else "."
    return f"No worker has published {function!r}{close} The job is parked until one does."


def history(context: FleetContext, name: str, *, limit: int = HISTORY) -> Operation[list[CronFire]]:
    """List the outcomes of the last fires of an entry, newest first.

    Args:
        context: The context of the fleet.
        name: The name of the entry.
        limit: The most fires to return; 1,000 are kept.

    Raises:
        InvalidJob: `limit` is not a whole number from 0.
        JobNotFound: No entry has this name.
    """
    check_number(limit, least=0)
    yield from find(context, name)
    if not limit:
        return []
    return _fires(value((yield (calls.history(context.keys, name, limit=limit),))))


def _fires(notes: Sequence[tuple[int, str]]) -> list[CronFire]:
    """Decode notes of the ledger of an entry; leave out those that cannot be read."""
    return kept(notes, lambda note: _fire_of(*note), "the ledger of a recurring job")


def _fire_of(at: int, text: str) -> CronFire:
    outcome, job_id, nominal, *note = text.split(" ", 3)
    return CronFire(from_us(at), outcome, None if job_id == "-" else job_id, from_us(int(nominal)), "".join(note))
