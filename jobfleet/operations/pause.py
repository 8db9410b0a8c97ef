"""Pause and resume queues, groups and functions.

A worker that receives a job of a paused function sets the job aside, so the other jobs of the lane still run. A resume
marks the function in the lane, then puts the jobs back, page by page. If the process dies in between, the leases duty
finds the mark and finishes. A function that is paused in every queue is also recorded for the fleet, so that new lanes
pause it too (services/duties/lanes.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from jobfleet.codec import read_header
from jobfleet.errors import ConfigError, EncodingError
from jobfleet.model.names import check_function_name
from jobfleet.model.templates import check_group
from jobfleet.operations.audit import check_reason
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.lanes import lanes, opened_lanes
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.verb import Name, QueueName, verb
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.control import (
    Pause,
    pause_function,
    paused,
    put_back,
    read_functions,
    read_pause,
    resume_function,
)
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
            raise ConfigError(f"A group and a function are both to be {what}; give one, not both.", field="function")
        if self.group is not None and self.queue is None:
            raise ConfigError(f"A group is to be {what}; give its queue too.")
        if self.queue is None and self.function is None:
            raise ConfigError(f"Nothing says what is to be {what}; give a queue, a function, or both.")
        if self.function is not None:
            check_function_name(self.function)
        if self.group is not None:
            check_group(self.group)


def _titled(values: Mapping[str, Any]) -> str:
    queue, group, function = (values.get(name) for name in Place._fields)
    if function is not None:
        return f"{function} in {queue}" if queue is not None else f"{function}"
    return f"{queue}" if group is None else f"{queue}:{group}"


def _noun(values: Mapping[str, Any]) -> str:
    return "function" if values["function"] is not None else "queue" if values["group"] is None else "group"


def _sentence(word: str) -> Callable[[Mapping[str, Any], bool], str]:
    def sentence(values: Mapping[str, Any], has_changed: bool) -> str:
        group = values.get("group")
        what = _titled(values) if group is None else f"{group} of {values['queue']}"
        return f"{what} is {word}." if has_changed else f"{what} was {word} already."

    return sentence


def _before(context: FleetContext, values: Mapping[str, Any]) -> Operation[dict[str, Any]]:
    found = yield from _pause_of(context, Place(values["queue"], values["group"], values["function"]))
    if found is None:
        return {"paused": False}
    facts = {"paused_by": found.by, "reason": found.reason}
    return {"paused": True, **{name: text for name, text in facts.items() if text}}


def _pause_of(context: FleetContext, place: Place) -> Operation[Pause | None]:
    from jobfleet.store.calls import limits  # see `pause`

    queue, group, function = place
    if queue is None:
        return read_functions(value((yield (paused(context.keys),)))).get(str(function))
    lane = context.keys.lane(queue, 0)
    if group is not None:
        text = value((yield (limits.limits(lane),))).fields.get(f"{limits.PAUSED}{group}", "")
        return read_pause(text) if text else None
    counts = value((yield (inspect.counts(lane),)))
    if function is not None:
        return read_functions(counts.functions).get(function)
    return None if counts.paused is None else Pause(counts.paused, 0, counts.reason)


@verb(
    "queues.pause", method="pause", route="/queues/{queue}/pause", target=Place._fields, titled=_titled, noun_of=_noun,
    before=_before, facts={"paused": True}, done=_sentence("paused"), creates=True,
)  # fmt: skip
def pause(
    context: FleetContext,
    queue: QueueName | None = None,
    *,
    group: Name | None = None,
    function: Name | None = None,
    by: str | None = None,
    reason: str | None = None,
) -> Operation[bool]:
    """Pause a queue, a group or a function: none of its jobs start.

    Running jobs continue. With a function, other functions of the queue are not affected.

    Args:
        queue: The queue; it is created if it does not exist.
        group: Only this group of the queue.
        function: Only jobs of this function; without a queue, in all queues.
        by: The person or program that pauses, for the record.
        reason: The reason, for the record: one line, at most 200 characters.

    Returns:
        False if it was already paused.

    Raises:
        ConfigError: Nothing is named, or what is named cannot be paused together; or too many are paused.
        InvalidJob: The name of the function or the group, or the reason, is not valid.
    """
    from jobfleet.store.calls import limits  # a reaper and a supervisor only finish pauses

    Place(queue, group, function).check("paused")
    check_reason(reason)
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


@verb(
    "queues.resume", method="resume", route="/queues/{queue}/resume", target=Place._fields, titled=_titled,
    noun_of=_noun, before=_before, facts={"paused": False}, done=_sentence("open"),
)  # fmt: skip
def resume(
    context: FleetContext, queue: QueueName | None = None, *, group: Name | None = None, function: Name | None = None
) -> Operation[bool]:
    """Resume a paused queue, group or function.

    Safe to repeat. If it is interrupted, a worker or a reaper completes it. The withheld jobs of a function go back to
    their old places.

    Args:
        queue: The queue. With a group or a function, only that one resumes in this queue.
        group: Only this group of the queue.
        function: Only jobs of this function; without a queue, in all queues.

    Returns:
        False if it was not paused.

    Raises:
        ConfigError: Nothing is named, what is named cannot be resumed together, or there is no such queue; or the
            function is paused in every queue, and a queue is named.
        InvalidJob: The name of the function or the group is not valid.
    """
    from jobfleet.store.calls import limits  # see `pause`

    Place(queue, group, function).check("resumed")
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
