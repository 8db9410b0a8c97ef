"""The transactional outbox: prepare and pack the jobs of its rows, and enqueue those that are committed.

The call is sealed by the program that writes the row, so the database holds what Redis would hold: with a keyring,
the arguments are signed or encrypted there, too. The relay opens the call, which proves that a holder of a key has
written it. Options are in clear text, as in Redis.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

import msgpack

from jobfleet.clock import to_us
from jobfleet.codec import amended, open_envelope
from jobfleet.errors import (
    ConfigError,
    DuplicateJob,
    DurabilityUnavailable,
    DurabilityUncertain,
    EncodingError,
    FleetFull,
    InvalidJob,
    JobfleetError,
    JobNotFound,
    PayloadUnavailable,
    StoreUnavailable,
    UnknownParent,
)
from jobfleet.functions.callables import BUILT_IN
from jobfleet.model import Job, JobStatus
from jobfleet.model.option_types import FAST
from jobfleet.model.templates import RAISE
from jobfleet.operations.buffer import Kept, aged, flush
from jobfleet.operations.durability import check_level, durably
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.flows.dependencies import (
    Dependant,
    edges_of,
    parents_in_header,
    refuse_displacing,
    submit_prepared,
)
from jobfleet.operations.jobs.enqueue import check_times, stored
from jobfleet.operations.jobs.prepare import (
    Resolved,
    Submission,
    Uniqueness,
    has_callbacks,
    is_later,
    lane_index,
    resolve_in,
    submission,
)
from jobfleet.operations.lanes import open_queue
from jobfleet.operations.operation import Operation
from jobfleet.store.calls.enqueue import QueueNotCreated
from jobfleet.store.calls.flow import Edge
from jobfleet.store.keys import BANDS, Lane, lane_number
from jobfleet.store.records import Entry

VERSION = 1


class Order(NamedTuple):
    """A job of an outbox.

    Attributes:
        sent: The prepared job.
        place: The text that decides on its lane: its group, its unique key or the id that the caller gave; empty if
            any lane will do.
        edges: The jobs that it waits for.
    """

    sent: Submission
    place: str = ""
    edges: tuple[Edge, ...] = ()


def pack(order: Order) -> bytes:
    """Encode a job for its row. Its call is sealed, if the fleet has keys."""
    sent, seals = order.sent, order.sent.lane.seals
    entry = sent.entry
    envelope = entry.envelope if seals is None else seals.envelope(entry.id, entry.envelope)
    unique = None if sent.unique is None else tuple(sent.unique)
    edges = [(edge.parent, edge.policy) for edge in order.edges]
    packed: bytes = msgpack.packb(
        (VERSION, entry.band, entry.when, entry.meta, sent.level, unique, order.place, edges, envelope)
    )
    return packed


def unpack(context: FleetContext, job_id: str, packed: bytes) -> Order:
    """Decode a job, and open its call.

    Args:
        context: The context of the fleet.
        job_id: The id of the job.
        packed: What `pack` has returned.

    Raises:
        InvalidJob: The row is not one of jobfleet, or of a later version.
        EncodingError: The call cannot be read, is too large, or its signature or key is not accepted.
    """
    fields = _fields(packed)
    try:
        _, band, when, meta, level, unique, place, edges, envelope = fields
        lane = context.keys.lane_of(job_id)
        if not (0 <= int(band) < BANDS and isinstance(envelope, bytes) and isinstance(place, str)):
            raise ValueError("a field has a wrong value")
        plain = envelope if lane.seals is None else lane.seals.open_envelope(job_id, envelope)
        open_envelope(plain, limits=context.limits)
        entry = Entry(job_id, int(band), _when(when), str(meta), plain)
        status = JobStatus.SCHEDULED if is_later(entry.when) else JobStatus.QUEUED
        key = None if unique is None else Uniqueness(*unique)
        sent = Submission(lane, entry, status, key, str(level))
        return Order(sent, place, tuple(Edge(parent, at, policy) for at, (parent, policy) in enumerate(edges)))
    except EncodingError:
        raise
    except (ValueError, TypeError, JobNotFound) as error:
        raise _unreadable(str(error)) from None


def function_of(packed: bytes) -> str:
    """The name of a job's function, which is in clear text; empty if it cannot be read."""
    from jobfleet.codec import header_or_empty

    try:
        envelope = _fields(packed)[-1]
    except JobfleetError:
        return ""
    return str(header_or_empty(envelope).get("function", "")) if isinstance(envelope, bytes) else ""


def _fields(packed: bytes) -> Any:
    try:
        fields = msgpack.unpackb(packed)
    except Exception as error:  # noqa: BLE001 - msgpack raises errors of several kinds for foreign bytes
        raise _unreadable(f"it is not msgpack: {type(error).__name__}") from None
    if not isinstance(fields, list) or not fields:
        raise _unreadable("it is not a list")
    if fields[0] != VERSION:
        raise InvalidJob(
            f"The row cannot be read: its form {fields[0]!r:.20} is of another version. Upgrade the reaper, then run "
            "'jobfleet outbox retry'.",
            field="job",
        )
    return fields


def _when(when: object) -> str:
    text = str(when)
    if text and not text.removeprefix("+").isdecimal():
        raise ValueError("its due time cannot be read")
    return text


def _unreadable(why: str) -> InvalidJob:
    return InvalidJob(f"The row cannot be read: {why}. Write the job again, then drop the row.", field="job")


def order_for(context: FleetContext, job: Job) -> Order:
    """Check a job as an enqueue does, and prepare it.

    The lane follows from the lanes of the queue, if this process has read them, else from the setting `lanes`. The
    relay refuses a row whose lane is wrong.

    Args:
        context: The context of the fleet.
        job: The job; the hooks `around_enqueue` have changed it already.

    Raises:
        InvalidJob: An option is wrong, or is not for the outbox.
        EncodingError: An argument, or metadata, cannot travel, or is too large.
    """
    check_times(job)
    if job.cron_expression is not None:
        raise InvalidJob(
            "cron_expression is not for the outbox, because a recurring job is an entry in Redis; add it with "
            "fleet.enqueue or fleet.cron.",
            field="cron_expression",
        )
    function = _function_of(context, job)
    if has_callbacks(job, function.options):
        raise InvalidJob(
            "on_success and on_failure are not for the outbox; write the callback as a second job of the same "
            "transaction, with depends_on.",
            field="on_success" if job.on_success is not None else "on_failure",
        )
    edges = edges_of(job.depends_on or ())
    place = ""

    def lane_for(queue: str, job: Job, key: str | None = None, group: str | None = None) -> Lane:
        nonlocal place
        known = context.queues.get(queue)
        home, total = (known.home, known.total) if known is not None else (context.config.lanes.get(queue, 1),) * 2
        own = job.id if job.id == job.suffix else None  # a whole id names its lane
        place = next((text for text in (group, key, own) if text is not None), "")
        return context.keys.lane(queue, lane_index(job, queue, home, total, key, group))

    own = context.config.own_id_window  # the relay may enqueue the id again after an outage
    made = submission(
        job.without_parents() if edges else job, function, lane_for, limits=context.limits, windows=(own, own)
    )
    if edges:
        if made.unique is not None:
            refuse_displacing(made.unique.on_conflict, "a job that waits for others")
        envelope = amended(made.entry.envelope, parents_in_header(context.keys, edges))
        made = made._replace(entry=made.entry._replace(envelope=envelope))
    return Order(made, place, edges)


def _function_of(context: FleetContext, job: Job) -> Resolved:
    function = resolve_in(context, job)
    if function is not None:
        return function
    if job.queue is None and job.function not in BUILT_IN:
        raise InvalidJob(
            f"function is {str(job.function)!r}, of which this process knows only the name; import its module, or give "
            "queue: then the options of the job alone decide on its enqueue.",
            field="function",
        )
    return Resolved(str(job.function), {})


# Enqueue the committed jobs of an outbox under the ids that their rows have.
#
# Jobs of one lane and level are enqueued in the order of their rows. Jobs that wait for others follow, because a
# parent may be among the rows. Everything may be repeated: Redis makes one job per id.


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
