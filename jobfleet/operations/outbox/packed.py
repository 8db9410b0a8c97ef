"""The form of a job in a row of the outbox. Pure.

The call is sealed by the program that writes the row, so the database holds what Redis would hold: with a keyring, the
arguments are signed or encrypted there, too. The relay opens the call, which proves that a holder of a key has written
it. Options are in clear text, as in Redis.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgpack

from jobfleet.codec import open_envelope
from jobfleet.errors import EncodingError, InvalidJob, JobfleetError, JobNotFound
from jobfleet.model import JobStatus
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.prepare import Submission, is_later
from jobfleet.operations.jobs.uniqueness import Uniqueness
from jobfleet.store.calls.flow import Edge
from jobfleet.store.keys import BANDS
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
