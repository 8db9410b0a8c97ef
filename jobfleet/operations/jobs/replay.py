"""Putting a dead job back, with its own arguments or with others. See `verbs` for the form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jobfleet.codec import open_envelope, recalled, zones_lost
from jobfleet.errors import DuplicateJob, EncodingError, JobNotFound
from jobfleet.model import Job
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import Operation, value
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.steps import forget
from jobfleet.store.job_rows import DeadLetter
from jobfleet.store.records import AS_IT_IS, Edit


def purge(context: FleetContext, job_id: str) -> Operation[bool]:
    """Let a dead letter go for good; False when there was none."""
    lane = context.keys.lane_of(job_id)
    return bool(value((yield (control.purge(lane, (job_id,)),))))


NO_LETTER = Edit(entry="0-0")
"""Of a job without a letter: should it die in this very moment, it is not replayed as it is."""


class Arguments(NamedTuple):
    """What a dead job is to be called with; what is None stays.

    Attributes:
        args: In the place of its positional arguments.
        kwargs: In the place of its named ones.
    """

    args: Sequence[Any] | None
    kwargs: Mapping[str, Any] | None


def arguments_of(args: Sequence[object] | None, kwargs: Mapping[str, object] | None) -> Arguments | None:
    """Read what a caller wishes; None for no wish.

    Raises:
        InvalidJob: They are no arguments.
    """
    if args is None and kwargs is None:
        return None
    call = Job("replay", "replay", () if args is None else args, {} if kwargs is None else kwargs)
    return Arguments(None if args is None else call.args, None if kwargs is None else call.kwargs)


def replay(
    context: FleetContext, job_id: str, by: str | None, *, wanted: Arguments | None = None, fresh: bool = False
) -> Operation[bool]:
    """Put a dead job back; False when it is open, or was completed since. A `fresh` one does all its steps again.

    Raises:
        JobNotFound: There is no such dead letter.
        DuplicateJob: Its unique key is held by another job.
        EncodingError: An argument cannot travel, or its envelope cannot be read.
    """
    lane, word, edit = context.keys.lane_of(job_id), "", NO_LETTER
    while word in ("", "changed"):
        before = edit
        edit = AS_IT_IS if wanted is None else (yield from _edit(context, job_id, wanted))
        if NO_LETTER not in (before, edit) and word and not edit.envelope:
            return False  # it has those arguments by now: this very edit was done, its reply lost, and it died again
        calls: list[Call[Any]] = [control.replay(lane, (job_id,), by=by, edits={job_id: edit})]
        if fresh:
            calls.insert(0, forget(lane, job_id))
        answers = yield calls
        value(answers)
        word = value(answers[-1:])[0]
    if word == "unknown":
        raise JobNotFound(job_id, f"No dead letter {job_id!r}.")
    if word.startswith("duplicate:"):
        raise DuplicateJob(word.partition(":")[2])
    return bool(word == "replayed")


def _edit(context: FleetContext, job_id: str, wanted: Arguments) -> Operation[Edit]:
    """The letter that is there, with the arguments wanted: the same call with the same letter is no edit."""
    letter: DeadLetter | None = value((yield (inspect.letter(context.keys.lane_of(job_id), job_id),)))
    if letter is None:
        return NO_LETTER
    args, kwargs = wanted
    if args is None or kwargs is None:
        opened = open_envelope(letter.envelope, limits=context.limits)
        _check_is_kept(letter)
        args = opened.args if args is None else args
        kwargs = opened.kwargs if kwargs is None else kwargs
    envelope = recalled(letter.envelope, args, kwargs, limits=context.limits)
    return Edit(letter.entry, b"" if envelope == letter.envelope else envelope)


def _check_is_kept(letter: DeadLetter) -> None:
    """See that what is not given stays as it is.

    Raises:
        EncodingError: It holds a time in a zone that is not known here, and would lose that.
    """
    lost = zones_lost(letter.envelope)
    if lost:
        zones = ", ".join(lost)
        raise EncodingError(
            f"args, kwargs: times in {zones}, which this machine does not know; give both, or install tzdata.",
            field="args",
            path="args",
        )
