"""Change a setting of all lanes of a queue, and wake the groups that rested for it, page by page."""

from __future__ import annotations

from collections.abc import Sequence

from jobfleet.errors import InvalidJob
from jobfleet.operations.operation import Operation, value
from jobfleet.store.calls import limits as calls
from jobfleet.store.keys import Lane


def set_in_lanes(every: Sequence[Lane], field: str, text: str) -> Operation[bool]:
    """Set or clear a field; return whether it changed.

    Args:
        every: The lanes.
        field: See `field_of`, or `AGING`.
        text: The value; empty to clear it.

    Raises:
        InvalidJob: Too many groups have limits of their own.
    """
    has_changed = False
    for lane in every:
        count, skip = calls.CHUNK, 0
        while count == calls.CHUNK:
            answer = value((yield (calls.set_limit(lane, field, text, skip=skip),)))
            if answer is None:
                raise InvalidJob(
                    f"{calls.MOST_GROUPS:,} groups of {lane.queue} have limits of their own, which is the most; set "
                    "the default of all groups, '*', instead.",
                    field="group",
                )
            changed, count = answer
            has_changed, skip = has_changed or changed, skip + count
    return has_changed
