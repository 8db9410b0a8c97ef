"""What `doctor` judges: the server, the fleet and a bounded part of each lane, read once. See `verbs` for the form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from jobfleet.clock import wall_us
from jobfleet.codec import header_or_empty
from jobfleet.config import JobConfig
from jobfleet.errors import ScriptContractError
from jobfleet.operations import unreadable
from jobfleet.operations.cron import firing, recurring
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.queues.info import QueueInfo, queue_info
from jobfleet.operations.workers.info import WorkerInfo, workers_of
from jobfleet.retry import Tries
from jobfleet.store.call import Call
from jobfleet.store.calls import cron, doctor, inspect, journal, limit
from jobfleet.store.calls.doctor import Kept, Leased, Leases, Locks
from jobfleet.store.calls.paused import read_functions
from jobfleet.store.fleet import whole
from jobfleet.store.job_rows import Finished, Waiting
from jobfleet.store.keys import BANDS, Lane
from jobfleet.store.records import Counts, FleetSeen

PAGES = 20
"""Of leases of a lane: 500 at most."""
WAITING = 20
"""Jobs looked at of each section in which they wait: the first ones."""
BATCHES = 50
ENDED_PAGES = 4
HOUR = 3600.0
GRACE_US = 3_600_000_000
"""For which a unique key may stay whose time is over; the retention duty takes it sooner."""


class InLine(NamedTuple):
    """A waiting job.

    Attributes:
        id: Its id.
        function: Its function's name; empty when that cannot be read.
        is_parked: Whether a worker had it and could not run it.
        has_envelope: Whether its envelope is there.
    """

    id: str
    function: str
    is_parked: bool
    has_envelope: bool


@dataclass(frozen=True, slots=True)
class Endings:
    """How jobs of a lane have ended lately.

    Attributes:
        number: How many did.
        seconds: In how many seconds, the last hour at most.
        kept: Of the last of them: the id, its result, and for how many seconds it had been kept.
    """

    number: int = 0
    seconds: float = HOUR
    kept: tuple[tuple[str, Kept, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LaneSeen:
    """A lane.

    Attributes:
        lane: Which.
        counts: How much stands where.
        hold: Until when its leases are not judged, µs; 0 when they are.
        leases: How many leases there are.
        runs: How many runs there were at that moment.
        rows: Leases and runs that were looked at.
        waiting: The first waiting jobs of each section.
        locks: Unique keys that were looked at.
        endings: How its jobs have ended lately.
        groups: Its groups that are paused.
        damage: What cannot be read of it.
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
        config: The settings here.
        now: Redis's time, µs.
        ahead: By how many seconds at least this machine's clock is ahead of Redis's; negative when it is behind.
        info: What the server tells of itself.
        workers: Those heard of lately, gone ones included.
        functions: The names that workers have published.
        known: The names that live workers know.
        paused: The functions that are paused in every queue.
        consumers: Who reads the journals → how many events a lane keeps at most.
        lanes: Every lane.
        recurring: The names of recurring jobs, those included that a function brings and no entry is made of yet.
        fired_by: Who has announced that it fires them; see `CronInfo`.
        damage: What cannot be read of the fleet's own keys.
    """

    config: JobConfig
    now: int
    ahead: float = 0.0
    info: Mapping[str, str] = field(default_factory=dict)
    workers: tuple[WorkerInfo, ...] = ()
    functions: frozenset[str] = frozenset()
    known: frozenset[str] = frozenset()
    paused: tuple[str, ...] = ()
    consumers: Mapping[str, int] = field(default_factory=dict)
    lanes: tuple[LaneSeen, ...] = ()
    recurring: tuple[str, ...] = ()
    fired_by: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()

    @property
    def alive(self) -> list[WorkerInfo]:
        """The workers that are there."""
        return [worker for worker in self.workers if not worker.is_gone]

    @property
    def queues(self) -> list[QueueInfo]:
        """Every queue."""
        by_queue: dict[str, list[Counts]] = {}
        for seen in self.lanes:
            by_queue.setdefault(seen.lane.queue, []).append(seen.counts)
        return [queue_info(name, rows) for name, rows in by_queue.items()]

    def number(self, name: str) -> int:
        """A number that the server tells; 0 where it does not."""
        text = self.info.get(name, "")
        return int(text) if text.isdigit() else 0


def take(context: FleetContext) -> Operation[Checkup]:
    """Read what there is to judge: a trip for the fleet, a few bounded ones for each lane. Nothing is repaired."""
    began = wall_us()
    asked = unreadable.without_repair(
        [
            doctor.server(context.keys),
            journal.consumers(context.keys),
            cron.entries(context.keys),
            cron.attendants(context.keys),
            context.kinds_call(),
        ]
    )
    server, consumers, entries, attendants, kinds = yield asked
    ended = wall_us()
    damage: list[str] = []
    now, info = value([server])
    try:
        fleet = yield from unreadable.run_without_repair(whole(context.keys))
    except ScriptContractError as error:
        damage.append(str(error))
        fleet = FleetSeen(now, {}, (), {})
    readers = unreadable.read_or(consumers, {}, damage)
    _, rows = unreadable.read_or(entries, (now, []), damage)
    attended = unreadable.read_or(attendants, [], damage)
    told = unreadable.read_or(kinds, None, damage)
    known = [name for kind in (told.kinds if told is not None else ()) for name in kind.functions if name]
    damage += yield from unreadable.of_fleet(context.keys, fleet)
    lanes: tuple[LaneSeen, ...] = ()
    for name, (_, count) in sorted(fleet.queues.items()):
        for lane in context.lanes_of(name, count):
            lanes += ((yield from _lane(lane, now)),)
    return Checkup(
        context.config,
        now,
        ahead=ahead(began, now, ended),
        info=info,
        workers=tuple(workers_of(context, fleet)),
        functions=frozenset(fleet.functions),
        known=frozenset(known),
        paused=tuple(read_functions(fleet.paused)),
        consumers=readers,
        lanes=lanes,
        recurring=tuple(sorted({row.name for row in rows} | set(recurring(fleet)))),
        fired_by=firing(context, attended),
        damage=tuple(damage),
    )


def ahead(began: int, now: int, ended: int) -> float:
    """By how many seconds at least a clock is ahead that told `began` and `ended` around another's `now`; all in µs."""
    return max(0, began - now) / 1e6 - max(0, now - ended) / 1e6


def _lane(lane: Lane, now: int) -> Operation[LaneSeen]:
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
    return replace(seen, endings=(yield from _endings(lane, counts.now)))


def _in_line(row: Waiting) -> InLine:
    function = str(header_or_empty(row.envelope).get("function", ""))
    parked = bool(row.tries) and bool(Tries.parse(row.tries).parked_since)
    return InLine(row.id, function, parked, bool(row.envelope))


def _further(seen: LaneSeen) -> Operation[LaneSeen]:
    """Look at further pages of leases, where there are more."""
    skips = range(doctor.LEASES, min(seen.leases, PAGES * doctor.LEASES), doctor.LEASES)
    if not skips:
        return seen
    rows = {row.id: row for row in seen.rows}
    for answer in (yield unreadable.without_repair([doctor.runs(seen.lane, skip=skip) for skip in skips])):
        rows |= {row.id: row for row in value([answer]).rows}
    return replace(seen, rows=tuple(rows.values()))


def _endings(lane: Lane, now: int) -> Operation[Endings]:
    """How many jobs ended within the last hour, or since the oldest of the batches that are looked at."""
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
    return Endings(
        len(rows), seconds, tuple((job_id, one, last[job_id]) for job_id, one in zip(last, kept, strict=True))
    )


def _at(row: Finished) -> int:
    """When a job has ended, µs."""
    return int(row.entry.partition("-")[0]) * 1000
