"""From a `Job` to the entry that goes to Redis. Pure: names, options and arguments in, bytes out."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from jobfleet.client.registry import JobFunction, Registry, stable_name
from jobfleet.clock import to_us, wall_us
from jobfleet.codec import Limits, encode, encode_head, seal_call
from jobfleet.model import Job, JobStatus, Priority, seconds
from jobfleet.store.keys import Lane
from jobfleet.store.values import Entry

DURATION_OPTIONS = ("retry_delay", "timeout", "hard_timeout", "result_ttl")
PLAIN_OPTIONS = (
    "max_retries",
    "retry_backoff",
    "retry_jitter",
    "max_crashes",
    "user",
    "session",
    "correlation_id",
)
METADATA_LIMITS = Limits(max_bytes=16 * 1024)
NORMAL_BAND = Priority.NORMAL.band


class Submission(NamedTuple):
    """A job ready to be sent.

    Attributes:
        lane: Where it goes.
        entry: What goes there.
        status: What it will be there.
    """

    lane: Lane
    entry: Entry
    status: JobStatus


@dataclass(frozen=True, slots=True)
class Resolved:
    """A job's function by name, and the options that come with it."""

    name: str
    options: Mapping[str, Any]


def resolve(job: Job, registry: Registry) -> Resolved | None:
    """Find a job's function; None when only its name is given and this process does not know it.

    Raises:
        InvalidJob: The function has no name that a worker could find.
    """
    function = job.function
    if isinstance(function, JobFunction):
        return Resolved(function.name, function.given)
    if isinstance(function, str):
        known = registry.get(function)
        return Resolved(function, known.given) if known is not None else None
    for known in registry.functions.values():
        if known.function is function:
            return Resolved(known.name, known.given)
    return Resolved(stable_name(function, label=job.name), {})


def lane_index(job: Job, home: int, lanes: int) -> int:
    """Which lane of its queue a job goes to: a caller's own id has its place among the home lanes."""
    if lanes == 1:
        return 0
    return zlib.crc32(job.suffix.encode()) % (lanes if job.id is None else home)


def submission(
    job: Job, function: Resolved, lane_of: Callable[[str, Job], Lane], *, limits: Limits, windows: tuple[float, float]
) -> Submission:
    """Write a job down.

    Raises:
        EncodingError: An argument, or metadata, cannot travel.
    """
    options = function.options
    lane = lane_of(job.queue or options.get("queue") or "default", job)
    envelope = seal_call(_head(job, function.name), job.args, job.kwargs, limits=limits)
    if job.is_plain and not options:
        return Submission(lane, Entry(lane.id_prefix + job.suffix, NORMAL_BAND, "", "", envelope), JobStatus.QUEUED)
    priority = job.priority if job.priority is not None else options.get("priority")
    band = NORMAL_BAND if priority is None else Priority(priority).band
    when = _when(job, options)
    entry = Entry(lane.id_prefix + job.suffix, band, when, _meta(job, options, *windows), envelope)
    return Submission(lane, entry, JobStatus.SCHEDULED if when else JobStatus.QUEUED)


def _head(job: Job, function: str) -> bytes:
    """The encoded header; jobs without options share their function's."""
    if job.is_plain and job.id is None:
        return _plain_head(function, job.name)
    header: dict[str, object] = {"function": function}
    if job.name != function:
        header["name"] = job.name
    if job.id is not None:
        header["enqueued_at"] = wall_us()
    _describe(job, header)
    return encode_head(header)


@lru_cache(maxsize=1024)
def _plain_head(function: str, name: str) -> bytes:
    return encode_head({"function": function} if name == function else {"function": function, "name": name})


def _describe(job: Job, header: dict[str, object]) -> None:
    """Write down the options that the job itself sets; its function's own are known to the worker."""
    for option in PLAIN_OPTIONS:
        value = getattr(job, option)
        if value is not None:
            header[option] = value
    for option in DURATION_OPTIONS:
        value = getattr(job, option)
        if value is not None:
            header[option] = to_us(value)
    if job.tags:
        header["tags"] = list(job.tags)
    if job.metadata:
        header["metadata"] = dict(job.metadata)
        _check_metadata(header["metadata"])


def _check_metadata(metadata: object) -> None:
    encode(metadata, limits=METADATA_LIMITS, what="metadata")


def _when(job: Job, options: Mapping[str, Any]) -> str:
    if job.scheduled_at is not None:
        return str(round(job.scheduled_at.timestamp() * 1_000_000))
    delay = job.delay if job.delay is not None else options.get("delay")
    if delay:
        return f"+{to_us(seconds(delay, field='delay'))}"
    return ""


def _meta(job: Job, options: Mapping[str, Any], dedupe_window: float, own_id_window: float) -> str:
    """The clear record: an ending is remembered at least as long as its id may come again."""
    lines = []
    expires_in = job.expires_in if job.expires_in is not None else options.get("expires_in")
    if job.expires_at is not None:
        lines.append(f"x {round(job.expires_at.timestamp() * 1_000_000)}")
    elif expires_in is not None:
        lines.append(f"x +{to_us(seconds(expires_in, field='expires_in'))}")
    ttl = job.result_ttl if job.result_ttl is not None else options.get("result_ttl")
    if ttl is not None:
        kept = max(seconds(ttl, field="result_ttl"), own_id_window if job.id is not None else dedupe_window)
        lines.append(f"r {round(kept * 1000)}")
    return "\n".join(lines)
