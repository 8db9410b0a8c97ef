"""Recurring jobs: entries from jobs and decorators, and the verbs about them. See `verbs` for the form."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

from jobfleet.codec import decode, encode
from jobfleet.cron import Cron, CronEntry, Fire, from_us
from jobfleet.errors import DuplicateJob, EncodingError, InvalidJob, JobNotFound
from jobfleet.functions.manifest import read_cron, read_function, read_parameters
from jobfleet.model import Job, JobStatus, Receipt, new_suffix
from jobfleet.model.spec import check_job
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import refuse_displacing
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.prepare import Resolved, submission
from jobfleet.operations.operation import Operation, value
from jobfleet.store.call import Call
from jobfleet.store.calls import cron as calls
from jobfleet.store.calls import enqueue
from jobfleet.store.keys import Keyspace, Lane, lane_number
from jobfleet.store.records import Entry, FleetSeen, Holder

DECORATOR = "decorator"
HISTORY = 50


class CronFire(NamedTuple):
    """What became of one planned fire.

    Attributes:
        at: When it was planned.
        outcome: fired, late, skipped, missed or overlapped.
        job_id: Its job; for ``overlapped`` the one that was still open.
        nominal: The local time it stands for, as an instant.
        note: What a change of the clocks did to it.
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
        name: Its name.
        cron: When it runs.
        queue: Where its jobs go.
        function: What they run.
        origin: ``decorator``, or who added it.
        is_orphaned: Whether it came from a decorator that no worker has published any more.
        paused: Who paused it; None when nobody did.
        paused_at: Since when.
        last: What became of its last fire.
        next: Its next fire; None when there is none, or it is paused.
        fired_by: The live processes that have announced that they fire recurring jobs, as ``reaper ID`` or ``worker
            ID``. Empty when there is none; a reaper of an older version does not announce itself.
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


class Decorated(NamedTuple):
    """A recurring job that stands at its function."""

    entry: CronEntry


def entry_of(record: bytes) -> CronEntry:
    """Read a kept entry.

    Raises:
        InvalidJob: It is none.
        EncodingError: It cannot be read.
    """
    return CronEntry.load(decode(record))


def lane_of(keys: Keyspace, entry: CronEntry, home: int) -> Lane:
    """Where an entry fires: always in the same of its queue's home lanes, as its group or unique key has it."""
    return keys.lane(entry.queue, lane_number(entry.placement or entry.name, home))


def decorated(context: FleetContext, seen: FleetSeen) -> Iterator[Decorated | tuple[str, str]]:
    """The entries that stand at published functions; for one that cannot be, its name and why."""
    for name, record in seen.functions.items():
        said = read_cron(record)
        if said is None:
            continue
        options = read_function(record)
        try:
            function = Resolved(name, options, read_parameters(record))
            sent = submission(
                Job(name, name), function, _first_lane(context), limits=context.limits, windows=context.windows
            )
            entry = CronEntry(
                name=name,
                cron=Cron.load(said),
                queue=sent.lane.queue,
                function=name,
                envelope=sent.entry.envelope,
                band=sent.entry.band,
                meta=sent.entry.meta,
                origin=DECORATOR,
            )
        except (InvalidJob, EncodingError, KeyError, TypeError, ValueError) as error:
            yield name, str(error)
        else:
            yield Decorated(entry)


def _first_lane(context: FleetContext) -> Callable[[str, Job, str | None, str | None], Lane]:
    """The lane of an entry is told by `lane_of`, once it fires."""
    return lambda queue, _job, _key, _group: context.keys.lane(queue, 0)


def add_entry(
    context: FleetContext, name: str, cron: Cron, job: Job, *, by: str | None, is_new: bool = False
) -> Operation[str]:
    """Keep a recurring job under a name: added, changed or unchanged.

    Raises:
        InvalidJob: The name is wrong, or with `add` taken; or the job has a time or an id of its own.
    """
    check_job(job)
    for option in ("scheduled_at", "delay", "id", "expires_at"):
        if getattr(job, option) is not None:
            raise InvalidJob(f"{option} is not for recurring jobs: each fire has its own time and id.", field=option)
    refuse_displacing(job.on_conflict or "", "a recurring job")
    sent = yield from prepare(context, replace(job, cron_expression=None, tz=None))
    entry = CronEntry(
        name=name,
        cron=cron,
        queue=sent.lane.queue,
        function=str(getattr(job.function, "name", job.function)),
        envelope=sent.entry.envelope,
        band=sent.entry.band,
        meta=sent.entry.meta,
        origin=by or "-",
    )
    record = encode(entry.dump())
    word = value((yield (calls.add(context.keys, name, entry.fingerprint, record, is_new=is_new),)))
    if word == "taken":
        raise InvalidJob(f"There is a cron entry {name!r} already; give another name, or replace it.", field="name")
    if word == "full":
        raise InvalidJob(too_many(name), field="name")
    return str(word)


def too_many(name: str) -> str:
    """Why an entry was not kept, and what to do about it."""
    return (
        f"Cron entry {name!r} was not kept: there are {calls.MOST_ENTRIES:,}, which is the most. Remove some with "
        "'jobfleet cron rm NAME', or let one entry's job enqueue the others."
    )


def add(context: FleetContext, name: str, cron: Cron, job: Job, *, by: str | None, is_new: bool) -> Operation[str]:
    """Keep a recurring job that has not passed what stands around enqueues; with `is_new` no other has its name.

    Raises:
        InvalidJob: As `schedule`.
    """
    return (yield from add_entry(context, name, cron, context.apply_hooks(job), by=by, is_new=is_new))


def submit(context: FleetContext, job: Job, by: str | None = None) -> Operation[Receipt]:
    """Keep the entry that a job with a `cron_expression` asks for; the receipt names the job of its next fire.

    A job's name is a label for people, an entry's has no spaces: they become hyphens.
    """
    cron = Cron(str(job.cron_expression), job.tz or "UTC")
    name = "-".join(job.name.split())
    word = yield from add_entry(context, name, cron, job, by=by or job.user)
    kept, now = yield from _find(context, name)
    entry = entry_of(kept.record)
    home = value((yield (context.open_queue_call(entry.queue),)))[0]
    fire = cron.next(from_us(now))
    suffix = entry.suffix(fire.at) if fire is not None else job.suffix
    lane = lane_of(context.keys, entry, home)
    return Receipt(id=lane.id_prefix + suffix, created=word == "added", status=JobStatus.SCHEDULED)


def _find(context: FleetContext, name: str) -> Operation[tuple[calls.Scheduled, int]]:
    now, rows = value((yield (calls.entries(context.keys),)))
    for row in rows:
        if row.name == name:
            return row, now
    raise no_entry(name, [row.name for row in rows])


def no_entry(name: str, known: Sequence[str]) -> JobNotFound:
    """The error of a name that no entry has.

    Args:
        name: What was asked for.
        known: The names that there are; the first ten are told.
    """
    return JobNotFound(name, f"No cron entry {name!r}; there are: {', '.join(known[:10]) or 'none yet'}.")


def remove(context: FleetContext, name: str) -> Operation[None]:
    """Remove an entry and its history.

    Raises:
        JobNotFound: No entry has this name.
        InvalidJob: The decorator of a published function defines the entry, so the entry would come back.
    """
    row, _ = yield from _find(context, name)
    entry = entry_of(row.record)
    seen = value((yield (context.fleet_call(),)))
    if entry.origin == DECORATOR and _is_published(seen, name):
        raise InvalidJob(
            f"{name!r} stands at its function's decorator and would come back; pause it, or remove the decorator.",
            field="name",
        )
    home = value((yield (context.open_queue_call(entry.queue),)))[0]
    value((yield (calls.remove(context.keys, name),)))
    value((yield (calls.unmark(lane_of(context.keys, entry, home), name),)))


def _is_published(seen: FleetSeen, function: str) -> bool:
    record = seen.functions.get(function)
    return record is not None and read_cron(record) is not None


def pause(context: FleetContext, name: str, by: str | None) -> Operation[bool]:
    """Pause an entry; False when it was paused before.

    Raises:
        JobNotFound: No entry has this name.
    """
    return (yield from _has_changed(context, name, calls.pause(context.keys, name, by=by)))


def resume(context: FleetContext, name: str) -> Operation[bool]:
    """Resume an entry; False when it was not paused.

    Raises:
        JobNotFound: No entry has this name.
    """
    return (yield from _has_changed(context, name, calls.resume(context.keys, name)))


def _has_changed(context: FleetContext, name: str, call: Call[str]) -> Operation[bool]:
    word = value((yield (call,)))
    if word == "unknown":
        yield from _find(context, name)
    return bool(word != "already")


def run(context: FleetContext, name: str) -> Operation[str]:
    """Enqueue the job of an entry at once, beside its fires; answer its id.

    Raises:
        JobNotFound: There is no such entry.
        DuplicateJob: Another job holds its unique key.
    """
    kept, _ = yield from _find(context, name)
    entry = entry_of(kept.record)
    home = value((yield (context.open_queue_call(entry.queue),)))[0]
    lane = lane_of(context.keys, entry, home)
    job_id = lane.id_prefix + new_suffix()
    (said,) = value((yield (enqueue.enqueue(lane, (Entry(job_id, entry.band, "", entry.meta, entry.envelope),)),)))
    if isinstance(said, Holder):
        raise DuplicateJob(said.id, f"{name} was not run: {said.id} holds its unique key; it is {said.status}.")
    return job_id


def firing(context: FleetContext, attendants: Iterable[calls.Attendant]) -> tuple[str, ...]:
    """Those that are alive: reapers, or workers where there is no reaper, as ``reaper ID`` or ``worker ID``."""
    gone_us = round(context.config.gone_after * 1e6)
    return tuple(sorted(f"{one.role} {one.id}" for one in attendants if one.silent <= gone_us))


def fired_by(names: Sequence[str]) -> str:
    """Those of `CronInfo.fired_by` for people; there must be one."""
    reapers = [name for name in names if name.startswith("reaper ")]
    return ", ".join(reapers) if reapers else f"{', '.join(names)}, since no reaper is alive"


def recurring(seen: FleetSeen) -> list[str]:
    """The published functions that run by themselves."""
    return sorted(name for name, record in seen.functions.items() if read_cron(record) is not None)


def listing(context: FleetContext) -> Operation[list[CronInfo]]:
    """All entries, by name."""
    now, rows = value((yield (calls.entries(context.keys),)))
    if not rows:
        return []
    answers = yield (context.fleet_call(), calls.attendants(context.keys))
    seen, by = value(answers[:1]), firing(context, value(answers[1:]))
    lasts = yield [calls.history(context.keys, row.name, limit=1) for row in rows]
    infos = []
    for row, answer in zip(rows, lasts, strict=True):
        try:
            entry = entry_of(row.record)
        except (InvalidJob, EncodingError):
            continue  # a later version wrote it; the reaper says so in its log
        notes = value([answer])
        infos.append(
            CronInfo(
                name=row.name,
                cron=entry.cron,
                queue=entry.queue,
                function=entry.function,
                origin=entry.origin,
                is_orphaned=entry.origin == DECORATOR and not _is_published(seen, row.name),
                paused=row.paused,
                paused_at=from_us(row.paused_at) if row.paused else None,
                last=fire_of(*notes[0]) if notes else None,
                next=entry.cron.next(from_us(now)) if row.paused is None else None,
                fired_by=by,
            )
        )
    return infos


def history(context: FleetContext, name: str, *, limit: int = HISTORY) -> Operation[list[CronFire]]:
    """What became of an entry's last fires, the newest first.

    Raises:
        JobNotFound: There is no such entry.
    """
    yield from _find(context, name)
    notes: Any = value((yield (calls.history(context.keys, name, limit=limit),)))
    return [fire_of(*note) for note in notes]


def fire_of(at: int, text: str) -> CronFire:
    """Read a note of the ledger."""
    outcome, job_id, nominal, *note = text.split(" ", 3)
    return CronFire(from_us(at), outcome, None if job_id == "-" else job_id, from_us(int(nominal)), "".join(note))
