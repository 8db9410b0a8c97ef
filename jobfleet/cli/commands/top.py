"""`jobfleet top`: queues, workers, failures and jobs, live on a terminal, with keys."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli.commands.workers import confirmed, not_confirmed
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import TIME, Command, by_option
from jobfleet.cli.output import Output
from jobfleet.cli.terminal import Extent, FullScreen, is_drawable, run, stale_since
from jobfleet.cli.top_screen import Around, frame, tables
from jobfleet.cli.top_state import Act, Look, Page, Pulse, Seen, State, Verb, press
from jobfleet.cli.view import job_data, jsonable, queue_data, worker_data
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable
from jobfleet.model import JobStatus
from jobfleet.model.result import JobDetails
from jobfleet.operations.audit import whoami

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet


LEAST_S = 0.1


def _every(_ctx: click.Context, _option: click.Parameter, seconds: float) -> float:
    if seconds < LEAST_S:
        raise click.BadParameter(f"{seconds:g} s is too often; use {LEAST_S:g} or more.")
    return seconds


@click.command(cls=Command)
@click.option("--every", type=TIME, default=1.0, callback=_every, help="Time between two samples. [default 1s]")
@click.option("--once", is_flag=True, help="Print one sample as plain tables.")
@by_option
@click.pass_obj
def top(invocation: Invocation, every: float, once: bool, by: str | None) -> None:
    """Show queues, workers and the newest failures, live, until q or Ctrl-C.

    WAITING jobs are due, LATER jobs are not due yet. Rates are those of the last 5 seconds. OLDEST is how long the
    first job in line has been due, SLOTS the used and all slots, HEARD the time since the last heartbeat.

    Keys: j and k move, enter opens a queue or a job with its log, / filters, p pauses or resumes a queue or makes a
    worker quiet, s stops a worker, c cancels a job, r replays a failed job, and ? shows all keys. What changes the
    fleet is asked first.

    Without a terminal, and with -o json or ids, it prints one sample without rates. Ids are those of the failures.
    """
    output = invocation.output
    with invocation.fleet() as fleet:
        pulse = Pulse(fleet)
        look = pulse.look()
        if once or not is_drawable(output):
            text = tables(output, look, datetime.now(UTC)) if output.form == "table" else ""
            output.show(data=look_data(look), ids=[letter.id for letter in look.failures], text=text)
            return
        title = f"jobfleet  {fleet.store.at.shown}  {invocation.config.namespace}"
        with FullScreen() as screen:
            run(screen, Top(fleet, pulse, look, output, title, by), every=every)


def look_data(look: Look) -> dict[str, object]:
    """A sample as data for JSON: queues with their rates, workers and failures."""
    return {
        "at": jsonable(look.at),
        "queues": [
            {**queue_data(one.queue), "completed_per_second": one.completed, "failed_per_second": one.failed}
            for one in look.queues
        ],
        "workers": [worker_data(worker) for worker in look.workers],
        "failures": [job_data(letter) for letter in look.failures],
    }


class Top:
    """Connects the state of the screen with a fleet.

    Args:
        fleet: The fleet.
        pulse: Takes samples of it.
        look: The first sample.
        output: Decides whether there are colours.
        title: The title of the first page.
        by: The person, for the record.

    Attributes:
        state: The state of the screen.
        is_stale: Whether the page has changed since it was read.
    """

    def __init__(self, fleet: Fleet, pulse: Pulse, look: Look, output: Output, title: str, by: str | None) -> None:
        self._fleet = fleet
        self._pulse = pulse
        self._output = output
        self._title = title
        self._by = by
        self._seen = Seen(look)
        self._extent = Extent(1)
        self._trouble = ""
        self._page = (Page.FLEET, "")
        self.state = State()
        self._act: Act | None = None
        self.is_stale = False

    @property
    def is_due(self) -> bool:
        """Whether an action is to be done."""
        return self._act is not None

    def read(self) -> None:
        """Read the page. While Redis does not answer, keep what was read last, with its time and the reason."""
        self.is_stale = False
        page = (self.state.page, self.state.target)
        try:
            self._seen = read(self._fleet, self._pulse, self.state, self._seen.look)
            self._page, self._trouble = page, ""
        except StoreUnavailable as error:
            if page != self._page:  # what was read is of another page
                self._seen = Seen(self._seen.look)
            self._trouble = stale_since(self._seen.look.at, error, self._fleet.store.at.shown)

    def frame(self, columns: int, rows: int) -> Sequence[str]:
        """The page for this size of the terminal."""
        around = Around(self._title, datetime.now(UTC), self._trouble)
        drawn = frame(self._output, self.state, self._seen, around, columns=columns, rows=rows)
        self._extent = drawn.extent
        return drawn.lines

    def press(self, key: str) -> bool:
        """Press a key; return whether this ends the command."""
        before = self.state
        step = press(before, key, self._seen, self._extent)
        self.state = step.state
        self._act = step.act
        self.is_stale = (before.page, before.target) != (self.state.page, self.state.target)
        return step.is_over

    def act(self) -> None:
        """Do the action that is due, and show its outcome."""
        if self._act is not None:
            self.state = replace(self.state, message=do(self._fleet, self._act, self._by))
            self._act, self.is_stale = None, True


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
