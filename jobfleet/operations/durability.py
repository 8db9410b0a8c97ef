"""Durability levels: whether the server can provide one, and the barriers that confirm it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Generic, NamedTuple, TypeVar

from jobfleet.clock import monotonic, span
from jobfleet.errors import DurabilityUnavailable, DurabilityUncertain, warn
from jobfleet.model import Receipt
from jobfleet.operations.fleet_context import FleetContext, ServerFacts
from jobfleet.operations.operation import Operation, value
from jobfleet.store.call import FSYNC, REPLICATED, Confirming
from jobfleet.store.calls.doctor import server, server_of
from jobfleet.store.keys import Lane

T = TypeVar("T")
SLOW = 0.05
"""Seconds after which a confirmation of the disk is slow enough for a warning."""
WITHOUT_LEVELS = "memory://"
"""The beginning of URLs without durability levels."""
FIRST_VERSION = (7, 2)
"""The first version of Redis that has WAITAOF."""


class Confirmed(NamedTuple, Generic[T]):
    """The result of a durable operation.

    Attributes:
        value: The result.
        is_reached: Whether all its writes have reached the levels.
    """

    value: T
    is_reached: bool


def check_level(context: FleetContext, level: str, lane: Lane) -> Operation[None]:
    """Check that the server of a lane can provide a level; read its state if it is not known.

    Raises:
        DurabilityUnavailable: The server cannot provide it.
    """
    if not level or context.can_confirm(level, lane):
        return
    if context.config.url.lower().startswith(WITHOUT_LEVELS):
        raise DurabilityUnavailable(
            f"durability={level!r} is not available with {WITHOUT_LEVELS}; nothing was written. Use a server, or leave "
            "durability out."
        )
    if not context.facts_of(lane).is_fresh(monotonic()):
        _, info = value((yield (server_of(lane) if context.is_spread else server(context.keys),)))
        context.learn(lane, _facts(info))
    if not context.can_confirm(level, lane):
        raise DurabilityUnavailable(_missing(context, level, lane))


def _facts(info: Mapping[str, str]) -> ServerFacts:
    if not info:  # the user may not ask: the wait itself shows what the server can do
        return ServerFacts(monotonic())
    return ServerFacts(
        monotonic(),
        replicas=sum("state=online" in row for row in _replicas(info)),
        has_aof=info.get("aof_enabled") == "1" and _version(info.get("redis_version", "")) >= FIRST_VERSION,
    )


def _replicas(info: Mapping[str, str]) -> Iterator[str]:
    return (row for name, row in info.items() if name.startswith("slave") and name[5:].isdigit())


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2] if part.isdigit())


def _missing(context: FleetContext, level: str, lane: Lane) -> str:
    if level == FSYNC:
        return (
            "durability='fsync' needs a server with an append-only file (appendonly yes) and WAITAOF (Redis 7.2); "
            "nothing was written. Turn it on, or use another level."
        )
    wanted, found = max(1, context.config.confirming_replicas), context.facts_of(lane).replicas
    return (
        f"durability={level!r} needs {wanted} connected {'replica' if wanted == 1 else 'replicas'} "
        f"(durability_replicas), and the server has {found}; nothing was written. Start a replica, or use another "
        "level."
    )


def durably(
    context: FleetContext, lane: Lane, levels: Collection[str], operation: Operation[T]
) -> Operation[Confirmed[T]]:
    """Run an operation, and let the server confirm each batch of its writes.

    After a batch that is not confirmed, no further one is: each would wait for the whole time limit.

    Args:
        context: The context of the fleet.
        lane: A lane of the operation.
        levels: The levels; empty for none.
        operation: The operation.
    """
    if not levels:
        return Confirmed((yield from operation), is_reached=True)
    barrier = context.barrier(lane, levels)
    is_reached, answers = True, None
    try:
        calls = next(operation)
        while True:
            if is_reached and any(not call.script.read_only for call in calls):
                batch = Confirming(calls, barrier)
                answers = yield batch
                is_reached = batch.is_reached
                note(context, levels, is_reached=is_reached, took=batch.took)
            else:
                answers = yield calls
            calls = operation.send(answers)
    except StopIteration as end:
        return Confirmed(end.value, is_reached)


def note(context: FleetContext, levels: Collection[str], *, is_reached: bool, took: float) -> None:
    """Learn from a barrier: read the server's state again if it was not reached; warn once of a slow disk."""
    if not is_reached:
        context.facts.clear()
    elif FSYNC in levels and took > SLOW and not context.has_warned:
        context.has_warned = True
        warn(
            f"The server took {span(took)} to confirm that its disk has a job (durability='fsync'). With appendfsync "
            "everysec it writes once per second; set appendfsync always, or enqueue many jobs at once."
        )


def confirmed_receipt(context: FleetContext, level: str, done: Confirmed[Receipt]) -> Receipt:
    """The receipt of a durable enqueue.

    Raises:
        DurabilityUncertain: The level was not reached.
    """
    receipt = done.value
    if not done.is_reached:
        if context.is_of_run:
            return receipt
        raise uncertain(context, level, receipt.id)
    return receipt._replace(durability=level)


def uncertain(context: FleetContext, level: str, job_id: str) -> DurabilityUncertain:
    """The error about a job whose level was not reached."""
    whom = {0: "not all replicas", 1: "no replica"}.get(context.config.confirming_replicas, "too few replicas")
    whom = f"{whom} confirmed it" if level == REPLICATED else "the disk did not confirm it"
    within = span(context.config.confirm_timeout)
    return DurabilityUncertain(
        job_id,
        f"{job_id} was written, but {whom} within {within} (durability={level!r}); repeat with this id.",
    )
