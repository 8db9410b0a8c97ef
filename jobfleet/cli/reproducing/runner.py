"""Runs the code of a job in this process: middleware, hooks before the run and resources included."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from jobfleet.cli.reproducing.local_run import LocalRun
from jobfleet.codec import encode, open_envelope
from jobfleet.codec.frames import OpenedEnvelope
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError
from jobfleet.functions.batch import BatchItem
from jobfleet.operations.reproduction import ParentEnd
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.executors.batch import dumped, loaded, results_of
from jobfleet.worker.executors.local import LoopExecutor, ThreadExecutor
from jobfleet.worker.run import hooks
from jobfleet.worker.run.context import context_of
from jobfleet.worker.run.handlers import Handler, Handlers
from jobfleet.worker.run.interfaces import Executor, OnEnd
from jobfleet.worker.run.middleware import MiddlewareChain
from jobfleet.worker.run.resources import Resources
from jobfleet.worker.run.run import Run, Stage
from jobfleet.worker.run.runner import at_version

CLOSING = 5.0
CHILD = "reproduce"


class Reproduced(NamedTuple):
    """How a local run ended.

    Attributes:
        value: What the function has returned.
        error: What it has raised; None if it returned.
        refusal: Why a worker would not have called the function; empty if it was called.
    """

    value: Any = None
    error: BaseException | None = None
    refusal: str = ""


class _BatchOfOne:
    """Calls a function that takes a list with the value of one job."""

    stages: tuple[Stage, ...] = ()

    def __init__(self, inner: Mapping[str, Executor]) -> None:
        self._inner = inner

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function with a list of one element."""
        function = handler.function
        if function.batch is None:
            raise TypeError(f"{function.name} runs no batches")
        element, resources = loaded(function, function.batch, args, kwargs)

        def ended(value: Any, error: BaseException | None) -> None:
            answer = element.answer if isinstance(element, BatchItem) else None
            if error is None:
                ((value, error),) = [answer] if answer else results_of(function.name, value, 1)
            if error is None:
                value, error = dumped(function, value)
            on_end(value, error)

        self._inner[function.run_in].start(run, handler, [[element]], resources, ended)

    def stop(self, run: Run, stage: Stage) -> None:
        """Nothing stops a local run but the end of the program."""

    def flush(self) -> None:
        """Nothing is gathered."""

    def close(self) -> None:
        """Nothing is idle."""


async def reproduce(
    config: JobConfig,
    handlers: Handlers,
    job_id: str,
    envelope: bytes,
    *,
    attempt: int,
    fence: int,
    steps: Mapping[str, bytes],
    parents: Sequence[ParentEnd],
) -> Reproduced:
    """Run the code of a job on the running event loop, or in a thread.

    Args:
        config: The settings.
        handlers: The functions.
        job_id: The job.
        envelope: Its envelope, with its arguments.
        attempt: The number of the attempt, for its context.
        fence: The fencing token, for its context.
        steps: The encoded results of its steps.
        parents: How the jobs ended that it has waited for.

    Raises:
        UnknownFunction: The handlers have no function of that name.
        EncodingError: The envelope cannot be read.
        StartHookFailed: An `on_start` hook has raised an exception.
    """
    limits = limits_of(config)
    grant = Grant(job_id, fence, 0, 0, envelope, "", "")
    run = LocalRun(Keyspace.of(config).lane_of(job_id), grant, steps)
    sealed = open_envelope(envelope, limits=limits)
    run.header, run.parents = sealed.header, parents
    run.handler = handler = handlers.get(sealed.header["function"])
    opened = at_version(run, handler, sealed, limits)
    if not isinstance(opened, OpenedEnvelope):
        return Reproduced(refusal=opened.reason)
    context = replace(context_of(run, CHILD, opened.args, opened.kwargs), attempt=attempt)
    executors: dict[str, Executor] = {"async": LoopExecutor(), "thread": ThreadExecutor()}
    executors["batch"] = _BatchOfOne(executors)
    resources = Resources()
    chain = MiddlewareChain(handlers.hooks, handlers.around, executors, resources)
    where = "async" if handler.function.is_coroutine else "thread"
    handler = replace(handler, where="batch" if handler.where == "batch" else where)
    ended: asyncio.Future[tuple[Any, BaseException | None]] = asyncio.get_running_loop().create_future()

    def on_end(value: Any, error: BaseException | None) -> None:
        ended.set_result((value, error))

    await hooks.start(handlers.hooks)
    run.executor = executors["async"]
    call = partial(chain.call, run, handler, context)
    executors["async"].start(run, replace(handler, call=call), [opened.args, opened.kwargs], {}, on_end)
    value, error = await ended
    await resources.close(CLOSING)
    await hooks.stop(handlers.hooks, CLOSING)
    if error is None:
        try:
            encode(value, limits=limits, what="result")
        except EncodingError as unencodable:
            error = unencodable
    return Reproduced(value, error)
