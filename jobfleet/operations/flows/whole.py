"""Whether the record of a flow is whole: all that a supervisor, which relays endings, needs to know of a record."""

from __future__ import annotations

from jobfleet.codec import Limits, decode
from jobfleet.errors import EncodingError
from jobfleet.store.calls import flow as calls

RECORD = Limits(max_bytes=16 << 20, max_containers=1 << 17, setting="")
LOOK_EVERY = 10.0
"""Seconds between a reaper's searches for flows that are written but not started because their producer died."""
GUARD = 600.0
"""Seconds until a flow that its producer never finished writing is cancelled; no job of it has started."""


def addition_name(adder: str, name: str) -> str:
    """The stored name of an addition: the id of the adding job and the name that it gave."""
    return f"{adder} {name}"


def ids_of(record: bytes) -> list[str]:
    """The ids of the jobs of a stored addition."""
    return [row[0] for row in decode(record, limits=RECORD)["jobs"]]


def is_whole(kept: calls.Kept, addition: str | None = None) -> bool:
    """Whether all jobs of a flow, or of an addition to it, are written."""
    if addition is not None:
        return addition in kept.more and kept.more[addition].stage >= calls.WHOLE
    try:
        fields = decode(kept.record, limits=RECORD) if kept.record else None
    except EncodingError:
        return False
    return isinstance(fields, dict) and fields.get("whole") is True


def ids_of_whole(kept: calls.Kept) -> list[str]:
    """The ids of the jobs of a flow; empty when not all jobs are written, or the record cannot be read.

    At the end are those whose guards its producer lifts last, in each lane, as far as its revision noted them.
    """
    if not is_whole(kept):
        return []
    try:
        last = [str(job_id) for job_id in decode(kept.record, limits=RECORD).get("last", ())]
        return [str(job_id) for job_id in ids_of(kept.record) if job_id not in last] + last
    except (KeyError, TypeError, IndexError):
        return []
