"""Pause and resume queues, groups and functions.

A worker that receives a job of a paused function sets the job aside, so the other jobs of the lane still run. A resume
marks the function in the lane, then puts the jobs back, page by page. If the process dies in between, the leases duty
finds the mark and finishes. A function that is paused in every queue is also recorded for the fleet, so that new lanes
pause it too (services/duties/lanes.py).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from jobfleet.codec import read_header
from jobfleet.errors import ConfigError, EncodingError, InvalidJob
from jobfleet.model.option_checks import check_function_name
from jobfleet.model.templates import check_group
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes, opened_lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.control import pause_function, paused, put_back, read_functions, resume_function
from jobfleet.store.keys import BANDS, WITHHELD_BOUNDS, Lane
from jobfleet.store.records import has_id

PASSES = 20
"""The most passes. The second finds the jobs that the first missed because others left meanwhile; the third finds
none, unless the function was paused again."""


class Place(NamedTuple):
    """A queue, a group or a function to pause or resume.

    Attributes:
        queue: A queue; None for all queues.
        group: Only this group of the queue.
        function: Only this function.
    """

    queue: str | None = None
    group: str | None = None
    function: str | None = None

    def check(self, what: str) -> None:
        """Check that the place can be paused or resumed; `what` is the participle for messages.

        Raises:
            ConfigError: Nothing is given, or the given fields cannot be combined.
            InvalidJob: `function` or `group` is not a valid name.
        """
        if self.group is not None and self.function is not None:
            raise ConfigError(f"A group and a function are both to be {what}; give one.")
        if self.group is not None and self.queue is None:
            raise ConfigError(f"A group is to be {what}; give its queue too.")
        if self.queue is None and self.function is None:
            raise ConfigError(f"Nothing says what is to be {what}; give a queue, a function, or both.")
        if self.function is not None:
            check_function_name(self.function)
        if self.group is not None:
            check_group(self.group)


def pause(context: FleetContext, place: Place, by: str | None, reason: str | None) -> Operation[bool]:
    """Stop the start of jobs of a queue, of a group, or of a function; False when all of it was paused before.

    Args:
        context: The context of the fleet.
        place: What to pause.
        by: Who asks; None for nobody in particular.
        reason: One line of at most 200 characters; None for no reason.

    Raises:
        ConfigError: The place is incomplete, or too many functions or groups are paused.
        InvalidJob: `function` or `group` is not a valid name, or `reason` is not one short line.
    """
    from jobfleet.store.calls import limits  # a reaper and a supervisor only finish pauses

    place.check("paused")
    _check_reason(reason)
    queue, group, function = place
    changed = []
    if function is not None and queue is None:  # first, so that a lane that is created meanwhile pauses it too
        changed.append(value((yield (pause_function(context.keys, function, by=by, reason=reason),))))
    every = yield from opened_lanes(context, queue)
    calls: list[Call[Any]]
    if group is not None:
        calls = [limits.pause_group(lane, group, by=by, reason=reason) for lane in every]
    elif function is not None:
        calls = [pause_function(lane, function, by=by, reason=reason) for lane in every]
    else:
        calls = [control.pause(lane, by=by, reason=reason) for lane in every]
    answers = (yield calls) if calls else []
    changed += [value([answer]) for answer in answers]  # every answer is read, so that no error is lost
    if None in changed and group is not None:
        raise ConfigError(
            f"Group {group!r} was not paused: {limits.MOST_GROUPS:,} groups of the queue are paused or have limits, "
            "which is the most. Resume some, or pause the queue."
        )
    if None in changed:
        raise ConfigError("Too many functions are paused; resume some, or pause their queue.")
    return any(changed)


def _check_reason(reason: str | None) -> None:
    if isinstance(reason, str) and (len(reason) > control.REASON_MOST or len(reason.splitlines()) > 1):
        raise InvalidJob(
            f"reason is {reason!r:.300}; give one line of at most {control.REASON_MOST} characters.", field="reason"
        )


def resume(context: FleetContext, place: Place) -> Operation[bool]:
    """Resume a queue, a group, or a function; False when nothing of it was paused.

    Raises:
        ConfigError: The place is incomplete, the queue does not exist, or the function is paused in every queue and
            `place` names one queue.
        InvalidJob: `function` or `group` is not a valid name.
    """
    from jobfleet.store.calls import limits  # see `pause`

    place.check("resumed")
    queue, group, function = place
    if function is None:
        every = yield from lanes(context, queue)
        calls = [control.resume(lane) if group is None else limits.resume_group(lane, group) for lane in every]
        answers = yield calls
        changed = [value([answer]) for answer in answers]  # every answer is read, so that no error is lost
        return any(changed)
    fresh = yield from _resume_everywhere(context, queue, function)
    every = yield from lanes(context, queue)
    answers = (yield [resume_function(lane, function) for lane in every]) if every else []
    changed = [fresh, *(value([answer]) for answer in answers)]
    for lane in every:
        yield from finish(lane, (function,))
    return any(changed)


def _resume_everywhere(context: FleetContext, queue: str | None, function: str) -> Operation[bool]:
    """Resume a function that is paused in every queue; False when it was not."""
    if queue is not None:
        if function in read_functions(value((yield (paused(context.keys),)))):
            raise ConfigError(f"{function!r} is paused in every queue; resume it without naming one.")
        return False
    calls = (resume_function(context.keys, function), resume_function(context.keys, function, is_done=True))
    changed = [value([answer]) for answer in (yield calls)]
    return any(changed)


def finish(lane: Lane, functions: Collection[str]) -> Operation[None]:
    """Put back the withheld jobs of functions that are being resumed in a lane, then remove the marks."""
    for _ in range(PASSES):
        count = 0
        for band in range(BANDS):
            count += yield from _put_back(lane, band, functions)
        if not count:
            break
    for function in functions:
        value((yield (resume_function(lane, function, is_done=True),)))


def _put_back(lane: Lane, band: int, functions: Collection[str]) -> Operation[int]:
    count = skip = 0
    while True:
        start, stop = WITHHELD_BOUNDS
        call = inspect.waiting(lane, band, start=start, stop=stop, skip=skip)
        _, rows = value((yield (call,)))
        meant = [row.id for row in rows if has_id(row) and _is_of(row.envelope, functions)]
        if meant:
            count += value((yield (put_back(lane, meant),)))
        if len(rows) < inspect.CHUNK:
            return count
        skip += len(rows) - len(meant)


def _is_of(envelope: bytes, functions: Collection[str]) -> bool:
    try:
        return read_header(envelope).get("function") in functions
    except EncodingError:
        return True  # a worker that can read it sets it aside again, if it must
