"""Which queues there are, and their lanes."""

from __future__ import annotations

from jobfleet.errors import ConfigError
from jobfleet.model import check_queue
from jobfleet.operations.fleet_context import Space
from jobfleet.operations.operation import Verb, value
from jobfleet.store.calls import journal
from jobfleet.store.fleet import whole
from jobfleet.store.keys import Lane
from jobfleet.store.records import FleetSeen


def open_queue(space: Space, queue: str) -> Verb[None]:
    """Make a queue known; lanes that are new to us are journalled before anything happens in them."""
    answers = yield (space.opening(queue), journal.consumers(space.keys))
    home, lanes = value(answers[:1])
    groups = value(answers[1:])
    if groups and space.queues.get(queue, (0.0, 0, 0))[2] != lanes:
        made = [(lane, group, most) for lane in space.lanes_of(queue, lanes) for group, most in groups.items()]
        yield tuple(journal.register(lane, group, most=most) for lane, group, most in made)
    space.remember(queue, (home, lanes))


def seen(space: Space) -> Verb[FleetSeen]:
    """Queues, workers and functions."""
    return (yield from whole(space.keys))


def lanes(space: Space, queue: str | None = None) -> Verb[list[Lane]]:
    """All lanes of a queue, or of all queues.

    Raises:
        ConfigError: There is no such queue.
    """
    fleet = yield from seen(space)
    if queue is None:
        return [lane for name, (_, count) in sorted(fleet.queues.items()) for lane in space.lanes_of(name, count)]
    check_queue(queue)
    if queue not in fleet.queues:
        known = ", ".join(sorted(fleet.queues)) or "none yet"
        raise ConfigError(f"No queue {queue!r}; there are: {known}.")
    return space.lanes_of(queue, fleet.queues[queue][1])
