"""Runs ``async def`` functions on the child's event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

from jobfleet.worker.run.executor import OnEnd
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.stop_state import Stage
from jobfleet.worker.run.writes.current_run import CURRENT


class LoopExecutor:
    """Runs coroutines, each in its own task."""

    stages: tuple[Stage, ...] = (Stage.RAISED,)

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function in its own task, in a copy of the worker's context.

        The code that starts a run may run in the context of another job.
        """
        context = self._context.copy()
        run.task = self._loop.create_task(_await(run, handler.call, args, kwargs, on_end), context=context)

    def stop(self, run: Run, stage: Stage) -> None:
        """Raise `asyncio.CancelledError` in the coroutine."""
        if stage is not Stage.RAISED or run.task is None:
            return
        if inspect.getcoroutinestate(run.task.get_coro()) == inspect.CORO_CREATED:  # type: ignore[arg-type]  # ours is one
            self._loop.call_soon(self.stop, run, stage)  # one that has not begun would end without on_end
        else:
            run.task.cancel()

    def flush(self) -> None:
        """Nothing waits for others here."""

    def close(self) -> None:
        """Nothing is ever idle here."""


async def _await(run: Run, call: Callable[..., Any], args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
    CURRENT.set(run)
    if run.span is not None:
        run.span.enter()
    try:
        if run.is_late:
            await run.before_late_call()
        value = await call(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
        run.task = None
        on_end(None, error)
    else:
        run.task = None  # the task's context holds the run, which would be a reference cycle
        on_end(value, None)
