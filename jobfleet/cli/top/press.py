"""What a key changes in `jobfleet top`. Pure: an action is returned, not done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from jobfleet.cli.terminal.frame import Extent, Step
from jobfleet.cli.top.state import Act, Kind, Page, Row, Seen, State, Verb, job_at, rows_of, selected, worker_at
from jobfleet.model import JobStatus

if TYPE_CHECKING:
    from jobfleet.operations.workers.info import WorkerInfo

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
