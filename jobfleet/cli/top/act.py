"""Read what `jobfleet top` shows, and do what its keys ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jobfleet.cli.confirmations import confirmed, not_confirmed
from jobfleet.cli.top.pulse import Look, Pulse
from jobfleet.cli.top.state import Act, Page, Seen, State, Verb
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.model import JobStatus
from jobfleet.model.result import JobDetails
from jobfleet.operations.audit import whoami

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet

JOBS = 100
"""Most jobs of a queue to read."""
COMMAND_S = 10.0
"""Longest time to wait for the confirmation of a worker, in seconds."""
LOG_LINES = 200
"""Most lines of a log to read: the last ones."""


def read(fleet: Fleet, pulse: Pulse, state: State, look: Look) -> Seen:
    """Read what a page shows. Each page costs a bounded number of reads.

    Args:
        fleet: The fleet.
        pulse: Takes samples of it.
        state: The page.
        look: The last sample, for pages that need none.

    Raises:
        StoreUnavailable: Redis is unreachable.
    """
    if state.page is Page.FLEET:
        return Seen(pulse.look())
    try:
        if state.page is Page.JOBS:
            return Seen(pulse.look(), jobs=fleet.jobs(queue=state.target, limit=JOBS).jobs)
        details = _details(fleet, state.target)
        reasons = [one.text for one in fleet.explain(state.target).reasons] if details.job.status.is_waiting else []
        return Seen(look, details=details, logs=[*fleet.logs(state.target, tail=LOG_LINES)], reasons=reasons)
    except StoreUnavailable:
        raise
    except JobfleetError:  # the queue or the job was removed meanwhile
        return Seen(look)


def _details(fleet: Fleet, job_id: str) -> JobDetails[Any]:
    try:
        return fleet.details(job_id)
    except JobNotFound:  # its result is not kept, but perhaps its dead letter is
        letter = fleet.letter(job_id)
        return JobDetails(job=letter.job, args=letter.args, kwargs=letter.kwargs, history=letter.history)


def do(fleet: Fleet, act: Act, by: str | None) -> str:
    """Do an action of an operator; return its outcome as a sentence."""
    try:
        return _done(fleet, act, by)
    except JobfleetError as error:
        return str(error)


def _done(fleet: Fleet, act: Act, by: str | None) -> str:
    target = act.target
    if act.is_for_worker:
        return _commanded(fleet, act, by)
    if act.verb is Verb.PAUSE:
        return f"{target} is paused." if fleet.pause(target, by=by) else f"{target} was paused before."
    if act.verb is Verb.RESUME:
        return f"{target} is resumed." if fleet.resume(target, by=by) else f"{target} was not paused."
    if act.verb is Verb.REPLAY:
        is_back = fleet.replay(target, by=by)
        return f"{target} is back in its queue." if is_back else f"{target} is open, or did not fail."
    if not fleet.cancel(target, by=by):
        return f"{target} had ended before."
    (job,) = fleet.poll_many([target])
    is_running = job is not None and job.status is JobStatus.RUNNING
    return f"{target} is asked to stop." if is_running else f"{target} is cancelled."


def _commanded(fleet: Fleet, act: Act, by: str | None) -> str:
    """Send a command to a worker."""
    verb = act.verb.value
    (answer,) = fleet.command_workers([act.target], verb, timeout=COMMAND_S, by=by or whoami())
    return confirmed(verb, answer) if answer.is_confirmed else not_confirmed(answer, timeout=COMMAND_S)
