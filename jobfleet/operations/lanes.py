"""Open a queue, and list queues and their lanes."""

from __future__ import annotations

from collections.abc import Iterable

from jobfleet.clock import monotonic
from jobfleet.errors import StoreUnavailable, UnknownQueue, warn
from jobfleet.model import check_queue
from jobfleet.model.option_types import FAST
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import EachLane, Operation, value
from jobfleet.store.calls import enqueue, inspect, journal
from jobfleet.store.fleet import whole
from jobfleet.store.keys import Lane
from jobfleet.store.records import FleetSeen


def open_queue(context: FleetContext, queue: str, *, holds_jobs: bool = False) -> Operation[None]:
    """Open a queue, and register the journal consumers in lanes that are new to this process.

    A producer may not register them; workers and reapers do when they see the lanes. It warns if the queue did not
    exist, and its name resembles that of another queue.

    Args:
        context: The context of the fleet.
        queue: The queue.
        holds_jobs: Whether it gets a job at once, so that only a purge removes it.
    """
    first, known = context.keys.lane(queue, 0), context.queues.get(queue)
    asked = (context.open_queue_call(queue), journal.consumers(context.keys), enqueue.level(first))
    opened, consumers, found = yield EachLane(asked)
    if isinstance(opened, StoreUnavailable) or isinstance(consumers, StoreUnavailable):
        if known is not None:  # the node of the fleet's keys is away from the cluster; lanes are only ever added
            context.queues[queue] = known._replace(read_at=monotonic())
            return
        opened, consumers = yield asked[:2]
    (home, lanes, is_new), groups = value([opened]), value([consumers])
    if isinstance(found, StoreUnavailable) and known is not None:
        found = context.levels.get(queue, FAST)
    elif isinstance(found, StoreUnavailable):  # every lane has the level
        others = yield EachLane([enqueue.level(lane) for lane in context.lanes_of(queue, lanes)])
        found = next((one for one in others if not isinstance(one, StoreUnavailable)), found)
    level = value([found])
    if groups and (known is None or known.total != lanes):
        made = [(lane, group, most) for lane in context.lanes_of(queue, lanes) for group, most in groups.items()]
        yield EachLane([journal.register(lane, group, most=most) for lane, group, most in made])
    context.remember(queue, (home, lanes), level)
    if is_new:
        yield from _warn_if_misspelt(context, queue, holds_jobs=holds_jobs)


def _warn_if_misspelt(context: FleetContext, queue: str, *, holds_jobs: bool) -> Operation[None]:
    from jobfleet.model.names import similar_queue  # for new queues

    _, known = value((yield (inspect.queues(context.keys),)))  # a page: a fleet with more queues names them by program
    if meant := similar_queue(queue, known.keys() - {queue}):
        remedy = f"'jobfleet queues rm {queue}{' --purge' if holds_jobs else ''}' removes it."
        warn(f"Queue {queue!r} is new; did you mean {meant!r}? {remedy}")


def seen(context: FleetContext) -> Operation[FleetSeen]:
    """Read the queues, the workers and the functions of the fleet."""
    return (yield from whole(context.keys))


def lanes(context: FleetContext, queue: str | None = None) -> Operation[list[Lane]]:
    """List all lanes of a queue, or of all queues.

    Raises:
        UnknownQueue: The queue does not exist.
        InvalidJob: `queue` is not a queue name.
    """
    fleet = yield from seen(context)
    if queue is None:
        return [lane for name, (_, count) in sorted(fleet.queues.items()) for lane in context.lanes_of(name, count)]
    check_queue(queue)
    if queue not in fleet.queues:
        raise no_queue(queue, fleet.queues)
    return context.lanes_of(queue, fleet.queues[queue][1])


def opened_lanes(context: FleetContext, queue: str | None) -> Operation[list[Lane]]:
    """List all lanes of a queue, which is created if it does not exist, or of all queues.

    It warns if the name of the new queue resembles that of another queue.

    Raises:
        ConfigError: There are too many queues.
        InvalidJob: `queue` is not a queue name.
    """
    fleet = yield from seen(context)
    if queue is None or queue in fleet.queues:
        return (yield from lanes(context, queue))
    yield from open_queue(context, check_queue(queue))
    return context.lanes_of(queue, context.queues[queue].total)


def no_queue(queue: str, known: Iterable[str]) -> UnknownQueue:
    """Make the error about a queue that does not exist; it names the one that was probably meant."""
    from jobfleet.model.names import similar_queue  # for those who misspell

    names = sorted(known)
    close = similar_queue(queue, names)
    meant = f"did you mean {close!r}? There are" if close else "there are"
    return UnknownQueue(queue, f"No queue {queue!r}; {meant}: {', '.join(names) or 'none yet'}.")
