"""Enqueue the committed jobs of an outbox under the ids that their rows have.

Jobs of one lane and level are enqueued in the order of their rows. Jobs that wait for others follow, because a parent
may be among the rows. Everything may be repeated: Redis makes one job per id.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from jobfleet.clock import to_us
from jobfleet.errors import (
    ConfigError,
    DuplicateJob,
    DurabilityUnavailable,
    DurabilityUncertain,
    FleetFull,
    InvalidJob,
    JobfleetError,
    PayloadUnavailable,
    StoreUnavailable,
    UnknownParent,
)
from jobfleet.model.option_types import FAST
from jobfleet.model.templates import RAISE
from jobfleet.operations.buffer.flush import Kept, aged, flush
from jobfleet.operations.durability import check_level, durably
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import Dependant, submit_prepared
from jobfleet.operations.jobs.enqueue import stored
from jobfleet.operations.lanes import open_queue
from jobfleet.operations.operation import Operation
from jobfleet.operations.outbox.packed import Order, unpack
from jobfleet.store.calls.enqueue import QueueNotCreated
from jobfleet.store.keys import lane_number

PARENT_WAIT = 300.0
"""Seconds after its writing for which a row waits for a parent: it may be in a row that is not relayed yet."""
PARENT_TRIES = 10
"""Tries for which it waits at least: about as long after the first one, if nothing was relayed for a while."""


class Fate(StrEnum):
    """How a row ended."""

    ENQUEUED = "enqueued"
    HELD = "held"  # another job holds the unique key, and the policy of the job is satisfied
    REFUSED = "refused"
    POSTPONED = "postponed"


class Outcome(NamedTuple):
    """How a row ended, and why.

    Attributes:
        fate: How it ended.
        error: Why; empty if it is in Redis.
        cause: What is logged once for all rows that are postponed for it; empty if that is the error.
        parents: The jobs that it waits for, if one of them is unknown.
    """

    fate: Fate
    error: str = ""
    cause: str = ""
    parents: tuple[str, ...] = ()


class Packed(NamedTuple):
    """A row of the outbox.

    Attributes:
        id: The id of the job.
        job: The packed job.
        age_us: Time since it was written, µs.
        tries: How often it was postponed.
    """

    id: str
    job: bytes
    age_us: int
    tries: int


_ENQUEUED = Outcome(Fate.ENQUEUED)
_Orders = dict[int, Order]


def relay(context: FleetContext, rows: Sequence[Packed], outcomes: dict[int, Outcome]) -> Operation[None]:
    """Enqueue the jobs of rows.

    Args:
        context: The context of the fleet.
        rows: The rows.
        outcomes: Gets one outcome per row, by its place; after an error, as many as are known.

    Raises:
        StoreUnavailable: Redis is unavailable. Some of the jobs may be enqueued.
        FleetFull: Redis has no memory left for them now.
        ConfigError: Redis refuses this client.
    """
    orders: _Orders = {}
    for place, row in enumerate(rows):
        try:
            orders[place] = unpack(context, row.id, row.job)
        except JobfleetError as error:
            outcomes[place] = Outcome(Fate.REFUSED, str(error))
    yield from _check_lanes(context, orders, outcomes)
    yield from _stow(context, orders, outcomes)
    yield from _check_levels(context, orders, outcomes)
    ages = {place: rows[place].age_us / 1e6 for place in orders}
    for level in dict.fromkeys(_level(context, order) for order in orders.values()):
        same = {at: one for at, one in orders.items() if not one.edges and _level(context, one) == level}
        yield from _flush(context, level, same, ages, outcomes)
    for place, order in orders.items():
        if order.edges:
            outcomes[place] = yield from _submit_dependant(context, order, ages[place], rows[place].tries)


def _check_lanes(context: FleetContext, orders: _Orders, outcomes: dict[int, Outcome]) -> Operation[None]:
    """Open the queues; refuse the jobs of a queue that cannot be created, or that a wrong lane was chosen for."""
    errors: dict[str, str] = {}
    for queue in dict.fromkeys(order.sent.lane.queue for order in orders.values()):
        own = [order for order in orders.values() if order.sent.lane.queue == queue]
        # What this process knows may be older than the row: the lanes may have grown.
        if not context.has_queue(queue) or any(_wrong_lane(context, order) for order in own):
            try:
                yield from open_queue(context, queue, holds_jobs=True)
            except (QueueNotCreated, InvalidJob) as error:
                errors[queue] = str(error)
    for place, order in list(orders.items()):
        why = errors.get(order.sent.lane.queue) or _wrong_lane(context, order)
        if why:
            outcomes[place] = Outcome(Fate.REFUSED, why)
            del orders[place]


def _wrong_lane(context: FleetContext, order: Order) -> str:
    lane = order.sent.lane
    known = context.queues[lane.queue]
    if lane.index < known.total and (not order.place or lane.index == lane_number(order.place, known.home)):
        return ""
    return (
        f"The program that has written the row took lane {lane.index} of queue {lane.queue!r}, which has "
        f"{known.home} home lanes of {known.total}; give it the setting lanes of the fleet, and write the job again."
    )


def _stow(context: FleetContext, orders: _Orders, outcomes: dict[int, Outcome]) -> Operation[None]:
    """Put large arguments into the payload store."""
    for place, order in list(orders.items()):
        if len(order.sent.entry.envelope) > context.inline_max:
            try:
                orders[place] = order._replace(sent=(yield from stored(context, order.sent)))
            except PayloadUnavailable as error:
                outcomes[place] = Outcome(Fate.POSTPONED, str(error))
                del orders[place]


def _level(context: FleetContext, order: Order) -> str:
    """The level that the server must confirm; empty for ``fast``."""
    if context.ignores_levels:
        return ""
    return order.sent.level or context.levels.get(order.sent.lane.queue, "")


def _check_levels(context: FleetContext, orders: _Orders, outcomes: dict[int, Outcome]) -> Operation[None]:
    for place, order in list(orders.items()):
        level = _level(context, order)
        if level not in ("", FAST):
            try:
                yield from check_level(context, level, order.sent.lane)
            except DurabilityUnavailable as error:
                outcomes[place] = Outcome(Fate.POSTPONED, str(error))
                del orders[place]


def _flush(
    context: FleetContext, level: str, orders: _Orders, ages: dict[int, float], outcomes: dict[int, Outcome]
) -> Operation[None]:
    """Enqueue jobs of one level; relative times count from the writing of the row."""
    if not orders:
        return
    sending = flush(context, [Kept(one.sent, -ages[at]) for at, one in orders.items()], 0.0)
    if level:
        done = yield from durably(context, next(iter(orders.values())).sent.lane, (level,), sending)
        refusals, is_reached = done.value, done.is_reached
    else:
        refusals, is_reached = (yield from sending), True
    for number, (place, order) in enumerate(orders.items()):
        error = refusals.get(number)
        if error is not None:
            outcomes[place] = _refused(order, error)
        else:
            unsure = f"The server has not confirmed durability={level!r} in time."
            outcomes[place] = _ENQUEUED if is_reached else Outcome(Fate.POSTPONED, unsure)


def _refused(order: Order, error: JobfleetError) -> Outcome:
    unique = order.sent.unique
    if isinstance(error, DuplicateJob) and unique is not None and unique.on_conflict != RAISE:
        return Outcome(Fate.HELD)  # it returned the other job, or debounced it
    return Outcome(Fate.REFUSED, str(error))


def _submit_dependant(context: FleetContext, order: Order, age: float, tries: int) -> Operation[Outcome]:
    sent = order.sent
    entry = aged(sent.entry, to_us(age))
    made = Dependant(sent.lane, entry, order.edges, sent.unique, _level(context, order))
    try:
        receipt = yield from submit_prepared(context, made)
    except UnknownParent as error:
        fate = Fate.POSTPONED if age < PARENT_WAIT or tries < PARENT_TRIES else Fate.REFUSED
        return Outcome(fate, str(error), "parent", tuple(edge.parent for edge in order.edges))
    except DurabilityUnavailable as error:
        return Outcome(Fate.POSTPONED, str(error))
    except DurabilityUncertain as error:
        return Outcome(Fate.POSTPONED, str(error), "unconfirmed")
    except (StoreUnavailable, FleetFull, ConfigError):
        raise
    except JobfleetError as error:
        return _refused(order, error)
    return _ENQUEUED if receipt.id == entry.id else Outcome(Fate.HELD)
