"""Recurring jobs: add, edit, remove, pause, resume, run and list the cron entries of a fleet; read their ledgers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from jobfleet.clock import moment
from jobfleet.codec import amended, decode, encode
from jobfleet.cron import Cron, CronEntry, Fire, FireOutcomes, Times, from_us, to_us
from jobfleet.errors import DuplicateJob, EncodingError, InvalidJob, JobNotFound, warn
from jobfleet.functions.callables import CLEANUP
from jobfleet.functions.manifest import read_cron, read_function, read_parameters
from jobfleet.model import Job, JobStatus, Receipt, new_suffix
from jobfleet.model.names import similar_function
from jobfleet.model.spec import check_job
from jobfleet.model.status import check_number
from jobfleet.operations.audit import Action, Change, Outcome, check_reason
from jobfleet.operations.fires import CronFire, concern_of, fires_of, interval_of, read_outcomes, with_jobs
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import refuse_displacing
from jobfleet.operations.jobs.enqueue import prepare
from jobfleet.operations.jobs.prepare import Resolved, submission
from jobfleet.operations.operation import Operation, batches, is_denied, value
from jobfleet.operations.verb import Name, NominalTime, verb
from jobfleet.operations.workers import WorkerInfo, runs_undecorated, workers_of
from jobfleet.store.call import Call
from jobfleet.store.calls import cron as calls
from jobfleet.store.calls import enqueue, presence
from jobfleet.store.keys import Keyspace, Lane
from jobfleet.store.records import Entry, FleetSeen, Holder
from jobfleet.store.rows import report

DEFAULTS: Mapping[str, Any] = {
    "misfire": "once", "misfire_window": 3600.0, "most": 100, "overlap": "allow", "jitter": 0.0,
}  # fmt: skip
DECORATOR = "decorator"
TAKEN_OVER_S = 6
"""Seconds within which a reaper stores the entry of a decorator that a worker has published: its look and its turn."""
SOON = f"not there yet: a worker has published it, and a reaper takes it over within {TAKEN_OVER_S} seconds."


class Decorated(NamedTuple):
    """A recurring job that is defined by the decorator of its function."""

    entry: CronEntry


def entry_of(record: bytes) -> CronEntry:
    """Decode a stored entry.

    Raises:
        InvalidJob: The record is not an entry.
        EncodingError: The record cannot be decoded.
    """
    return CronEntry.load(decode(record))


def times_of(record: bytes) -> Times:
    """Decode when an entry fires.

    Raises:
        InvalidJob: The record is not valid.
        EncodingError: The record cannot be decoded.
    """
    return Times.load(decode(record))


def storing(keys: Keyspace, entry: CronEntry, *, is_new: bool = False, back_us: int = 0) -> Call[str]:
    """The call that stores an entry; see `jobfleet.store.calls.cron.add`."""
    record, times = encode(entry.dump()), encode(entry.times.dump())
    return calls.add(keys, entry.name, entry.fingerprint, record, times=times, is_new=is_new, back_us=back_us)


def lane_of(keys: Keyspace, entry: CronEntry, home: int) -> Lane:
    """The lane in which an entry fires: always the same home lane of its queue, chosen by its group or unique key."""
    return lane_at(keys, entry.times, home)


def lane_at(keys: Keyspace, times: Times, home: int) -> Lane:
    """`lane_of` for those who know its times alone."""
    return keys.lane(times.queue, times.place % home)


def decorated(context: FleetContext, seen: FleetSeen) -> Iterator[Decorated | tuple[str, str]]:
    """The entries of published functions; for an entry that cannot be made, the name of the function and the reason."""
    for name, record in seen.functions.items():
        schedule = read_cron(record)
        if schedule is None:
            continue
        options = read_function(record)
        try:
            function = Resolved(name, options, read_parameters(record))
            sent = submission(
                Job(name, name), function, _first_lane(context), limits=context.limits, windows=context.windows
            )
            entry = CronEntry(
                name=name,
                cron=Cron.load(schedule),
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
    """The lane does not matter here: `lane_of` chooses it for each fire."""
    return lambda queue, _job, _key, _group: context.keys.lane(queue, 0)


def add_entry(
    context: FleetContext, name: str, cron: Cron, job: Job, *, by: str | None, is_new: bool = False
) -> Operation[str]:
    """Add or change a recurring job; return added, changed or unchanged. No hook runs on the job.

    Raises:
        InvalidJob: The name is wrong, `is_new` is set and the name exists, there are too many entries, or the job has a
            time or an id.
    """
    check_job(job)
    for option in ("scheduled_at", "delay", "id", "expires_at"):
        if getattr(job, option) is not None:
            raise InvalidJob(f"{option} is not for recurring jobs: each fire has its own time and id.", field=option)
    refuse_displacing(job.on_conflict or "", "a recurring job")
    if cron.doubt:
        warn(cron.doubt)
    # The copy carries no trace context: each fire begins a trace of its own, and repeating the call changes nothing.
    sent = yield from prepare(context, replace(job, cron_expression=None, tz=None), is_recurring=True)
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
    word = value((yield (storing(context.keys, entry, is_new=is_new),)))
    if word == "taken":
        remedy = "give another name, or replace it (--replace, replace=True)"
        raise InvalidJob(f"There is a cron entry {name!r} already; {remedy}.", field="name")
    if word == "full":
        raise InvalidJob(too_many(name), field="name")
    return str(word)


def too_many(name: str) -> str:
    """The message for an entry that exceeds the limit of a fleet."""
    return (
        f"Cron entry {name!r} was not kept: there are {calls.MOST_ENTRIES:,}, which is the most. Remove some with "
        "'jobfleet cron rm NAME', or let one entry's job enqueue the others."
    )


def add(context: FleetContext, name: str, cron: Cron, job: Job, *, by: str | None, is_new: bool) -> Operation[str]:
    """Add a recurring job, after the `around_enqueue` hooks have run on it; return added, changed or unchanged.

    Args:
        context: The context of the fleet.
        name: The name of the entry.
        cron: The schedule.
        job: The job that each fire enqueues.
        by: Who adds it; None for nobody in particular.
        is_new: Refuse a name that exists; otherwise the entry of that name is changed.

    Raises:
        InvalidJob: As `add_entry`.
    """
    return (yield from add_entry(context, name, cron, context.apply_hooks(job), by=by, is_new=is_new))


def submit(context: FleetContext, job: Job, by: str | None = None) -> Operation[Receipt]:
    """Add the entry of a job with a `cron_expression`; the receipt names the job of the next fire.

    The name of a job is a label that may have spaces. The entry has the same name with hyphens for spaces.

    Raises:
        InvalidJob: As `add_entry`.
    """
    cron = Cron(str(job.cron_expression), job.tz or "UTC")
    name = "-".join(job.name.split())
    word = yield from add_entry(context, name, cron, job, by=by or job.user)
    found = yield from find(context, name)
    entry = entry_of(found.row.record)
    home = value((yield (context.open_queue_call(entry.queue),))).home
    fire = cron.next(from_us(found.now))
    suffix = entry.suffix(fire.at) if fire is not None else job.suffix
    lane = lane_of(context.keys, entry, home)
    return Receipt(id=lane.id_prefix + suffix, created=word == "added", status=JobStatus.SCHEDULED)


class FoundEntry(NamedTuple):
    """A stored entry.

    Attributes:
        row: The entry as it is stored.
        now: The time of Redis, µs since 1970.
    """

    row: calls.Scheduled
    now: int


def find(context: FleetContext, name: str) -> Operation[FoundEntry]:
    """Read an entry.

    Raises:
        JobNotFound: No entry has this name, or no reaper has stored yet what a worker has published.
    """
    now, rows = value((yield (calls.entries(context.keys),)))
    for row in rows:
        if row.name == name:
            return FoundEntry(row, now)
    if is_published(value((yield (context.fleet_call(),))), name):
        raise JobNotFound(name, f"Cron entry {name!r} is {SOON} Then repeat this.")
    raise no_entry(name, [row.name for row in rows])


def no_entry(name: str, known: Sequence[str]) -> JobNotFound:
    """The error for a name that no entry has.

    Args:
        name: The name.
        known: The names of all entries; the message has the first ten.
    """
    return JobNotFound(name, f"No cron entry {name!r}; there are: {', '.join(known[:10]) or 'none yet'}.")


def _entry(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    """The schedule of an entry, its function and queue; nothing if there is none, or a later version wrote it."""
    row = yield from _found(context, values)
    try:
        entry = entry_of(row.record) if row else None
    except (InvalidJob, EncodingError):
        entry = None
    return {} if entry is None else {**_schedule(entry.cron), "function": entry.function, "queue": entry.queue}


def _found(context: FleetContext, values: Mapping[str, Any]) -> Operation[calls.Scheduled | None]:
    _, rows = value((yield (calls.entries(context.keys),)))
    return next((row for row in rows if row.name == values["name"]), None)


def _schedule(cron: Cron) -> dict[str, Any]:
    """A schedule, without the fields that have their default."""
    fields = {name: getattr(cron, name) for name in DEFAULTS if getattr(cron, name) != DEFAULTS[name]}
    times = {name: getattr(cron, name) for name in ("start", "end") if getattr(cron, name) is not None}
    return {"schedule": cron.expression, "tz": cron.tz, **fields, **times}


def setting(context: FleetContext, verb: str, name: str, cron: Cron, job: Job | None = None) -> Action:
    """The action of giving a recurring job a schedule: ``add``, with its job, or ``edit``."""
    after: dict[str, Any] = _schedule(cron)
    if isinstance(job, Job):  # anything else is refused
        after["function"] = str(getattr(job.function, "name", job.function))
        after |= {"queue": job.queue} if job.queue else {}

    def look() -> Operation[Change]:
        return Change((yield from _entry(context, {"name": name})), after)

    end = {"unchanged": Outcome("unchanged")}
    return Action(f"cron.{verb}", f"{name}", after, look, lambda word: end.get(word, Outcome("done")))


def _removal_question(context: FleetContext, values: Mapping[str, Any]) -> Operation[str]:
    name = values["name"]
    yield from find(context, name)  # raises if there is no such entry, before the question
    return f"Remove the recurring job {name}?"


@verb(
    "cron.remove", command="cron rm", route="/cron/{name}/remove", target=("name",), before=_entry,
    change=lambda *_: {}, facts={"removed": True}, done="Removed {target}.", question=_removal_question,
)  # fmt: skip
def remove(context: FleetContext, name: Name) -> Operation[None]:
    """Remove a recurring job and its history, also one that cannot be read. Jobs that it enqueued stay.

    Args:
        name: The name.

    Raises:
        JobNotFound: There is no entry of that name.
        InvalidJob: A decorator declares the entry, so workers would add it again.
    """
    record = (yield from find(context, name)).row.record
    try:
        entry = entry_of(record)
    except (InvalidJob, EncodingError):  # no process fires it, so it has no mark either
        value((yield (calls.remove(context.keys, name),)))
        return
    seen = value((yield (context.fleet_call(),)))
    if entry.origin == DECORATOR and is_published(seen, name):
        raise InvalidJob(
            f"{name!r} comes from the decorator of its function and would return; pause it, or remove the decorator.",
            field="name",
        )
    home = value((yield (context.open_queue_call(entry.queue),))).home
    value((yield (calls.remove(context.keys, name),)))
    value((yield (calls.unmark(lane_of(context.keys, entry, home), name),)))


def edit(context: FleetContext, name: str, cron: Cron) -> Operation[str]:
    """Give an entry another schedule, and keep its job; return changed or unchanged.

    Raises:
        JobNotFound: No entry has this name.
        InvalidJob: The decorator of a published function defines the entry, so workers would set its schedule again.
        EncodingError: The entry cannot be read.
    """
    entry = entry_of((yield from find(context, name)).row.record)
    seen = value((yield (context.fleet_call(),)))
    if entry.origin == DECORATOR and is_published(seen, name):
        raise InvalidJob(
            f"{name!r} comes from the decorator of its function, which sets its schedule again; change the decorator.",
            field="name",
        )
    if cron.doubt:
        warn(cron.doubt)
    return str(value((yield (storing(context.keys, replace(entry, cron=cron)),))))


def is_published(seen: FleetSeen, function: str) -> bool:
    """Whether a function has been published with a schedule."""
    record = seen.functions.get(function)
    return record is not None and read_cron(record) is not None


def _held(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    row = yield from _found(context, values)
    if row is None:
        return {}
    facts = {"paused_by": row.paused if row.paused != "-" else None, "reason": row.paused_reason}
    return {"paused": row.paused is not None, **{name: text for name, text in facts.items() if text}}


@verb(
    "cron.pause", route="/cron/{name}/pause", target=("name",), before=_held, facts={"paused": True},
    done="{target} is paused.", unchanged="{target} was paused already.",
)  # fmt: skip
def pause(context: FleetContext, name: Name, *, by: str | None = None, reason: str | None = None) -> Operation[bool]:
    """Pause a recurring job: it does not fire.

    Args:
        name: The name.
        by: The person or program that pauses, for the record.
        reason: The reason, for the record: one line, at most 200 characters.

    Returns:
        False if it was already paused.

    Raises:
        JobNotFound: There is no entry of that name.
        InvalidJob: The reason is not valid.
    """
    check_reason(reason)
    return (yield from _has_changed(context, name, calls.pause(context.keys, name, by=by, reason=reason)))


@verb(
    "cron.resume", route="/cron/{name}/resume", target=("name",), before=_held, facts={"paused": False},
    done="{target} is on.", unchanged="{target} was on already.",
)  # fmt: skip
def resume(context: FleetContext, name: Name) -> Operation[bool]:
    """Resume a paused recurring job. Fires that were due during the pause are skipped.

    Args:
        name: The name.

    Returns:
        False if it was not paused.

    Raises:
        JobNotFound: There is no entry of that name.
    """
    return (yield from _has_changed(context, name, calls.resume(context.keys, name)))


def _has_changed(context: FleetContext, name: str, call: Call[str]) -> Operation[bool]:
    word = value((yield (call,)))
    if word == "unknown":
        yield from find(context, name)
    return bool(word != "already")


@verb(
    "cron.run", route="/cron/{name}/run", target=("name",), result="id", done="{result} is enqueued.",
    end=lambda job_id: Outcome("done", after={"id": job_id}), change=lambda _, values: _nominal(values),
)  # fmt: skip
def run(context: FleetContext, name: Name, *, nominal: NominalTime | None = None) -> Operation[str]:
    """Enqueue a recurring job now, in addition to its fires.

    Args:
        name: The name.
        nominal: The time that the job is for (`ctx.nominal_time`), such as that of a fire that failed; default now. A
            time without an offset is in the time zone of the entry.

    Returns:
        The id of the job.

    Raises:
        DuplicateJob: Another job holds its unique key.
        InvalidJob: `nominal` is not a time.
        JobNotFound: There is no entry of that name.
    """
    found = yield from find(context, name)
    entry = entry_of(found.row.record)
    at = found.now if nominal is None else to_us(in_zone(entry.cron, nominal, "nominal"))
    home = value((yield (context.open_queue_call(entry.queue),))).home
    lane = lane_of(context.keys, entry, home)
    job_id = lane.id_prefix + new_suffix()
    envelope = amended(entry.envelope, {"nominal": at, "enqueued_at": found.now})
    (answer,) = value((yield (enqueue.enqueue(lane, (Entry(job_id, entry.band, "", entry.meta, envelope),)),)))
    if isinstance(answer, Holder):
        raise DuplicateJob(answer.id, f"{name} was not run: {answer.id} holds its unique key; it is {answer.status}.")
    return job_id


def _nominal(values: Mapping[str, Any]) -> dict[str, Any]:
    given = values.get("nominal")
    return {} if given is None else {"nominal": str(given)}


def in_zone(cron: Cron, given: datetime, field: str) -> datetime:
    """Return a time that a user gave for an entry; one without an offset is in the time zone of the entry.

    Raises:
        InvalidJob: It is not a time, or is outside the calendar.
    """
    if not isinstance(given, datetime):
        raise InvalidJob(f"{field} is {given!r:.100}; give a datetime.", field=field)
    try:
        there = given.replace(tzinfo=cron.schedule.zone) if given.tzinfo is None else given
        at = there.astimezone(UTC)
    except (OverflowError, ValueError):
        raise InvalidJob(f"{field} is {given}, at an end of the calendar; give another time.", field=field) from None
    if at.year < 1970:
        raise InvalidJob(f"{field} is {given}; give a time from 1970 on.", field=field)
    return at


HISTORY = 50
READ_AT_ONCE = 1000
"""Records of outcomes that are read in one call."""


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
        paused_reason: Why it was paused; empty when no reason was given.
        last: Its last fire, and what came of it; None when it has not fired.
        next: Its next fire; None when it has none, or is paused.
        fired_by: The live processes that have announced that they fire recurring jobs, as ``reaper ID`` or ``worker
            ID``. Empty when there is none; a reaper of an older version does not announce itself.
        doubt: That no worker has published its function; empty if one has.
        fires: How many of its fires made a job; counted since the first reaper that counts them, as the next two.
        completed: How many of these jobs completed.
        failures: How many of them failed or expired in a row, in the order of their ends; 0 after one that completed.
        last_success: When the last of them that completed has ended; None if none is known.
        interval: The time from its last fire to the one after it; None if it has none, as with ``@startup``.
        warning: What is wrong with its fires: too many failures in a row (setting `cron_failures`), or no job has ever
            completed; empty if neither is so.
        remedy: What to do about the warning.
        culprit: The job that the remedy is about; None without a warning.
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
    fires: int = 0
    completed: int = 0
    failures: int = 0
    last_success: datetime | None = None
    interval: timedelta | None = None
    warning: str = ""
    remedy: str = ""
    culprit: str | None = None
    paused_reason: str = ""

    @property
    def is_longer(self) -> bool:
        """Whether its last job ran, or has run so far, for longer than the time to the next fire."""
        took = None if self.last is None else self.last.duration
        return took is not None and self.interval is not None and took > self.interval


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
    fires = [next(iter(fires_of(value([answer]))), None) for answer in lasts]
    shown = iter((yield from with_jobs(context, [fire for fire in fires if fire is not None])))
    known = yield from outcomes_of(context, [row.name for row in rows])
    infos = []
    for row, fire in zip(rows, fires, strict=True):
        last = None if fire is None else next(shown)
        try:
            entry = entry_of(row.record)
        except (InvalidJob, EncodingError) as error:  # something else, or a later version, wrote it
            report([f"cron has {row.name:.100}: {error}"])
            continue
        following = entry.cron.next(from_us(now))
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
                paused_reason=row.paused_reason,
                last=last,
                next=following if row.paused is None else None,
                fired_by=by,
                doubt=_doubt(entry.function, seen, workers),
                interval=interval_of(entry.cron, last and last.at, following and following.at),
                **_numbers(context, row.name, known.get(row.name, NOTHING), last),
            )
        )
    return infos


NOTHING = FireOutcomes()


def outcomes_of(context: FleetContext, names: Sequence[str]) -> Operation[dict[str, FireOutcomes]]:
    """Read what came of the fires of some entries. A user who may not read that sees nothing."""
    answers = yield [calls.fire_outcomes(context.keys, part) for part in batches(names, READ_AT_ONCE)]
    found = {name: record for answer in answers if not is_denied(answer) for name, record in value([answer]).items()}
    return {name: read_outcomes(name, record) for name, record in found.items()}


def _numbers(context: FleetContext, name: str, known: FireOutcomes, last: CronFire | None) -> dict[str, Any]:
    """What came of the fires of an entry. The last job may have completed since the numbers were written."""
    failures, success = known.failures, None if known.success is None else from_us(known.success.ended)
    is_newer = (
        last is not None and last.status == JobStatus.COMPLETED and (success is None or last.at > known_at(known))
    )
    if last is not None and is_newer:
        failures, success = 0, last.ended_at or success
    concern = None if is_newer else concern_of(name, known, most=context.config.cron_failures)
    return {
        "fires": known.fires,
        "completed": known.completed,
        "failures": failures,
        "last_success": success,
        "warning": f"{concern.seen[0].upper()}{concern.seen[1:]}." if concern else "",
        "remedy": concern.remedy if concern else "",
        "culprit": concern.job_id if concern else None,
    }


def known_at(known: FireOutcomes) -> datetime:
    """The planned time of the last fire whose job is known to have completed."""
    return from_us(0 if known.success is None else known.success.at)


def _doubt(function: str, seen: FleetSeen, workers: Sequence[WorkerInfo]) -> str:
    if function == CLEANUP or function in seen.functions or runs_undecorated(workers, function):
        return ""
    meant = similar_function(function, seen.functions)
    close = f"; did you mean {meant!r}?" if meant else "."
    return f"No worker has published {function!r}{close} The job is parked until one does."


def history(context: FleetContext, name: str, *, limit: int = HISTORY) -> Operation[list[CronFire]]:
    """List the last fires of an entry and what came of their jobs, newest first.

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
    fires = fires_of(value((yield (calls.history(context.keys, name, limit=limit),))))
    return (yield from with_jobs(context, fires))
