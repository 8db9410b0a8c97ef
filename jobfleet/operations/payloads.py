"""Move arguments to and from the payload store, and results from it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from jobfleet.codec import open_record
from jobfleet.errors import ConfigError, EncodingError, PayloadLost, PayloadUnavailable, UnknownKey
from jobfleet.model import JobResult
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Blocking, Operation, value
from jobfleet.operations.results import StoredValue
from jobfleet.payloads.payloads import ARGUMENTS, reference_of
from jobfleet.store.calls.enqueue import found_store, payload_store

T = TypeVar("T")


def stow(context: FleetContext, job_id: str, envelope: bytes, *, is_away: bool = False) -> Operation[bytes]:
    """Return an envelope as it is sent: if it is large, its body is stored first, unless it is in the store already.

    Args:
        context: The context of the fleet.
        job_id: The job.
        envelope: Its envelope.
        is_away: Whether Redis is away. Then the store is used if it has an identity.

    Raises:
        PayloadUnavailable: The store cannot be reached, or is not that of the fleet.
    """
    if context.payloads is None or len(envelope) <= context.inline_max or reference_of(envelope) is not None:
        return envelope
    if not is_away:
        yield from checked_store(context)
    return (yield from blocking(partial(context.payloads.stow, job_id, ARGUMENTS, envelope)))


def checked_store(context: FleetContext) -> Operation[None]:
    """Check, once per process, that its payload store is that of the fleet. The first process founds the store.

    Redis keeps the identity: a folder whose file system is not mounted looks like a store that was never written to.

    Raises:
        PayloadUnavailable: The store cannot be reached, or the fleet has another one.
    """
    payloads, keys = context.payloads, context.keys
    if payloads is None or payloads.is_checked:
        return
    found = yield from blocking(payloads.identity)
    recorded: str = value((yield (payload_store(keys),)))
    if not recorded:
        is_new, found = not found, found or (yield from blocking(payloads.found))
        recorded = value((yield (found_store(keys, found),)))
        if is_new and found != recorded:  # two processes have founded it at the same time
            found = yield from blocking(partial(payloads.found, recorded))
    payloads.accept(found, recorded, keys.payload_store)


def whole(context: FleetContext, data: bytes) -> Operation[bytes]:
    """Return an envelope or a record with its body, wherever that is stored.

    Raises:
        PayloadLost, PayloadUnavailable: The body cannot be had.
        EncodingError: The bytes are neither.
    """
    if reference_of(data) is None:
        return data
    if context.payloads is None:
        raise PayloadUnavailable(NO_STORE)
    return (yield from blocking(partial(context.payloads.whole, data)))


def kept(context: FleetContext, envelope: bytes) -> Operation[bytes]:
    """Return an envelope with its body, because some of its arguments are kept.

    Raises:
        PayloadLost, PayloadUnavailable: The body cannot be had.
    """
    try:
        return (yield from whole(context, envelope))
    except PayloadLost as error:
        raise PayloadLost(f"{error} Give both args and kwargs: then what is lost is not needed.") from None


def readable(context: FleetContext, data: bytes) -> Operation[bytes]:
    """Return an envelope with its body, or as it is if the body cannot be had."""
    try:
        return (yield from whole(context, data)) if data else data
    except (PayloadLost, PayloadUnavailable, ConfigError, EncodingError):
        return data


def forget(context: FleetContext, job_id: str) -> Operation[None]:
    """Delete what the payload store has of a job.

    Raises:
        PayloadUnavailable: The store cannot be reached.
    """
    if context.payloads is not None:
        yield from blocking(partial(context.payloads.forget, job_id))


def seen(context: FleetContext) -> Operation[str]:
    """Which payload store this process reads, in the form of `WorkerInfo.payloads`."""
    if context.payloads is None:
        return ""
    try:
        return (yield from blocking(context.payloads.identity)) or "empty"
    except (ConfigError, PayloadUnavailable) as error:
        return f"away: {error}"


NO_STORE = "The payload is in a payload store, and this process has none: set payload_store."


def carried(context: FleetContext, job_id: str, envelope: bytes) -> Operation[bytes]:
    """Return the envelope of a job for another id: each job has a payload of its own.

    Raises:
        PayloadLost, PayloadUnavailable: The body cannot be had, or not be stored again.
    """
    return (yield from stow(context, job_id, (yield from whole(context, envelope))))


def with_values(context: FleetContext, results: Sequence[Any]) -> Operation[list[Any]]:
    """Put the values in place that are in the payload store. A value that cannot be had leaves an error."""
    found = list(results)
    for place, one in enumerate(found):
        if isinstance(one, JobResult) and type(one.result) is StoredValue:
            found[place] = yield from with_value(context, one)
    return found


def with_value(context: FleetContext, result: JobResult[Any]) -> Operation[JobResult[Any]]:
    """Put the value in place, if it is in the payload store. A value that cannot be had leaves an error."""
    if type(result.result) is not StoredValue:
        return result
    try:
        record = yield from whole(context, result.result.record)
        return replace(result, result=open_record(record, limits=context.limits).get("value"))
    except (PayloadUnavailable, ConfigError, UnknownKey) as error:
        return replace(result, result=None, error=str(error), error_class=PayloadUnavailable.__name__)
    except (PayloadLost, EncodingError) as error:
        return replace(result, result=None, error=str(error), error_class=PayloadLost.__name__)


def blocking(call: Callable[[], T]) -> Operation[T]:
    """Run a call that blocks; an event loop does not wait for it."""
    found: T = value((yield Blocking.on(call)))
    return found
