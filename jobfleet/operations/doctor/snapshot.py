"""Read the checkup that `doctor` judges: the server, the fleet, and a bounded part of each lane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from jobfleet.clock import wall_us
from jobfleet.codec import header_or_empty, is_record, read_fields
from jobfleet.codec.frames import FLEET, KID
from jobfleet.config import JobConfig
from jobfleet.cron import FireOutcomes
from jobfleet.errors import ConfigError, EncodingError, JobfleetError, ScriptContractError, StoreUnavailable
from jobfleet.functions.manifest import read_function, read_gates, read_limit
from jobfleet.functions.options import keep_last_in
from jobfleet.model.limits import BREAKER, LIMIT, BreakerInfo, DeclaredLimit, NamedLimit
from jobfleet.operations import payloads, unreadable
from jobfleet.operations.cron import firing, recurring
from jobfleet.operations.fires import read_outcomes
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.gates import gates
from jobfleet.operations.operation import EachLane, Operation, batches, is_denied, value
from jobfleet.operations.queues import QueueInfo, queue_info
from jobfleet.operations.unreadable import without_repair
from jobfleet.operations.workers import WorkerInfo, workers_of
from jobfleet.outbox import OutboxUnavailable, read_counts
from jobfleet.outbox.statements import Counts as SqlOutbox
from jobfleet.outbox.statements import relayed_by
from jobfleet.retry.tries import Tries
from jobfleet.samples import CANCELLED, COMPLETED, EXPIRED, FAILED, FINE, SECOND_US, TOTAL, unpack, unpack_marks
from jobfleet.store.acl import probes, role_of, user_of
from jobfleet.store.call import Call
from jobfleet.store.calls import cron, doctor, ended, inspect, journal, presence, samples
from jobfleet.store.calls import limits as limit
from jobfleet.store.calls.control import read_functions
from jobfleet.store.calls.doctor import Kept, Leased, Leases, Locks, Topology, topology
from jobfleet.store.calls.enqueue import payload_store
from jobfleet.store.fleet import whole
from jobfleet.store.keys import BANDS, Lane
from jobfleet.store.records import Counts, Final, Finished, FleetSeen, KindSeen, Waiting
from jobfleet.store.target import FUNCTIONS

BATCHES = 50
ENDED_PAGES = 4
HOUR = 3600.0


class KeptResult(NamedTuple):
    """The result of an ended job.

    Attributes:
        job_id: The id of the job.
        kept: The size and the TTL of the result.
        age: Seconds since the job ended.
        is_counted: Whether its function keeps only the last results, so that it may be removed before its TTL.
    """

    job_id: str
    kept: Kept
    age: float
    is_counted: bool = False


@dataclass(frozen=True, slots=True)
class Endings:
    """The recent endings of a lane.

    Attributes:
        number: How many jobs ended.
        seconds: In how many seconds they ended; at most an hour.
        kept: The results of the last of these jobs.
    """

    number: int = 0
    seconds: float = HOUR
    kept: tuple[KeptResult, ...] = ()


def endings_of(lane: Lane, now: int, counting: Sequence[str]) -> Operation[Endings]:
    """Count the jobs that ended within the last hour, or within the batches that are read.

    Args:
        lane: The lane.
        now: The time of Redis, µs since 1970.
        counting: The functions that keep only their last results.
    """
    since = now - HOUR * 1e6
    rows: list[Finished] = []
    seconds, before = HOUR, "+"
    for _ in range(ENDED_PAGES):
        (answer,) = yield unreadable.without_repair([inspect.finished(lane, before=before, limit=BATCHES)])
        page: list[Finished] = unreadable.read_or(answer, [], [])
        rows += [row for row in page if _at(row) >= since and row.outcome != inspect.NO_OUTCOME]
        if not page or _at(page[-1]) < since:
            break
        before = f"({page[-1].entry}"
    else:
        seconds = max(1.0, (now - _at(page[-1])) / 1e6)
    last = {lane.id_prefix + row.suffix: (now - _at(row)) / 1e6 for row in rows[: doctor.CHUNK]}
    if not last:
        return Endings()
    (answer,) = yield unreadable.without_repair([doctor.kept(lane, list(last))])
    kept: Sequence[Kept] = unreadable.read_or(answer, [Kept(0, 0)] * len(last), [])
    counted = yield from _counted(lane, list(last), counting)
    results = [KeptResult(job_id, one, last[job_id], job_id in counted) for job_id, one in zip(last, kept, strict=True)]
    return Endings(len(rows), seconds, tuple(results))


def _counted(lane: Lane, ids: Sequence[str], counting: Sequence[str]) -> Operation[set[str]]:
    """Return those of some jobs whose results may be removed because their function keeps only the last ones."""
    if not counting:
        return set()
    (answer,) = yield unreadable.without_repair([ended.outcomes(lane, ids)])
    finals: Sequence[Final | None] = unreadable.read_or(answer, [None] * len(ids), [])
    return {
        job_id
        for job_id, final in zip(ids, finals, strict=True)
        if final is not None and is_record(final.body) and _function_in(final.body) in counting
    }


def _function_in(record: bytes) -> str:
    try:
        return str(read_fields(record).get("function", ""))
    except EncodingError:
        return ""


def _at(row: Finished) -> int:
    """When a job ended, µs since 1970."""
    return int(row.entry.partition("-")[0]) * 1000


PAGES = 20
"""Pages of leases per lane: at most 500 leases."""
WAITING = 20
"""How many of the first waiting jobs of each section are read."""
GRACE_US = 3_600_000_000
"""How long an expired unique key may stay, µs; the retention duty removes it sooner."""


class InLine(NamedTuple):
    """A waiting job.

    Attributes:
        id: The id of the job.
        function: The name of its function; empty when it cannot be read.
        is_parked: Whether a worker claimed it and could not run it.
        has_envelope: Whether its envelope exists.
        is_unbound: Whether its envelope is sealed and does not name its fleet.
    """

    id: str
    function: str
    is_parked: bool
    has_envelope: bool
    is_unbound: bool = False


@dataclass(frozen=True, slots=True)
class LaneSeen:
    """A lane.

    Attributes:
        lane: The lane.
        counts: Its counts.
        hold: Until when its leases are not judged, µs since 1970; 0 when they are judged.
        leases: How many leases it has.
        runs: How many runs it had at the same moment.
        rows: The leases and runs that were read.
        waiting: The first waiting jobs of each section.
        locks: The unique keys that were read.
        endings: The recent endings of its jobs.
        groups: Its paused groups.
        damage: What cannot be read in it.
    """

    lane: Lane
    counts: Counts
    hold: int = 0
    leases: int = 0
    runs: int = 0
    rows: tuple[Leased, ...] = ()
    waiting: tuple[InLine, ...] = ()
    locks: Locks = field(default_factory=lambda: Locks(0, 0, 0, {}))
    endings: Endings = field(default_factory=Endings)
    groups: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Checkup:
    """A fleet, for `doctor`.

    Attributes:
        config: The settings of this process.
        now: The time of Redis, µs since 1970.
        ahead: Lower bound, in seconds, of the lead of the local clock over Redis; negative when it is behind.
        info: The answer of the server to INFO.
        workers: The workers whose heartbeat is remembered, gone workers included.
        functions: The names of the published functions.
        kinds: The kinds of live workers, and the functions that they know.
        paused: The functions that are paused in every queue.
        named_limits: The named limits.
        breakers: The circuit breakers that have counted a run.
        consumers: Consumer of the journals → the most events that a lane keeps.
        lanes: The lanes of at most `max_queues` queues; those that live workers serve come first.
        queue_count: The number of queues.
        recurring: The names of recurring jobs, also those of decorators that have no entry yet.
        fired_by: The processes that have announced that they fire recurring jobs; see `CronInfo`.
        fires: What came of the fires of recurring jobs, by name.
        sampled: Until when the fleet was sampled, µs since 1970; None before the first sample.
        ended: How many jobs have ended in the last hour, from the samples; None if they do not tell.
        declared: The limits that functions of live workers declare, by function.
        role: The role that the user of this process has.
        lacking: The commands of that role that the user may not run; None if the server cannot check them.
        is_open: Whether anybody can connect without a password; None if this is not known.
        damage: What cannot be read in the keys of the fleet.
        topology: The nodes of the cluster, if it is one.
        payloads: The payload store that this process reads; see `WorkerInfo.payloads`.
        payloads_recorded: The identity of the fleet's payload store, as Redis has it; empty if it has none.
        sql_outbox: The rows of the transactional outbox; the error if they cannot be read; None without an outbox.
        relayed: The databases whose outboxes live reapers relay, one for each relay.
        away: The lanes whose node of the cluster does not reply, by node; they are not in `lanes`.
    """

    config: JobConfig
    now: int
    ahead: float = 0.0
    info: Mapping[str, str] = field(default_factory=dict)
    workers: tuple[WorkerInfo, ...] = ()
    functions: frozenset[str] = frozenset()
    kinds: tuple[KindSeen, ...] = ()
    paused: tuple[str, ...] = ()
    named_limits: tuple[NamedLimit, ...] = ()
    breakers: tuple[BreakerInfo, ...] = ()
    consumers: Mapping[str, int] = field(default_factory=dict)
    lanes: tuple[LaneSeen, ...] = ()
    queue_count: int = 0
    recurring: tuple[str, ...] = ()
    fired_by: tuple[str, ...] = ()
    fires: Mapping[str, FireOutcomes] = field(default_factory=dict)
    sampled: int | None = None
    ended: int | None = None
    declared: Mapping[str, DeclaredLimit] = field(default_factory=dict)
    role: str = ""
    lacking: tuple[str, ...] | None = None
    is_open: bool | None = None
    damage: tuple[str, ...] = ()
    topology: Topology = field(default_factory=Topology)
    payloads: str = ""
    payloads_recorded: str = ""
    sql_outbox: SqlOutbox | str | None = None
    relayed: tuple[str, ...] = ()
    away: Mapping[str, tuple[Lane, ...]] = field(default_factory=dict)

    @property
    def levels(self) -> set[str]:
        """The durability that the settings here and the queues have."""
        return {self.config.durability, *(queue.durability or "" for queue in self.queues)}

    @property
    def alive(self) -> list[WorkerInfo]:
        """The live workers."""
        return [worker for worker in self.workers if not worker.is_gone]

    @property
    def known(self) -> set[str]:
        """The names of the functions that live workers know."""
        return {name for kind in self.kinds for name in kind.functions if name}

    @property
    def queues(self) -> list[QueueInfo]:
        """Every queue."""
        by_queue: dict[str, list[Counts]] = {}
        for seen in self.lanes:
            by_queue.setdefault(seen.lane.queue, []).append(seen.counts)
        return [queue_info(name, rows) for name, rows in by_queue.items()]

    def number(self, name: str) -> int:
        """A number from the answer to INFO; 0 when it is missing."""
        text = self.info.get(name, "")
        return int(text) if text.isdigit() else 0


def take(context: FleetContext, *, is_open: bool | None = None) -> Operation[Checkup]:
    """Read a checkup: two trips for the fleet, and a few bounded trips per lane. Nothing is repaired."""
    began = wall_us()
    asked = unreadable.without_repair(
        [
            doctor.server(context.keys),
            journal.consumers(context.keys),
            cron.entries(context.keys),
            presence.attendants(context.keys),
            context.kinds_call(),
            topology(context.keys),
            samples.samples(context.keys),
            cron.fire_outcomes(context.keys),
        ]
    )
    server, consumers, entries, attendants, kinds, nodes, sampled, outcomes = yield asked
    ended = wall_us()
    damage: list[str] = []
    now, info = value([server])
    try:
        fleet = yield from unreadable.run_without_repair(whole(context.keys))
    except ScriptContractError as error:
        damage.append(str(error))
        fleet = FleetSeen(now, {}, (), {})
    role, lacking = yield from lacking_commands(context)
    readers = unreadable.read_or(consumers, {}, damage)
    _, rows = unreadable.read_or(entries, (now, []), damage)
    attended = unreadable.read_or(attendants, [], damage)
    fired = {} if is_denied(outcomes) else unreadable.read_or(outcomes, {}, damage)
    seen = unreadable.read_or(kinds, None, damage)
    known_kinds = seen.kinds if seen is not None else ()
    last = unreadable.read_or(sampled, samples.Head(now, None, {}), damage).last
    limits, breakers = yield from gates(context)
    declared = {f"{LIMIT}:{name}" for record in fleet.functions.values() for name in read_gates(record)[0]}
    every_gate = [
        *sorted(declared),
        *(f"{LIMIT}:{one.name}" for one in limits),
        *(f"{BREAKER}{one.name}" for one in breakers),
    ]
    damage += yield from unreadable.of_fleet(context.keys, fleet, gates=every_gate)
    workers = tuple(workers_of(context, fleet))
    served = {queue for worker in workers if not worker.is_gone for queue in worker.queues}
    counting = [name for name, record in fleet.functions.items() if keep_last_in(read_function(record))]
    names = sorted(fleet.queues, key=lambda queue: (queue not in served, queue))[: context.config.max_queues]
    every = [lane for name in names for lane in context.lanes_of(name, fleet.queues[name][1])]
    seen_nodes = unreadable.read_or(nodes, Topology(), damage)
    away = (yield from _away(every)) if seen_nodes.shards else {}
    unreached = {lane for of_node in away.values() for lane in of_node}
    lanes: list[LaneSeen] = []
    for lane in every:
        if lane not in unreached:
            lanes += [(yield from _lane(lane, now, counting))]
    return Checkup(
        context.config,
        now,
        ahead=ahead(began, now, ended),
        info=info,
        workers=workers,
        functions=frozenset(fleet.functions),
        kinds=known_kinds,
        paused=tuple(read_functions(fleet.paused)),
        named_limits=tuple(limits),
        breakers=tuple(breakers),
        consumers=readers,
        lanes=tuple(lanes),
        queue_count=len(fleet.queues),
        recurring=tuple(sorted({row.name for row in rows} | set(recurring(fleet)))),
        fired_by=firing(context, attended),
        fires={row.name: read_outcomes(row.name, fired[row.name]) for row in rows if row.name in fired},
        sampled=None if last is None else (last + 1) * FINE.step * SECOND_US,
        ended=(yield from ended_in_hour(context, last, now)),
        declared={
            name: limit
            for name, record in fleet.functions.items()
            if any(name in kind.functions for kind in known_kinds) and (limit := read_limit(record)) is not None
        },
        role=role,
        lacking=lacking,
        is_open=is_open,
        damage=tuple(damage),
        topology=seen_nodes,
        payloads=(yield from payloads.seen(context)),
        payloads_recorded=value((yield (payload_store(context.keys),))),
        sql_outbox=(yield from _sql_outbox(context)),
        relayed=relayed_by(context.config, attended),
        away=away,
    )


def _away(every: Sequence[Lane]) -> Operation[Mapping[str, tuple[Lane, ...]]]:
    """Find the lanes whose node of a cluster does not reply, by node; the node is empty if none serves them."""
    found: dict[str, tuple[Lane, ...]] = {}
    answers = yield EachLane(unreadable.without_repair([inspect.counts(lane) for lane in every]))
    for lane, answer in zip(every, answers, strict=True):
        if isinstance(answer, StoreUnavailable):
            found[answer.node] = (*found.get(answer.node, ()), lane)
    return found


def _sql_outbox(context: FleetContext) -> Operation[SqlOutbox | str | None]:
    url = context.config.outbox_url
    if url is None:
        return None
    try:
        return (yield from payloads.blocking(partial(read_counts, url, context.config.namespace)))
    except (OutboxUnavailable, ConfigError) as error:
        return str(error)


def ahead(began: int, now: int, ended: int) -> float:
    """Lower bound, in seconds, of the lead of the local clock over Redis.

    Args:
        began: The local time before the call, µs since 1970.
        now: The time of Redis in the call, µs since 1970.
        ended: The local time after the call, µs since 1970.
    """
    return max(0, began - now) / 1e6 - max(0, now - ended) / 1e6


def _lane(lane: Lane, now: int, counting: Sequence[str]) -> Operation[LaneSeen]:
    sections = [inspect.waiting(lane, section, limit=WAITING) for section in inspect.SECTIONS]
    calls: list[Call[Any]] = [
        inspect.counts(lane),
        limit.limits(lane),
        doctor.locks(lane, grace_us=GRACE_US),
        doctor.runs(lane),
    ]
    answers = yield unreadable.without_repair([*calls, *sections])
    damage: list[str] = []
    none = (0,) * BANDS
    instead: list[Any] = [
        Counts(now, none, none, none, 0, 0, 0, None, {}),
        limit.Settings(now, limit.Used(0, 0), {}, {}),
        Locks(0, 0, 0, {}),
        Leases(now, 0, 0, 0, ()),
        *[(now, [])] * len(sections),
    ]
    values = [unreadable.read_or(answer, other, damage) for answer, other in zip(answers, instead, strict=True)]
    counts, settings, locks, leases = values[:4]
    waiting: list[Waiting] = [row for _, rows in values[4:] for row in rows]
    damage += yield from unreadable.of_lane(lane, waiting, leases)
    seen = LaneSeen(
        lane,
        counts,
        hold=leases.hold,
        leases=leases.leases,
        runs=leases.runs,
        rows=leases.rows,
        waiting=tuple(_in_line(row) for row in waiting),
        locks=locks,
        groups=tuple(
            sorted(name.removeprefix(limit.PAUSED) for name in settings.fields if name.startswith(limit.PAUSED))
        ),
        damage=tuple(damage),
    )
    seen = yield from _further(seen)
    return replace(seen, endings=(yield from endings_of(lane, counts.now, counting)))


def _in_line(row: Waiting) -> InLine:
    header = header_or_empty(row.envelope)
    parked = bool(row.tries) and bool(Tries.parse(row.tries).parked_since)
    is_unbound = KID in header and FLEET not in header
    return InLine(row.id, str(header.get("function", "")), parked, bool(row.envelope), is_unbound)


def _further(seen: LaneSeen) -> Operation[LaneSeen]:
    """Read further pages of leases, if there are more."""
    skips = range(doctor.LEASES, min(seen.leases, PAGES * doctor.LEASES), doctor.LEASES)
    if not skips:
        return seen
    rows = {row.id: row for row in seen.rows}
    for answer in (yield unreadable.without_repair([doctor.runs(seen.lane, skip=skip) for skip in skips])):
        rows |= {row.id: row for row in value([answer]).rows}
    return replace(seen, rows=tuple(rows.values()))


ENDED = (COMPLETED, FAILED, CANCELLED, EXPIRED)
LATE_US = 60 * SECOND_US
"""µs after which the last sample no longer tells what has ended in the last hour."""


def ended_in_hour(context: FleetContext, last: int | None, now: int) -> Operation[int | None]:
    """Return how many jobs of the fleet have ended in the hour before the last sample; None without a recent sample.

    It costs one trip of at most seven commands.

    Args:
        context: The context of the fleet.
        last: The number of the last step of ten seconds that was sampled.
        now: The time of Redis, µs since 1970.
    """
    if last is None or now - (last + 1) * FINE.step * SECOND_US > LATE_US:
        return None
    first = last + 1 - int(HOUR) // FINE.step
    chunks = range(first // FINE.length, last // FINE.length + 1)
    asked = [samples.points(context.keys, f"{FINE.name}:{chunk}", ["", TOTAL]) for chunk in chunks]
    answers = yield unreadable.without_repair(asked)
    number = 0
    for chunk, answer in zip(chunks, answers, strict=True):
        rows = unreadable.read_or(answer, {"": b"", TOTAL: b""}, [])
        for step, point in unpack(rows[TOTAL], unpack_marks(rows[""])).items():
            if first <= chunk * FINE.length + step <= last:
                number += sum(count for field in ENDED if isinstance(count := point.get(field, 0), int))
    return number


def lacking_commands(context: FleetContext) -> Operation[tuple[str, tuple[str, ...] | None]]:
    """Return the role of the user, and the commands of that role that it may not run; None if nobody can tell."""
    role = role_of(user_of(context.config.url))
    if context.config.scripts == FUNCTIONS:
        role = role.with_functions()
    parts = list(batches(probes(role, context.config.namespace), doctor.CHUNK))
    answers = yield without_repair([doctor.lacking(context.keys, part) for part in parts])
    found: list[str] = []
    for part, answer in zip(parts, answers, strict=True):
        if answer is None or isinstance(answer, JobfleetError):
            return role.name, None
        found += [part[number] for number in answer]
    return role.name, tuple(found)
