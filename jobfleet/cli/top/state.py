"""The state of `jobfleet top`: what is shown, what is selected, and what was read. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.cli.top.pulse import Look
from jobfleet.model import JobResult
from jobfleet.model.result import JobDetails, LogLine

if TYPE_CHECKING:
    from jobfleet.operations.workers.info import WorkerInfo


class Page(StrEnum):
    """The pages of the screen."""

    FLEET = "fleet"
    JOBS = "jobs"
    JOB = "job"


class Kind(StrEnum):
    """What a selected row is."""

    QUEUE = "queue"
    WORKER = "worker"
    DEAD = "dead"
    JOB = "job"


class Row(NamedTuple):
    """A row that can be selected: a queue by its name, a worker or a job by its id."""

    kind: Kind
    id: str


class Verb(StrEnum):
    """What a key can do to a queue, a worker or a job."""

    PAUSE = "pause"
    RESUME = "resume"
    CANCEL = "cancel"
    REPLAY = "replay"
    QUIET = "quiet"
    STOP = "stop"


class Act(NamedTuple):
    """An action of an operator: what to do, and to what.

    Attributes:
        verb: What to do.
        target: The name of the queue, or the id of the worker or of the job.
        is_for_worker: Whether the target is a worker; a queue can be resumed, too.
    """

    verb: Verb
    target: str
    is_for_worker: bool = False

    @property
    def question(self) -> str:
        """What is asked before."""
        return f"{self.verb.capitalize()} {self.target}?"


@dataclass(frozen=True, slots=True)
class State:
    """What the screen shows.

    Attributes:
        page: The page.
        under: The state of the page from which this one was opened; None on the first page.
        target: The queue whose jobs are shown, or the id of the job that is shown.
        row: The selected row; None until there is one.
        place: Its place among the rows, for when it disappears.
        scroll: The first line that is shown of a job.
        filter: Only rows with this text are shown.
        is_typing: Whether keys are typed into the filter.
        asks: What waits for a yes.
        message: The outcome of the last key.
        is_help: Whether the keys are shown.
    """

    page: Page = Page.FLEET
    under: State | None = None
    target: str = ""
    row: Row | None = None
    place: int = 0
    scroll: int = 0
    filter: str = ""
    is_typing: bool = False
    asks: Act | None = None
    message: str = ""
    is_help: bool = False


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read for the page.

    Attributes:
        look: The last sample of the fleet.
        jobs: The first jobs of the queue, those that run first.
        details: The job in full; None if it is not known any more.
        logs: The last lines of its log.
        reasons: Why it does not run, if it waits; one line each.
    """

    look: Look
    jobs: Sequence[JobResult[Any]] = ()
    details: JobDetails[Any] | None = None
    logs: Sequence[LogLine] = ()
    reasons: Sequence[str] = ()


def filtered(look: Look, text: str) -> Look:
    """The part of a sample that contains a text."""
    if not text:
        return look
    return Look(
        look.at,
        tuple(one for one in look.queues if fits(text, one.queue.name)),
        tuple(one for one in look.workers if fits(text, one.id, *one.queues)),
        tuple(one for one in look.failures if fits(text, one.id, one.function, one.error_text)),
    )


def listed(state: State, seen: Seen) -> Sequence[JobResult[Any]]:
    """The jobs of the page that fit the filter."""
    return [one for one in seen.jobs if fits(state.filter, one.id, one.function, one.status.value, one.error_text)]


def fits(text: str, *fields: str) -> bool:
    """Whether one of the fields contains a text, in whatever case."""
    return any(text.casefold() in field.casefold() for field in fields)


def rows_of(state: State, seen: Seen) -> list[Row]:
    """The rows of the page, in the order in which they are shown."""
    if state.page is Page.FLEET:
        look = filtered(seen.look, state.filter)
        queues = [Row(Kind.QUEUE, one.queue.name) for one in look.queues]
        workers = [Row(Kind.WORKER, one.id) for one in look.workers]
        return [*queues, *workers, *(Row(Kind.DEAD, one.id) for one in look.failures)]
    if state.page is Page.JOBS:
        return [Row(Kind.JOB, one.id) for one in listed(state, seen)]
    return []


def selected(state: State, seen: Seen) -> Row | None:
    """The selected row; if it has disappeared, the one in its place."""
    rows = rows_of(state, seen)
    if state.row in rows or not rows:
        return state.row if rows else None
    return rows[min(state.place, len(rows) - 1)]


def job_at(state: State, seen: Seen) -> JobResult[Any] | None:
    """The job that is shown or selected."""
    if state.page is Page.JOB:
        return seen.details.job if seen.details is not None else None
    row = selected(state, seen)
    jobs = (*seen.look.failures, *seen.jobs) if state.page is Page.FLEET else seen.jobs
    return next((one for one in jobs if row is not None and one.id == row.id and row.kind in _JOBS), None)


def worker_at(state: State, seen: Seen) -> WorkerInfo | None:
    """The worker that is selected."""
    row = selected(state, seen)
    if row is None or row.kind is not Kind.WORKER:
        return None
    return next((one for one in seen.look.workers if one.id == row.id), None)


_JOBS = {Kind.DEAD, Kind.JOB}
