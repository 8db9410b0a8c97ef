"""Backfill: enqueue the planned times of a recurring job in an interval of the past, as one flow."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet.clock import iso
from jobfleet.codec import amended, header_or_empty
from jobfleet.cron import CronEntry, Fire, from_us, to_us
from jobfleet.errors import InvalidJob, JobfleetError, JobNotFound
from jobfleet.model import JobResult
from jobfleet.model.cron_expression import zone_of
from jobfleet.operations.audit import Outcome
from jobfleet.operations.cron import entry_of, find, in_zone, lane_of
from jobfleet.operations.durability import durably, uncertain
from jobfleet.operations.fires import GONE, states_of
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import POLICIES, Dependant, parents_in_header
from jobfleet.operations.flows.flow import write
from jobfleet.operations.flows.preparing import without_keep
from jobfleet.operations.flows.record import FlowJob, StoredFlow, read
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.verb import DRY_RUN, From, Name, Until, Whole, counted, verb
from jobfleet.store.call import DURABILITY, KNOWN
from jobfleet.store.calls.flow import Edge
from jobfleet.store.keys import Lane
from jobfleet.store.records import Entry

MOST = 1000
"""Maximum number of planned times of one backfill."""
ALONE = "allow"
"""The policy for overlaps with which jobs of an entry may run beside each other."""


@dataclass(frozen=True, slots=True)
class BackfillTime:
    """One planned time of a backfill.

    Attributes:
        at: The instant.
        nominal: The local time of the schedule, as an instant; the job has it as `ctx.nominal_time`.
        note: How a change of the clocks moved it; may be empty.
        job_id: The job of this time.
        status: Empty if the job is new. Otherwise its status: the time has fired, or was filled before, and its job is
            still known, so that no second one was made.
    """

    at: datetime
    nominal: datetime
    note: str
    job_id: str
    status: str = ""


@dataclass(frozen=True, slots=True)
class Backfill:
    """The planned times of a recurring job in an interval, and the flow that runs them.

    Attributes:
        name: The recurring job.
        flow: The id of the flow; None if it only looked, or if there is no new job.
        since: The begin of the interval.
        until: The end of the interval, which is not part of it.
        tz: The time zone of the schedule.
        max_parallel: How many of the jobs may run at a time; None for no bound.
        times: The planned times, in order.
        is_new: Whether this call has made the flow; False if the same backfill was made before.
    """

    name: str
    flow: str | None
    since: datetime
    until: datetime
    tz: str
    max_parallel: int | None
    times: tuple[BackfillTime, ...]
    is_new: bool = False

    @property
    def fresh(self) -> list[BackfillTime]:
        """The times whose jobs are new."""
        return [one for one in self.times if not one.status]


def _sentence(values: Mapping[str, Any], found: Backfill) -> str:
    left = len(found.times) - len(found.fresh)
    known = f"; {counted(left, 'time')} left out, whose job is known already" if left else ""
    if not found.times:
        return f"{found.name} has no planned time from {_shown(found, found.since)} to {_shown(found, found.until)}."
    if values.get(DRY_RUN):
        return "\n".join([f"{counted(len(found.fresh), 'job')} of {found.name} would run{known}:", *_lines(found)])
    if not found.flow:
        return f"Nothing to run: the jobs of {counted(len(found.times), 'time')} of {found.name} are known already."
    if not found.is_new:
        return f"The same backfill was made before: flow {found.flow}."
    bound = "" if found.max_parallel is None else f", at most {found.max_parallel} at a time"
    return f"Flow {found.flow} runs {counted(len(found.fresh), 'job')} of {found.name}{bound}{known}."


def _lines(found: Backfill) -> list[str]:
    return [
        "  ".join(filter(None, [_shown(found, one.at), one.note, one.status and f"{one.status}: {one.job_id}"]))
        for one in found.times
    ]


def _shown(found: Backfill, at: datetime) -> str:
    return f"{at.astimezone(zone_of(found.tz)):%Y-%m-%d %H:%M:%S %Z}"


def _end(found: Backfill) -> Outcome:
    jobs = len(found.fresh) if found.is_new else 0
    return Outcome("done" if jobs else "unchanged", jobs, after={"flow": found.flow, "jobs": jobs} if jobs else {})


@verb(
    "cron.backfill", route="/cron/{name}/backfill", target=("name",), result="backfill", form="backfill", end=_end,
    done=_sentence, change=lambda _, values: _recorded(values),
)  # fmt: skip
def backfill(
    context: FleetContext,
    name: Name,
    since: From,
    until: Until,
    *,
    max_parallel: Whole | None = None,
    dry_run: bool = False,
) -> Operation[Backfill]:
    """Run a recurring job for each planned time of an interval of the past, oldest first, as a flow.

    The times are those of the schedule as it is now, and each job has its time as `ctx.nominal_time`. A time whose job
    is still known, because it has fired or was filled before, makes no second job: replay that one. To repeat the call
    is safe: it returns the same flow.

    Args:
        name: The name.
        since: The begin of the interval. A time without an offset is in the time zone of the entry.
        until: The end of the interval, which is not part of it; at most now.
        max_parallel: How many of the jobs may run at a time; default 1 if the jobs of the entry must not overlap, and
            otherwise no bound but the slots of the workers.
        dry_run: Only show the times.

    Raises:
        InvalidJob: The interval is wrong, or has more than 1,000 times; the entry fires when workers start, or its jobs
            have a unique key.
        JobNotFound: There is no entry of that name.
        DurabilityUncertain: The durability of the jobs was not reached; it has the id of the flow.
    """
    seen = yield from find(context, name)
    entry = entry_of(seen.row.record)
    begin, end = in_zone(entry.cron, since, "since"), in_zone(entry.cron, until, "until")
    _check(entry, begin, end, from_us(seen.now), max_parallel)
    home = value((yield (context.open_queue_call(entry.queue),))).home
    lane = lane_of(context.keys, entry, home)
    most = max_parallel if max_parallel is not None or entry.cron.overlap == ALONE else 1
    flow_id = _flow_id(entry, begin, end)
    fires = _fires(entry, begin, end)
    made = yield from _made_before(context, flow_id)
    ids = [lane.id_prefix + entry.suffix(fire.at) for fire in fires]
    states = yield from states_of(context, ids)
    begun = set() if made is None or made.is_whole else {job.id for job in made.jobs}  # its producer died: write on
    times = tuple(
        BackfillTime(fire.at, fire.nominal.astimezone(UTC), fire.note, job_id, status)
        for fire, job_id in zip(fires, ids, strict=True)
        for status in ["" if job_id in begun else _status(states[job_id], is_made=made is not None)]
    )
    found = Backfill(name, flow_id, begin, end, entry.cron.tz, most, times)
    is_made = made is not None and made.is_whole
    if dry_run or not (is_made or found.fresh):
        return replace(found, flow=None)
    if is_made:
        return found
    yield from _write(context, entry, lane, found, seen.now)
    return replace(found, is_new=True)


def _recorded(values: Mapping[str, Any]) -> dict[str, Any]:
    most = values.get("max_parallel")
    return {"since": _text(values["since"]), "until": _text(values["until"])} | ({} if most is None else {"max": most})


def _text(given: Any) -> str:
    return str(iso(given)) if isinstance(given, datetime) and given.tzinfo is not None else str(given)


def _check(entry: CronEntry, begin: datetime, end: datetime, now: datetime, max_parallel: int | None) -> None:
    if entry.cron.is_startup:
        raise InvalidJob(
            f"{entry.name!r} has no planned times, because it fires when workers start; use 'jobfleet cron run'.",
            field="name",
        )
    if any(line.startswith("u ") for line in entry.meta.split("\n")):
        raise InvalidJob(
            f"The jobs of {entry.name!r} have a unique key, so only one of them may be open; run the times one by one: "
            f"'jobfleet cron run {entry.name} --for TIME'.",
            field="name",
        )
    if end <= begin:
        raise InvalidJob(f"until is {end}, not after since ({begin}); give a later time.", field="until")
    if end > now:
        raise InvalidJob(
            f"until is {end}, which lies ahead; give a time up to now ({now:%Y-%m-%d %H:%M:%S} UTC). Later times fire "
            "by themselves.",
            field="until",
        )
    if max_parallel is not None and (type(max_parallel) is not int or max_parallel < 1):
        raise InvalidJob(f"max_parallel is {max_parallel!r:.100}; give a whole number from 1.", field="max_parallel")


def _fires(entry: CronEntry, begin: datetime, end: datetime) -> list[Fire]:
    """The planned times from one instant until before another one.

    Raises:
        InvalidJob: There are too many.
    """
    found: list[Fire] = []
    fire = entry.cron.next(begin - timedelta(microseconds=1))
    while fire is not None and fire.at < end:
        if len(found) == MOST:
            raise InvalidJob(
                f"{entry.name!r} has more than {MOST:,} planned times in this interval, the most of one backfill; end "
                f"it at {fire.at.isoformat()}, and begin another one there.",
                field="until",
            )
        found.append(fire)
        fire = entry.cron.next(fire.at)
    return found


def _flow_id(entry: CronEntry, begin: datetime, end: datetime) -> str:
    """The id of the flow of an interval: the same for the same call, so that it can be repeated."""
    text = f"{entry.name}|{entry.fingerprint}|{to_us(begin)}|{to_us(end)}"
    return f"backfill-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _made_before(context: FleetContext, flow_id: str) -> Operation[StoredFlow | None]:
    """The flow, if the same call was made before."""
    try:
        return (yield from read(context, flow_id))
    except JobNotFound:
        return None


def _status(state: JobResult[Any] | JobfleetError | None, *, is_made: bool) -> str:
    if isinstance(state, JobResult):
        return str(state.status)
    return GONE if is_made or state is not None else ""


def _write(context: FleetContext, entry: CronEntry, lane: Lane, found: Backfill, now: int) -> Operation[None]:
    """Write the new jobs; of each `max_parallel` jobs, the next one waits for the oldest, whatever comes of it."""
    level = str(header_or_empty(entry.envelope).get(DURABILITY, ""))
    jobs: list[FlowJob] = []
    made: list[Dependant] = []
    for place, one in enumerate(found.fresh):
        before = () if found.max_parallel is None or place < found.max_parallel else (place - found.max_parallel,)
        edges = tuple(Edge(jobs[parent].id, 0, POLICIES["run"]) for parent in before)
        fields: dict[str, object] = {"flow": found.flow, "nominal": to_us(one.nominal), "enqueued_at": now}
        fields |= parents_in_header(context.keys, edges) if edges else {}
        envelope = amended(entry.envelope, fields)
        row = Entry(one.job_id, entry.band, "", without_keep(entry.meta), envelope)
        policies = ("run",) * len(before)
        label = f"{one.at.astimezone(entry.cron.schedule.zone):%Y-%m-%d %H:%M}"
        jobs.append(FlowJob(one.job_id, entry.name, entry.function, before, policies, entry.band, label=label))
        made.append(Dependant(lane, row, edges, level=level if level in KNOWN else ""))
    yield from _durable(context, lane, level, str(found.flow), f"backfill of {entry.name}", jobs, made)


def _durable(
    context: FleetContext,
    lane: Lane,
    level: str,
    flow_id: str,
    name: str,
    jobs: Sequence[FlowJob],
    made: Sequence[Dependant],
) -> Operation[None]:
    writing = write(context, flow_id, name, jobs, made)
    if level not in KNOWN:
        yield from writing
        return
    _, is_reached = yield from durably(context, lane, {level}, writing)
    if not is_reached:
        raise uncertain(context, level, flow_id)
