"""Replay or purge dead letters; a replay may change the arguments."""

from __future__ import annotations

from typing import Any

from jobfleet.errors import DuplicateJob, JobNotFound
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.arguments import Arguments, with_arguments
from jobfleet.operations.operation import Operation, value
from jobfleet.operations.payloads import kept, stow
from jobfleet.store.call import Call
from jobfleet.store.calls import control, inspect
from jobfleet.store.calls.flow import shorten_parents
from jobfleet.store.calls.run import forget_steps
from jobfleet.store.records import AS_IT_IS, DeadLetter, Edit


def purge(context: FleetContext, job_id: str) -> Operation[bool]:
    """Delete a dead letter; False when the job has none.

    Raises:
        JobNotFound: `job_id` is not a job id.
    """
    lane = context.keys.lane_of(job_id)
    shown = round(context.config.failed_result_ttl * 1000)  # no replay needs its parents any more
    return bool(value((yield (control.purge(lane, (job_id,)), shorten_parents(lane, [(job_id, shown)])))))


NO_LETTER = Edit(entry="0-0")
"""The edit for a job without a dead letter: if it dies at this moment, the replay does not take its old arguments."""


def replay(
    context: FleetContext, job_id: str, by: str | None, *, wanted: Arguments | None = None, fresh: bool = False
) -> Operation[bool]:
    """Enqueue a dead job again; False when it is open, or was completed since.

    Args:
        context: The context of the fleet.
        job_id: The job.
        by: Who asks; None for nobody in particular.
        wanted: Its new arguments; None to keep both.
        fresh: Forget its steps, so that the job does all of them again.

    Raises:
        JobNotFound: The job has no dead letter.
        DuplicateJob: Another job holds its unique key.
        EncodingError: An argument cannot travel, or the envelope cannot be read.
    """
    lane, word, edit = context.keys.lane_of(job_id), "", NO_LETTER
    while word in ("", "changed"):
        before = edit
        edit = AS_IT_IS if wanted is None else (yield from _edit(context, job_id, wanted))
        if NO_LETTER not in (before, edit) and word and not edit.envelope:
            return False  # the edit was done before, its reply was lost, and the job died again with the new arguments
        calls: list[Call[Any]] = [control.replay(lane, (job_id,), by=by, edits={job_id: edit})]
        if fresh:
            calls.insert(0, forget_steps(lane, job_id))
        answers = yield calls
        value(answers)
        word = value(answers[-1:])[0]
    if word == "unknown":
        raise JobNotFound(job_id, f"No dead letter {job_id!r}.")
    if word.startswith("duplicate:"):
        raise DuplicateJob(word.partition(":")[2])
    return bool(word == "replayed")


def _edit(context: FleetContext, job_id: str, wanted: Arguments) -> Operation[Edit]:
    """The edit of the stored letter; it has no envelope if the letter has these arguments already."""
    letter: DeadLetter | None = value((yield (inspect.letter(context.keys.lane_of(job_id), job_id),)))
    if letter is None:
        return NO_LETTER
    before = (yield from kept(context, letter.envelope)) if wanted.keeps_some else letter.envelope
    envelope = with_arguments(before, wanted, context.limits, context.registry)
    return Edit(letter.entry, b"" if envelope == before else (yield from stow(context, job_id, envelope)))
