"""The queues of a fleet: list them, see where their lanes are, set their durability, and remove them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from jobfleet.clock import moment
from jobfleet.errors import ConfigError, EncodingError, InvalidJob, StoreUnavailable
from jobfleet.model import Priority, check_queue
from jobfleet.model.option_checks import check_level
from jobfleet.operations.audit import Change, Outcome
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes, no_queue, opened_lanes
from jobfleet.operations.limits import set_in_lanes
from jobfleet.operations.operation import EachLane, Operation, value
from jobfleet.operations.verb import DRY_RUN, Level, QueueName, counted, verb
from jobfleet.operations.workers import workers_of
from jobfleet.store.call import DURABILITY
from jobfleet.store.calls import control, cron, inspect
from jobfleet.store.calls.control import Cleared, clear_lane, close_queue, read_functions
from jobfleet.store.calls.doctor import Topology, topology
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.fleet import whole
from jobfleet.store.keys import BANDS, TOMBSTONE_MS, Lane
from jobfleet.store.records import Counts, has_id

ENDINGS = ("completed", "failed", "cancelled", "expired")
TOTALS = ("enqueued", "completed", "failed", "cancelled", "expired", "retried", "lost", "replayed")


@dataclass(frozen=True, slots=True)
class FunctionPause:
    """A function that is paused in a queue.

    Attributes:
        function: The name of the function.
        by: Who paused it; None for nobody in particular.
        since: When it was paused.
        reason: Why; may be empty.
    """

    function: str
    by: str | None
    since: datetime | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """A queue at one moment.

    Attributes:
        name: The name of the queue.
        lanes: The number of its lanes.
        queued: Jobs that are due now.
        scheduled: Jobs that are due later for the first time.
        blocked: Jobs that wait for other jobs.
        retrying: Jobs that are due later again; approximate while some of them are due already.
        running: Running jobs.
        dead: Dead letters.
        by_priority: Waiting jobs per priority.
        latency: For how long the oldest due job has been due.
        paused: Who paused the queue; None when it is not paused.
        totals: Counts since the queue was created.
        run_time: The sum of the times of all finished runs.
        paused_reason: Why it is paused; may be empty.
        paused_functions: The functions that are paused in it.
        unread: Events in its journal that a consumer has not acknowledged.
        dropped: Events that were dropped before a consumer acknowledged them, because the journal was full.
        durability: The durability that was set for its jobs; None if none was.
        away: The numbers of lanes that are not counted, because their node of the cluster does not reply.
    """

    name: str
    lanes: int
    queued: int
    scheduled: int
    blocked: int
    retrying: int
    running: int
    dead: int
    by_priority: Mapping[str, int]
    latency: timedelta
    paused: str | None
    totals: Mapping[str, int]
    run_time: timedelta
    paused_reason: str = ""
    paused_functions: Sequence[FunctionPause] = ()
    unread: int = 0
    dropped: int = 0
    durability: str | None = None
    away: Sequence[int] = ()


def queues(context: FleetContext) -> Operation[list[QueueInfo]]:
    """List every queue with its present counts."""
    every = yield from lanes(context)
    if not every:
        return []
    answers: list[Any] = yield EachLane([inspect.counts(lane) for lane in every])
    by_queue: dict[str, list[Counts]] = {lane.queue: [] for lane in every}
    away: dict[str, list[int]] = {lane.queue: [] for lane in every}
    for lane, answer in zip(every, answers, strict=True):
        if isinstance(answer, StoreUnavailable):
            away[lane.queue].append(lane.index)
        else:
            by_queue[lane.queue].append(value([answer]))
    return [queue_info(name, rows, away=away[name]) for name, rows in by_queue.items()]


def queue_info(name: str, rows: Sequence[Counts], *, away: Sequence[int] = ()) -> QueueInfo:
    """Sum the counts of the lanes of a queue.

    Args:
        name: The name of the queue.
        rows: The counts of its lanes.
        away: The numbers of lanes without counts.
    """
    later = sum(sum(row.later) for row in rows)
    retrying = min(later, sum(max(0, row.totals.get("retrying", 0)) for row in rows))
    oldest = max((row.now - row.oldest_due for row in rows if row.oldest_due), default=0)
    waiting = {
        Priority(3 - band).name.lower(): sum(row.due[band] + row.later[band] + row.blocked[band] for row in rows)
        for band in range(BANDS)
    }
    return QueueInfo(
        name=name,
        lanes=len(rows) + len(away),
        queued=sum(sum(row.due) for row in rows),
        scheduled=later - retrying,
        blocked=sum(sum(row.blocked) for row in rows),
        retrying=retrying,
        running=sum(row.running for row in rows),
        dead=sum(row.dead for row in rows),
        by_priority=waiting,
        latency=timedelta(microseconds=oldest),
        paused=next((row.paused for row in rows if row.paused is not None), None),
        totals={word: sum(row.totals.get(word, 0) for row in rows) for word in TOTALS},
        run_time=timedelta(microseconds=sum(row.totals.get("run_us", 0) for row in rows)),
        paused_reason=next((row.reason for row in rows if row.paused is not None), ""),
        paused_functions=tuple(_paused_functions(rows)),
        unread=sum(row.totals.get("journal", 0) - row.totals.get("journal_low", 0) for row in rows),
        dropped=sum(row.totals.get("journal_dropped", 0) for row in rows),
        durability=next((row.durability for row in rows if row.durability), None),
        away=tuple(away),
    )


def _paused_functions(rows: Sequence[Counts]) -> Iterator[FunctionPause]:
    paused = {name: pause for row in reversed(rows) for name, pause in read_functions(row.functions).items()}
    for name, pause in sorted(paused.items()):
        yield FunctionPause(name, pause.by, moment(pause.at), pause.reason)


CROWDED, UNEVEN = 100, 4
"""A lane is hot with so many due jobs, if they are so many times those of each other lane."""


@dataclass(frozen=True, slots=True)
class LaneInfo:
    """A lane at one moment.

    Attributes:
        queue: The name of the queue.
        lane: The number of the lane.
        node: The address of the cluster node that serves it; None for one server, or if no node does.
        queued: Jobs that are due now.
        later: Jobs that are due later, or wait for others.
        running: Running jobs.
        is_hot: Whether it has many more due jobs than the other lanes of its queue.
        is_away: Whether its node does not reply, so that its jobs are not counted.
    """

    queue: str
    lane: int
    node: str | None
    queued: int
    later: int
    running: int
    is_hot: bool
    is_away: bool = False


def spread(context: FleetContext, queue: str | None = None) -> Operation[list[LaneInfo]]:
    """List the lanes of one queue, or of all.

    Raises:
        UnknownQueue: There is no such queue.
    """
    every = yield from lanes(context, queue)
    if not every:
        return []
    nodes, *answers = yield EachLane((topology(context.keys), *(inspect.counts(lane) for lane in every)))
    counts = [one if isinstance(one, StoreUnavailable) else value([one]) for one in answers]
    return lane_infos(every, counts, value([nodes]))


def lane_infos(every: Sequence[Lane], counts: Sequence[Counts | StoreUnavailable], nodes: Topology) -> list[LaneInfo]:
    """Return a row per lane, from its counts or the error about its node. Pure."""
    due = [0 if isinstance(one, StoreUnavailable) else sum(one.due) for one in counts]
    by_queue: dict[str, list[int]] = {}
    for lane, number in zip(every, due, strict=True):
        by_queue.setdefault(lane.queue, []).append(number)
    rows = []
    for lane, one, number in zip(every, counts, due, strict=True):
        node = nodes.node_of(lane)
        if isinstance(one, StoreUnavailable):
            address = node.address if node else one.node or None
            rows.append(LaneInfo(lane.queue, lane.index, address, 0, 0, 0, is_hot=False, is_away=True))
            continue
        later = sum(one.later) + sum(one.blocked)
        hot = is_hot(number, by_queue[lane.queue])
        rows.append(LaneInfo(lane.queue, lane.index, node.address if node else None, number, later, one.running, hot))
    return rows


def is_hot(due: int, lanes: Sequence[int]) -> bool:
    """Whether a lane has many more due jobs than the other lanes of its queue have on average.

    Args:
        due: The due jobs of the lane.
        lanes: The due jobs of each lane of its queue.
    """
    return len(lanes) > 1 and due >= CROWDED and due > UNEVEN * (sum(lanes) - due) / (len(lanes) - 1)


def _durability_before(context: FleetContext, values: Mapping[str, Any]) -> Operation[Change]:
    counts = value((yield (inspect.counts(context.keys.lane(values["queue"], 0)),)))
    return Change({DURABILITY: counts.durability or None}, {DURABILITY: values[DURABILITY]})


def _durability_sentence(values: Mapping[str, Any], has_changed: bool) -> str:
    text = f"{values['queue']}: durability {values[DURABILITY] or 'of the fleet'}"
    return f"{text}." if has_changed else f"{text}, as before."


@verb(
    "queues.set", method="set_durability", route="/queues/{queue}/set", recorded="queue.durability",
    target=("queue", DURABILITY), titled=lambda values: str(values["queue"]), before=_durability_before,
    done=_durability_sentence, creates=True,
)  # fmt: skip
def set_durability(context: FleetContext, queue: QueueName, durability: Level) -> Operation[bool]:
    """Set the durability of jobs of a queue that have none of their own, nor from their function.

    Producers apply it within five seconds. Jobs that are already in the queue keep their level.

    Args:
        queue: The queue; it is created if it does not exist.
        durability: The level: fast, replicated or fsync; 'none' (None) for that of the fleet.

    Returns:
        False if it was so before.

    Raises:
        ConfigError: The queue is new, and there are too many queues.
        InvalidJob: The level or the name of the queue is not valid.
    """
    if durability is not None:
        check_level(durability, field=DURABILITY)
    every = yield from opened_lanes(context, queue)
    has_changed = yield from set_in_lanes(every, DURABILITY, durability or "")
    context.queues.pop(queue, None)  # this client reads it again at once
    return has_changed


def _named_queue(context: FleetContext, name: str) -> Operation[QueueInfo]:
    every = {queue.name: queue for queue in (yield from queues(context))}
    if name not in every:
        raise no_queue(name, every)
    return every[name]


def _waiting(queue: QueueInfo) -> int:
    return queue.queued + queue.scheduled + queue.blocked + queue.retrying


def _purge_question(context: FleetContext, values: Mapping[str, Any]) -> Operation[str]:
    waiting = _waiting((yield from _named_queue(context, values["queue"])))
    return f"Cancel {counted(waiting, 'waiting job')} of {values['queue']}?" if waiting else ""


@verb(
    "queues.purge", method="purge_queue", route="/queues/{queue}/purge", target=("queue",), result="cancelled",
    done=lambda values, number: f"Cancelled {counted(number, 'job')} of {values['queue']}.", question=_purge_question,
    holes={"page": "`/jobs/bulk/preview`, which shows the number first"},
)  # fmt: skip
def purge_queue(context: FleetContext, queue: QueueName, *, by: str | None = None) -> Operation[int]:
    """Cancel every waiting job of a queue. Running jobs continue.

    Args:
        queue: The queue.
        by: The person or program that cancels, for the record.

    Returns:
        How many there were.

    Raises:
        ConfigError: There is no such queue.
    """
    every = yield from lanes(context, queue)
    count = 0
    for lane in every:
        for section in reversed(inspect.SECTIONS):  # a head of a sequence last: its end frees only the next job
            skip = 0
            while True:
                _, rows = value((yield (inspect.waiting(lane, section, skip=skip),)))
                if not rows:
                    break
                ids = [row.id for row in rows if row.id.startswith(lane.id_prefix) and has_id(row)]
                letters = ""
                if ids:
                    letters = value((yield (control.cancel(context.keys, lane, ids, by=by, ttl_ms=TOMBSTONE_MS),)))
                cancelled = letters.count("c")
                count += cancelled
                skip += len(rows) - cancelled  # pass by a row that stays, such as one that is not a job
    return count


SHOWN = 5


def _removal_question(context: FleetContext, values: Mapping[str, Any]) -> Operation[str]:
    """Ask about a queue that can be removed."""
    queue = yield from _named_queue(context, values["queue"])
    yield from remove_queue(context, **{**values, DRY_RUN: True})
    what = f"the counts of {counted(queue.totals.get('completed', 0), 'completed job')}"
    if values["purge"]:
        what = f"{counted(_waiting(queue), 'waiting job')}, {counted(queue.dead, 'dead letter')} and {what}"
    return f"Remove queue {queue.name} with {what}?"


def _removed(values: Mapping[str, Any], _letters: int) -> str:
    return f"{'Nothing prevents the removal of' if values[DRY_RUN] else 'Removed'} queue {values['queue']}."


@verb(
    "queues.remove", method="remove_queue", command="queues rm", route="/queues/{queue}/remove", target=("queue",),
    role="admin", change=lambda _, values: {"purge": values["purge"]}, result="dead_letters",
    end=lambda letters: Outcome("done", letters), done=_removed, question=_removal_question,
)  # fmt: skip
def remove_queue(
    context: FleetContext, queue: QueueName, *, purge: bool = False, by: str | None = None, dry_run: bool = False
) -> Operation[int]:
    """Remove a queue that no worker serves and that has no open jobs, with its counts, limits and pauses.

    A queue with waiting jobs or dead letters is removed only with purge, one with running jobs never. Results stay
    until their TTL ends. A later enqueue creates the queue again.

    Args:
        queue: The queue.
        purge: Cancel its waiting jobs and delete its dead letters.
        by: The person or program that removes it, for the record.
        dry_run: Only check whether it can be removed.

    Returns:
        How many dead letters were deleted.

    Raises:
        ConfigError: There is no such queue; a worker serves it; jobs are open, or dead without `purge`; a cron
            entry puts jobs there; readers of its journal have not read all.
        InvalidJob: The name of the queue is not valid.
    """
    # The name is removed first; then a script checks each lane again and clears it. A producer that still remembers
    # the queue may enqueue in between; then the name is restored, and the queue is not removed.
    check_queue(queue)
    seen = yield from whole(context.keys)
    if queue not in seen.queues:
        raise no_queue(queue, seen.queues)
    serving = [worker.id for worker in workers_of(context, seen) if not worker.is_gone and queue in worker.queues]
    if serving:
        raise ConfigError(f"Queue {queue!r} is served by {_named(serving)}; stop them, or start them without it.")
    entries = _entries_of(queue, value((yield (cron.entries(context.keys),)))[1])
    if entries:
        raise ConfigError(
            f"Cron entries put jobs into {queue!r}: {_named(entries)}. Remove them: 'jobfleet cron rm NAME'."
        )
    lanes = context.lanes_of(queue, seen.queues[queue][1])
    answers: list[Any] = yield [inspect.counts(lane) for lane in lanes]
    info = queue_info(queue, [value([answer]) for answer in answers])
    waiting = _waiting(info)
    if info.running or (not purge and (waiting or info.dead)):
        raise ConfigError(_not_done(queue, waiting, info.running, info.dead))
    if info.unread > 0:
        raise ConfigError(
            f"Readers of the journal have not acknowledged {info.unread:,} events of {queue!r}, which would be lost; "
            "try again when they have ('jobfleet doctor' names them)."
        )
    if dry_run:
        return 0
    if waiting:
        yield from purge_queue(context, queue, by=by)
    home, count = value((yield (close_queue(context.keys, queue),))) or seen.queues[queue]
    context.queues.pop(queue, None)
    lanes = context.lanes_of(queue, count)
    cleared: list[Cleared] = [value([one]) for one in (yield [clear_lane(lane, drops_letters=purge) for lane in lanes])]
    if not all(one.is_done for one in cleared):
        for wanted in dict.fromkeys((home, count)):  # home lanes first: their number is set once
            value((yield (open_queue(context.keys, queue, wanted, most=context.config.max_queues + 1),)))
        left = [one for one in cleared if not one.is_done]
        sums = [sum(getattr(one, name) for one in left) for name in ("waiting", "running", "letters")]
        raise ConfigError(_not_done(queue, *sums))
    return sum(one.letters for one in cleared)


def _not_done(queue: str, waiting: int, running: int, dead: int) -> str:
    what = (("waiting", waiting), ("running", running), ("dead", dead))
    left = ", ".join(f"{number:,} {word}" for word, number in what if number)
    left = left or "ended ones whose dependants are not unblocked yet"
    remedy = "wait until they have ended" if running or not waiting + dead else "purge it with --purge (purge=True)"
    return f"Queue {queue!r} still has jobs: {left}; {remedy}."


def _entries_of(queue: str, rows: Iterable[cron.Scheduled]) -> list[str]:
    from jobfleet.operations.cron import entry_of  # imports croniter, which only recurring jobs need

    names = []
    for row in rows:
        try:
            entry = entry_of(row.record)
        except (InvalidJob, EncodingError):
            continue  # a later version wrote it; its next fire opens the queue again
        if entry.queue == queue:
            names.append(row.name)
    return names


def _named(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
