"""Pausing queues and functions, and resuming them. See `verbs` for the form.

A worker that is handed a job of a paused function sets it aside, so its lane's other jobs go on. To resume is to
let the lane say so, then to put back what was set aside, page by page; should whoever does it die in between, the
mark it has left has the leases duty finish it.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from jobfleet.client.admin import lanes
from jobfleet.client.space import Space
from jobfleet.client.verbs import Verb, value
from jobfleet.codec import read_header
from jobfleet.errors import ConfigError, EncodingError
from jobfleet.model.ids import check_function_name
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.flow import BLOCKED
from jobfleet.store.calls.paused import WITHHELD, pause_function, put_back, resume_function
from jobfleet.store.keys import BANDS, Lane

PASSES = 3
"""Looks at most: jobs may leave while they are looked at, and a further look finds what one has passed over."""


def pause(space: Space, queue: str | None, function: str | None, by: str | None, reason: str | None) -> Verb[bool]:
    """Let no job of a queue, or of a function there or anywhere, be started; False when all that was so already.

    Raises:
        ConfigError: Neither is named, there is no such queue, or too many functions are paused.
        InvalidJob: That is no function's name.
    """
    every = yield from _lanes(space, queue, function, "paused")
    calls: list[Call[Any]]
    if function is None:
        calls = [control.pause(lane, by=by, reason=reason) for lane in every]
    else:
        calls = [pause_function(lane, function, by=by, reason=reason) for lane in every]
    changed = [value([answer]) for answer in (yield calls)]  # each is looked at, so that no error is passed over
    if None in changed:
        raise ConfigError("Too many functions are paused; resume some, or pause their queue.")
    return any(changed)


def resume(space: Space, queue: str | None, function: str | None) -> Verb[bool]:
    """Let a paused queue, or a function there or anywhere, go on; False when nothing of it was paused.

    Raises:
        ConfigError: Neither is named, or there is no such queue.
        InvalidJob: That is no function's name.
    """
    every = yield from _lanes(space, queue, function, "resumed")
    if function is None:
        calls = [control.resume(lane) for lane in every]
    else:
        calls = [resume_function(lane, function) for lane in every]
    changed = [value([answer]) for answer in (yield calls)]
    if function is not None:
        for lane in every:
            yield from finish(lane, (function,))
    return any(changed)


def _lanes(space: Space, queue: str | None, function: str | None, what: str) -> Verb[list[Lane]]:
    if queue is None and function is None:
        raise ConfigError(f"Nothing says what is to be {what}; give a queue, a function, or both.")
    if function is not None:
        check_function_name(function)
    every = yield from lanes(space, queue)
    if not every:
        raise ConfigError(f"There are no queues yet in which {function!r} could be {what}; the first job makes one.")
    return every


def finish(lane: Lane, functions: Collection[str]) -> Verb[None]:
    """Put back what a lane withholds of functions that are being resumed, and note that it is done."""
    for _ in range(PASSES):
        count = 0
        for band in range(BANDS):
            count += yield from _put_back(lane, band, functions)
        if not count:
            break
    for function in functions:
        value((yield (resume_function(lane, function, is_done=True),)))


def _put_back(lane: Lane, band: int, functions: Collection[str]) -> Verb[int]:
    count = skip = 0
    while True:
        call = inspect.waiting(lane, band, start=str(WITHHELD), stop=f"({BLOCKED}", skip=skip)
        _, rows = value((yield (call,)))
        meant = [row.id for row in rows if _function(row.envelope) in functions]
        if meant:
            count += value((yield (put_back(lane, meant),)))
        if len(rows) < inspect.CHUNK:
            return count
        skip += len(rows) - len(meant)


def _function(envelope: bytes) -> str:
    try:
        return str(read_header(envelope).get("function", ""))
    except EncodingError:
        return ""
