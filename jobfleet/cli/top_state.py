"""The state of `jobfleet top`: samples of a fleet, what is shown and selected, and what a key changes.

Pure, except the samples. A key returns an action, and does nothing itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from jobfleet.cli.terminal import Extent, Step
from jobfleet.clock import monotonic
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.result import JobDetails, LogLine

if TYPE_CHECKING:
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.queues import QueueInfo
    from jobfleet.operations.workers import WorkerInfo


WINDOW_S = 5.0
"""Window of the rates in seconds; if two samples are further apart, the rates are those between them."""

FAILURES = 20
"""Most dead letters to read per queue, newest first."""

_LONG_AGO = datetime.fromtimestamp(0, UTC)


@dataclass(frozen=True, slots=True)
class Moving:
    """A queue and its rates.

    Attributes:
        queue: The queue.
        completed: Completed jobs per second; None until there are two samples.
        failed: Permanently failed jobs per second; None until there are two samples.
    """

    queue: QueueInfo
    completed: float | None = None
    failed: float | None = None

    @property
    def is_busy(self) -> bool:
        """Whether jobs wait or run in the queue."""
        one = self.queue
        return bool(one.queued or one.running or one.scheduled or one.retrying or one.blocked)


@dataclass(frozen=True, slots=True)
class Look:
    """A sample of a fleet.

    Attributes:
        at: Time of the sample.
        queues: The queues by name; those with open jobs come first.
        workers: The workers by id; those that are alive come first.
        failures: The newest dead letters, newest first.
    """

    at: datetime
    queues: tuple[Moving, ...]
    workers: tuple[WorkerInfo, ...]
    failures: tuple[JobResult[Any], ...]


class _Count(NamedTuple):
    """Totals of each queue at a time of the monotonic clock."""

    at: float
    totals: Mapping[str, Mapping[str, int]]


class Pulse:
    """Takes samples of a fleet, and keeps the past samples that rates need.

    Args:
        fleet: The fleet.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._past: deque[_Count] = deque()
        self._letters: dict[str, tuple[tuple[int, ...], list[JobResult[Any]]]] = {}

    def look(self) -> Look:
        """Take a sample.

        Raises:
            StoreUnavailable: Redis is unreachable; past samples are kept.
        """
        queues, workers = self._fleet.queues(), self._fleet.workers()
        failures = self._failures(queues)
        moving = self._moving(_Count(monotonic(), {queue.name: queue.totals for queue in queues}), queues)
        return Look(
            datetime.now(UTC),
            tuple(sorted(moving, key=lambda one: (not one.is_busy, one.queue.name))),
            tuple(sorted(workers, key=lambda one: (one.is_gone, one.id))),
            tuple(failures),
        )

    def _moving(self, now: _Count, queues: Iterable[QueueInfo]) -> list[Moving]:
        past = self._past
        while len(past) > 1 and now.at - past[1].at >= WINDOW_S:
            past.popleft()
        before = past[0] if past else now
        past.append(now)
        return [
            Moving(queue, rate(before, now, queue.name, "completed"), rate(before, now, queue.name, "failed"))
            for queue in queues
        ]

    def _failures(self, queues: Iterable[QueueInfo]) -> list[JobResult[Any]]:
        """The newest dead letters. Those of a queue are read again only after its counts have changed."""
        kept = {}
        for queue in queues:
            counts = (queue.dead, queue.totals.get("failed", 0), queue.totals.get("replayed", 0))
            known = self._letters.get(queue.name)
            if known is None or known[0] != counts:
                known = (counts, self._fleet.dead(queue.name, limit=FAILURES) if queue.dead else [])
            kept[queue.name] = known
        self._letters = kept
        every = [letter for _, letters in kept.values() for letter in letters]
        return sorted(every, key=lambda one: one.completed_at or _LONG_AGO, reverse=True)[:FAILURES]


def rate(before: _Count, now: _Count, queue: str, what: str) -> float | None:
    """The rate of a total between two samples, per second; None if the queue is not in both."""
    if queue not in before.totals or now.at <= before.at:
        return None
    grown = now.totals[queue].get(what, 0) - before.totals[queue].get(what, 0)
    return max(0, grown) / (now.at - before.at)  # totals shrink if Redis loses its data


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


KEYS = (
    ("j k ↑ ↓", "move; on a job, scroll"),
    ("tab", "move to the next table"),
    ("enter", "open a queue, or a job with its log"),
    ("/", "show only rows with a text"),
    ("p", "pause a queue, quiet a worker, or resume it"),
    ("s", "stop the worker: it drains and exits"),
    ("c", "cancel the job"),
    ("r", "replay the failed job"),
    ("escape", "show all rows again; go back"),
    ("q", "quit"),
)
NOTHING_DONE = "Nothing was changed."


def press(state: State, key: str, seen: Seen, extent: Extent) -> Step[State, Act]:
    """Press a key.

    Args:
        state: The state before.
        key: The key; see `KeyReader`.
        seen: What the screen shows.
        extent: How much of it.
    """
    if state.is_typing:
        return Step(_typed(state, key))
    if state.asks is not None:
        done = state.asks if key in {"y", "Y"} else None
        return Step(
            replace(
                state,
                asks=None,
                message=f"{state.asks.verb.capitalize()} {state.asks.target} …" if done else NOTHING_DONE,
            ),
            done,
        )
    if state.is_help:
        return Step(replace(state, is_help=False), is_over=key in {"q", "Q"})
    state = replace(state, message="")
    if key in {"q", "Q"}:
        return Step(state, is_over=True)
    if key in _MOVES:
        return Step(_moved(state, _MOVES[key], seen, extent))
    return Step(_COMMANDS[key](state, seen) if key in _COMMANDS else state)


def _typed(state: State, key: str) -> State:
    if key == "enter":
        return replace(state, is_typing=False)
    if key == "escape":
        return replace(state, is_typing=False, filter="")
    if key == "backspace":
        return replace(state, filter=state.filter[:-1])
    return replace(state, filter=state.filter + key) if len(key) == 1 else state


_MOVES: dict[str, Callable[[int, int, int], int]] = {
    "j": lambda at, _room, _last: at + 1,
    "k": lambda at, _room, _last: at - 1,
    "page-down": lambda at, room, _last: at + room,
    "page-up": lambda at, room, _last: at - room,
    "home": lambda _at, _room, _last: 0,
    "end": lambda _at, _room, last: last,
}
_MOVES |= {"down": _MOVES["j"], "up": _MOVES["k"], "g": _MOVES["home"], "G": _MOVES["end"], " ": _MOVES["page-down"]}


def _moved(state: State, move: Callable[[int, int, int], int], seen: Seen, extent: Extent) -> State:
    if state.page is Page.JOB:
        at = min(state.scroll, extent.last)
        return replace(state, scroll=_within(move(at, extent.room, extent.last), extent.last))
    rows = rows_of(state, seen)
    if not rows:
        return state
    return _at(state, rows, move(_place(state, rows, seen), extent.room, len(rows) - 1))


def _at(state: State, rows: list[Row], place: int) -> State:
    place = _within(place, len(rows) - 1)
    return replace(state, row=rows[place], place=place)


def _within(place: int, last: int) -> int:
    return max(0, min(place, last))


def _place(state: State, rows: list[Row], seen: Seen) -> int:
    row = selected(state, seen)
    return rows.index(row) if row in rows else 0


def _next_table(state: State, seen: Seen) -> State:
    rows = rows_of(state, seen)
    if not rows:
        return state
    here = _place(state, rows, seen)
    kind = rows[here].kind
    following = (place for place in range(here, len(rows)) if rows[place].kind is not kind)
    return _at(state, rows, next(following, 0))


def _filter(state: State, _seen: Seen) -> State:
    return state if state.page is Page.JOB else replace(state, is_typing=True)


def _open(state: State, seen: Seen) -> State:
    row = selected(state, seen)
    if row is None:
        return state
    if row.kind is Kind.WORKER:
        return replace(state, message="p makes a worker quiet, and s stops it.")
    page = Page.JOBS if row.kind is Kind.QUEUE else Page.JOB
    rows = rows_of(state, seen)
    return State(page=page, under=_at(state, rows, rows.index(row)), target=row.id)


def _back(state: State, _seen: Seen) -> State:
    if state.filter:
        return replace(state, filter="")
    return state.under or state


def _pause(state: State, seen: Seen) -> State:
    if (worker := worker_at(state, seen)) is not None:
        return _command(state, worker, Verb.RESUME if worker.state == "quiet" else Verb.QUIET)
    row = selected(state, seen)
    name = state.target if state.page is Page.JOBS else row.id if row is not None and row.kind is Kind.QUEUE else ""
    queue = next((one.queue for one in seen.look.queues if one.queue.name == name), None)
    if queue is None:
        return replace(state, message="Select a queue to pause it, or a worker to make it quiet.")
    return replace(state, asks=Act(Verb.PAUSE if queue.paused is None else Verb.RESUME, name))


def _stop(state: State, seen: Seen) -> State:
    worker = worker_at(state, seen)
    if worker is None:
        return replace(state, message="Select a worker to stop it.")
    return _command(state, worker, Verb.STOP)


def _command(state: State, worker: WorkerInfo, verb: Verb) -> State:
    """Ask for a command to a worker, unless it can take none."""
    if worker.is_gone or worker.state == "stopping":
        return replace(state, message=f"{worker.id} {'is gone' if worker.is_gone else 'is stopping'}.")
    return replace(state, asks=Act(verb, worker.id, is_for_worker=True))


def _cancel(state: State, seen: Seen) -> State:
    job = job_at(state, seen)
    if job is None:
        return replace(state, message="Open a queue, and select a job to cancel it.")
    if job.status.is_final:
        return replace(state, message=f"The job has ended: {job.status}.")
    return replace(state, asks=Act(Verb.CANCEL, job.id))


def _replay(state: State, seen: Seen) -> State:
    job = job_at(state, seen)
    if job is None or job.status is not JobStatus.FAILED:
        return replace(state, message="Select a failed job to replay it.")
    return replace(state, asks=Act(Verb.REPLAY, job.id))


_COMMANDS: dict[str, Callable[[State, Seen], State]] = {
    "tab": _next_table,
    "/": _filter,
    "enter": _open,
    "escape": _back,
    "p": _pause,
    "s": _stop,
    "c": _cancel,
    "r": _replay,
    "?": lambda state, _seen: replace(state, is_help=True),
}
