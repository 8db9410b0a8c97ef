"""Remove a queue: its name, and the keys of its lanes that have no TTL."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from jobfleet.errors import ConfigError, EncodingError, InvalidJob
from jobfleet.model import check_queue
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.cancel import purge_queue
from jobfleet.operations.lanes import no_queue
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.queues.info import queue_info
from jobfleet.operations.workers.info import workers_of
from jobfleet.store.calls import cron, inspect
from jobfleet.store.calls.control import Cleared, clear_lane, close_queue
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.fleet import whole

SHOWN = 5


def remove_queue(
    context: FleetContext, queue: str, *, purge: bool, by: str | None, dry_run: bool = False
) -> Operation[int]:
    """Remove a queue that has no open job; return how many dead letters were deleted with it.

    The name is removed first; then a script checks each lane again and clears it. A producer that still remembers the
    queue may enqueue in between; then the name is restored, and the queue is not removed.

    Args:
        context: The context of the fleet.
        queue: The queue.
        purge: Cancel its waiting jobs and delete its dead letters; otherwise these prevent the removal.
        by: Who asks; None for nobody in particular.
        dry_run: Only check whether something prevents the removal.

    Raises:
        ConfigError: Something prevents the removal; the message has the remedy.
        UnknownQueue: The queue does not exist.
        InvalidJob: `queue` is not a queue name.
    """
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
    waiting = info.queued + info.scheduled + info.blocked + info.retrying
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
        yield from purge_queue(context, queue, by)
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
    from jobfleet.operations.cron.entries import entry_of  # imports croniter, which only recurring jobs need

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
