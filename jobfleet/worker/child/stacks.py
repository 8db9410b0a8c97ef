"""The stacks of a child: its threads and its asyncio tasks, each with the job that it works for.

A thread of its own writes them whenever the supervisor asks, so that they also come from a child whose event loop does
not turn. Only native code that holds the interpreter stops it; then the supervisor lets `faulthandler` write the stacks
of the threads.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from contextvars import Context
from types import CodeType, FrameType
from typing import Any

from jobfleet.worker.executors.batch import BatchCall
from jobfleet.worker.executors.local import runs_in_threads
from jobfleet.worker.ipc.protocol import bounded
from jobfleet.worker.run.log_capture import CURRENT, CurrentRun
from jobfleet.worker.run.run import Run

FRAMES_MOST = 60
"""Frames of a stack; of a longer one the outermost are left out."""
TASKS_MOST = 2000
NAMED_MOST = 5
"""Jobs of a batch that are named."""
QUESTIONS = 64
"""Questions that one answer is for, if more came while the interpreter was held."""


class StackWriter:
    """Writes the stacks of this process to a file whenever a byte comes through a pipe.

    Args:
        asked: The reading end of the pipe.
        answers: The file.
        loop: The event loop.
    """

    def __init__(self, asked: int, answers: int, loop: asyncio.AbstractEventLoop) -> None:
        self._asked = asked
        self._answers = answers
        self._loop = loop

    def start(self) -> None:
        """Start the thread. It is blocked in a read until somebody asks, and ends with the process."""
        threading.Thread(target=self._serve, name="jobfleet-stacks", daemon=True).start()

    def _serve(self) -> None:
        with suppress(OSError):  # a forked process has closed the pipe
            while os.read(self._asked, QUESTIONS):
                os.write(self._answers, self._text().encode(errors="replace"))

    def _text(self) -> str:
        try:
            return bounded(stacks_of(self._loop, runs_in_threads()))
        except Exception as error:  # noqa: BLE001 - whatever user code has done to the loop, the stacks must not end this
            return f"The stacks cannot be read: {error!r:.500}"


def stacks_of(loop: asyncio.AbstractEventLoop, runs: Mapping[int, Run]) -> Iterator[str]:
    """The stacks of all threads but this one, those with jobs first, then of the tasks of a loop likewise.

    Args:
        loop: The event loop.
        runs: The runs whose code threads execute, by the id of the thread.
    """
    current = asyncio.current_task(loop)
    frames, own = sys._current_frames(), threading.get_ident()  # noqa: SLF001 - the documented way to all frames
    names = {one.ident: one.name for one in threading.enumerate()}
    main = threading.main_thread().ident
    on_loop = "" if current is None else job_of(current)
    working = {ident: id_of(run) for ident, run in runs.items()}
    if on_loop and main is not None:
        working[main] = on_loop
    for ident in sorted(frames, key=lambda ident: (ident not in working, ident != main)):
        if ident != own:
            head = f"Thread {names.get(ident, 'without a name')}" + (" (event loop)" if ident == main else "")
            yield from _stack(head, working.get(ident, ""), _outer(frames[ident]))
    tasks = [(job_of(task), task) for task in asyncio.all_tasks(loop)]
    tasks.sort(key=lambda pair: (not pair[0], pair[1] is not current, pair[1].get_name()))
    for job, task in tasks[:TASKS_MOST]:
        frames_of_task = [] if task is current else list(_awaited(task.get_coro()))
        head = f"Task {task.get_name()}" + (", which runs now in the thread of the event loop" * (task is current))
        yield from _stack(head, job, frames_of_task)
    if len(tasks) > TASKS_MOST:
        yield f"… and {len(tasks) - TASKS_MOST:,} more tasks"


def write_on_request(asked: int, answers: int) -> None:
    """Write the stacks of this process, with the tasks of the running loop, whenever the supervisor asks."""
    StackWriter(asked, answers, asyncio.get_running_loop()).start()


def job_of(task: asyncio.Task[Any]) -> str:
    """The id of the job for which a task works; empty if it is none. Tasks that a job starts belong to it, too."""
    run = _context(task).get(CURRENT)
    return "" if run is None else id_of(run)


def id_of(run: CurrentRun) -> str:
    """The id of the job of a run; of a batch, the first ids."""
    if isinstance(run, BatchCall):
        ids = sorted(member.run.id for member in list(run.left))
        more = len(ids) - NAMED_MOST
        return ", ".join(ids[:NAMED_MOST]) + (f" and {more:,} more" if more > 0 else "")
    return str(run.described().get("job_id", ""))


def _context(task: asyncio.Task[Any]) -> Context:
    """The context of a task, which Python 3.11 shows only to the garbage collector."""
    get = getattr(task, "get_context", None)
    if get is not None:
        found: Context = get()
        return found
    return next((one for one in gc.get_referents(task) if isinstance(one, Context)), Context())


def _outer(frame: FrameType | None) -> list[tuple[CodeType, int]]:
    """The frames of a thread, the innermost last."""
    found: list[tuple[CodeType, int]] = []
    while frame is not None and len(found) < FRAMES_MOST:
        found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return found[::-1]


def _awaited(awaitable: object) -> Iterator[tuple[CodeType, int]]:
    """The frames of a task that waits: of its coroutine, of what that awaits, and so on."""
    for _ in range(FRAMES_MOST):
        frame = _first(awaitable, "cr_frame", "gi_frame", "ag_frame")
        if frame is not None:
            yield frame.f_code, frame.f_lineno
        awaitable = _first(awaitable, "cr_await", "gi_yieldfrom", "ag_await")
        if awaitable is None:
            return


def _first(thing: object, *names: str) -> Any:
    return next((one for name in names if (one := getattr(thing, name, None)) is not None), None)


def _stack(head: str, job: str, frames: list[tuple[CodeType, int]]) -> Iterator[str]:
    yield head + (f", job {job}" if job else "")
    rows = [traceback.FrameSummary(code.co_filename, line, code.co_qualname) for code, line in frames]
    for text in traceback.format_list(rows):
        yield text.rstrip("\n")
    yield ""
