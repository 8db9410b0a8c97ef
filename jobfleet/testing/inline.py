"""Fleets that run each job at once, before its enqueue returns: the inline mode of `Jobs`."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from copy import copy
from dataclasses import replace
from functools import partial, wraps
from typing import Any, NamedTuple, Self

from jobfleet.config import JobConfig
from jobfleet.event_loop import running_loop
from jobfleet.fleet.aio import AsyncFleet, closing_with_loop
from jobfleet.fleet.sync import Fleet
from jobfleet.functions.context import JobContext
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.handle.base import outcome_of
from jobfleet.model import Job, JobStatus, Receipt
from jobfleet.model.signals import RetryAfter, Snooze, Suspended
from jobfleet.model.spec import split_id
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.store.sync import Store

PAUSE = 0.01
Calls = queue.SimpleQueue["Call"]


class Call:
    """A call of a ``def`` function, which a thread of the worker hands to the thread that has enqueued the job."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._ended = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Call the function."""
        try:
            self._value = self._function()
        except BaseException as error:  # noqa: BLE001 - the worker gets it
            self._error = error
        self._ended.set()

    def result(self) -> Any:
        """Wait for the end of the call; return its value, or raise its error."""
        self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._value


class Target(NamedTuple):
    """What a worker needs of a client."""

    config: JobConfig
    context: FleetContext
    store: Store


class Inline:
    """Runs jobs at once, by a worker that ends with them.

    Args:
        fleet: The fleet.
        raises: Whether the enqueue raises the error of its job.
    """

    def __init__(self, fleet: Fleet, *, raises: bool) -> None:
        self._fleet = fleet
        self._raises = raises
        self._thread = threading.local()
        self._errors: dict[str, BaseException] = {}

    def run(self, receipt: Receipt) -> None:
        """Run a job that was enqueued, if it is due now; a job that it enqueues runs within it.

        Raises:
            BaseException: The error of the job, if errors are to be raised.
        """
        if not receipt.created or receipt.status is not JobStatus.QUEUED:
            return
        outer: Calls | None = getattr(self._thread, "calls", None)
        calls = outer if outer is not None else None if running_loop() is not None else queue.SimpleQueue()
        self._thread.calls = calls
        try:
            self._work(receipt.id, calls)
        finally:
            self._thread.calls = outer
        self._raise_error(receipt.id)

    def _work(self, job_id: str, calls: Calls | None) -> None:
        place = split_id(job_id).queue
        target = Target(self._fleet.config, self._context(calls), self._fleet.store)
        ended: list[BaseException] = []
        worker = threading.Thread(target=_burst, args=(target, place, ended), name="jobfleet-inline", daemon=True)
        worker.start()
        while worker.is_alive() or self._fleet.poll(job_id).status is JobStatus.RUNNING:  # in an outer worker
            try:
                if calls is None:
                    time.sleep(PAUSE)
                else:
                    calls.get(timeout=PAUSE).run()
            except queue.Empty:
                continue
        if ended:
            raise ended[0]

    def _context(self, calls: Calls | None) -> FleetContext:
        """The fleet's context, with functions that run in the calling thread."""
        registry = self._fleet.context.registry
        functions = dict(registry.functions)
        if calls is not None:
            functions = {name: _handed(function, calls) for name, function in functions.items()}
        around = [self._record_error, *registry.around_run]
        inside: Registry = replace(registry, functions=functions, around_run=around)
        return FleetContext(self._fleet.config, inside)

    async def _record_error(self, ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        self._errors.pop(ctx.job_id, None)
        try:
            return await call_next()
        except BaseException as error:
            self._errors[ctx.job_id] = error
            raise

    def _raise_error(self, job_id: str) -> None:
        error = self._errors.pop(job_id, None)
        if not self._raises:
            return
        result = self._fleet.poll(job_id)
        if error is not None and result.status is not JobStatus.COMPLETED:
            if not isinstance(error, Snooze | RetryAfter | Suspended):  # signals: the job runs later
                raise error
        elif result.status.is_final:
            outcome_of(result)


def _burst(target: Target, place: str, ended: list[BaseException]) -> None:
    """Run a worker for a queue until it has no due job; keep the error that ends it."""
    from jobfleet.worker.in_process import run_worker

    try:
        run_worker(target, queues=[place], burst=True)
    except BaseException as error:  # noqa: BLE001 - the thread that has enqueued the job raises it
        ended.append(error)


def _handed(function: JobFunction[..., Any, Any], calls: Calls) -> JobFunction[..., Any, Any]:
    """A copy of a function whose calls the thread that has enqueued the job executes, if it is a plain ``def``."""
    if function.run_in != "thread" or function.batch is not None:
        return function
    code = function.function

    @wraps(code)
    def hand_over(*args: Any, **kwargs: Any) -> Any:
        call = Call(partial(copy_context().run, code, *args, **kwargs))
        calls.put(call)
        return call.result()

    made = copy(function)
    made.function = hand_over
    return made


class InlineFleet(Fleet):
    """A fleet whose enqueues run their jobs at once."""

    inline: Inline
    awaited: dict[asyncio.AbstractEventLoop, tuple[InlineAsyncFleet, object]]

    @classmethod
    def over(cls, fleet: Fleet, inline: Inline) -> Self:
        """A client with another fleet's settings, functions and server."""
        made = cls.__new__(cls)
        context = fleet.context
        cls._set_up(made, context.config, context.registry, target=fleet.store.at, recorder=fleet.recorder)
        made.inline = inline
        made.awaited = {}
        return made

    def submit(self, job: Job) -> Receipt:
        """Put a job into the fleet, and run it. Raises as `enqueue`, and the error of the job."""
        receipt = super().submit(job)
        self.inline.run(receipt)
        return receipt

    def for_running_loop(self) -> AsyncFleet:
        """This fleet for the running event loop."""
        loop = asyncio.get_running_loop()
        if loop not in self.awaited:
            made = InlineAsyncFleet.sharing(self)
            made.inline = self.inline
            self.awaited[loop] = made, closing_with_loop(made)
        return self.awaited[loop][0]


class InlineAsyncFleet(AsyncFleet):
    """An awaited fleet whose enqueues run their jobs at once."""

    inline: Inline

    async def submit(self, job: Job) -> Receipt:
        """Put a job into the fleet, and run it. Raises as `enqueue`, and the error of the job."""
        receipt = await super().submit(job)
        await asyncio.to_thread(self.inline.run, receipt)
        return receipt
