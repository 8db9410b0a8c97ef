"""Calls functions behind hooks and middleware, with the resources that they ask for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextvars import copy_context
from dataclasses import replace
from functools import partial
from typing import Any

from jobfleet.clock import to_seconds
from jobfleet.errors import JobCancelled
from jobfleet.functions.context import JobContext
from jobfleet.functions.hooks import Hook, Hooks, Middleware
from jobfleet.outcome import Outcome, Raised, TimedOut
from jobfleet.retry.decision import Decision, Fail, Retry, describe
from jobfleet.worker.run.context import context_of, inject
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.hooks import called
from jobfleet.worker.run.interfaces import Executor, OnEnd
from jobfleet.worker.run.resources import Resources, RunResources
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
HOOK_LIMIT = 30.0
"""Seconds that the hooks after a run may take together. After that the run is settled without them."""


class MiddlewareChain:
    """Runs functions behind hooks, middleware and resources.

    Args:
        hooks: The hooks of the fleet.
        middleware: The middleware around the hooks, the outermost first.
        executors: Where functions run, by `Handler.where`.
        resources: The resources of the process.

    Attributes:
        is_empty: Whether there are no hooks and no middleware.
        has_endings: Whether there are hooks after a run.
        tracer: What makes the spans of runs; None for no spans.
    """

    def __init__(
        self,
        hooks: Hooks,
        middleware: tuple[Middleware, ...],
        executors: Mapping[str, Executor],
        resources: Resources,
    ) -> None:
        self._hooks = hooks
        self._middleware = middleware
        self._executors = executors
        self._resources = resources
        self.hooks_changed()
        hooks.watchers.add(self)

    def hooks_changed(self) -> None:
        """Read the hooks. Any thread may call this."""
        hooks = self._hooks
        self._before = tuple(hooks.of_runs.before)
        self._after = tuple(hooks.of_runs.after)
        self._on_retry = tuple(hooks.of_runs.on_retry)
        self._on_failure = tuple(hooks.of_runs.on_failure)
        self._around = tuple(hooks.of_runs.around)
        self.has_endings = bool(self._after or self._on_retry or self._on_failure)
        self.is_empty = hooks.is_empty and not self._middleware
        self.tracer = hooks.tracer

    def calls_at_once(self, handler: Handler) -> bool:
        """Whether nothing has to be called before a function."""
        return self.is_empty and (not handler.function.injection.resources or handler.where == "process")

    def launch(
        self, run: Run, handler: Handler, child: str, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd
    ) -> None:
        """Call a run's function where it runs, behind its hooks and middleware."""
        injection = handler.function.injection
        is_bare = self.calls_at_once(handler)
        if not is_bare or (not injection.is_none and handler.where != "process"):
            context = context_of(run, child, args, kwargs)
            if is_bare:
                args, kwargs = inject(injection, context, args, kwargs)
            elif self.has_endings:
                run.context = context
        run.executor = self._executors[handler.where if is_bare else "async"]
        if is_bare:
            run.executor.start(run, handler, args, kwargs, on_end)
        else:
            call = partial(self.call, run, handler, context)
            run.executor.start(run, replace(handler, call=call), [args, kwargs], {}, on_end)

    async def call(
        self, run: Run, handler: Handler, context: JobContext, args: list[Any], kwargs: dict[str, Any]
    ) -> Any:
        """Call the hooks before the run, open the resources, and call the function behind the middleware."""
        loop_executor = self._executors["async"]  # outside the function itself, a stop cancels this task
        injection = handler.function.injection

        async def core() -> Any:
            for hook in self._for(run, self._before):
                await called(hook.call, context)
            if handler.where == "process":  # it opens its own resources
                return await started(args, kwargs)
            if not injection.has_run_scope:
                resources = await self._resources.open_all(injection.resources)
                return await started(*inject(injection, context, args, kwargs, resources))
            own = RunResources(self._resources)
            try:
                resources = await own.open_all(injection.resources)
                value = await started(*inject(injection, context, args, kwargs, resources))
            except BaseException as error:
                await own.close(error)
                raise
            await own.close(None)
            return value

        async def started(*arguments: Any) -> Any:
            if run.is_late:  # hooks may take long
                await run.before_late_call()
            if run.passage is not None and handler.where != "batch":
                await run.passage.before_call()
            if run.stop.interruption is not None:
                raise JobCancelled(f"{run.id} is to stop: {run.must_stop}.", job_id=run.id)
            run.executor = self._executors[handler.where]
            try:
                return await self._function(run, handler, *arguments)
            finally:
                run.executor = loop_executor

        call: Callable[[], Awaitable[Any]] = core
        for hook in reversed(self._for(run, self._around)):
            call = partial(hook.call, context, call)
        for middleware in reversed(self._middleware):
            call = partial(middleware, context, call)
        return await call()

    async def _function(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any]) -> Any:
        if handler.where == "async":
            return await handler.call(*args, **kwargs)
        if handler.where == "thread":  # context variables that middleware has set reach the thread
            handler = replace(handler, call=partial(copy_context().run, handler.call))
        future = asyncio.get_running_loop().create_future()
        self._executors[handler.where].start(run, handler, args, kwargs, partial(_resolve, future))
        try:
            return await future
        finally:
            del future  # it holds the error, and its traceback holds this frame

    async def ended(self, run: Run, outcome: Outcome, decision: Decision) -> None:
        """Call the hooks after a run, once. Their errors change nothing."""
        context, run.context = run.context, None
        if context is None:
            return
        try:
            async with asyncio.timeout(HOOK_LIMIT):
                await self._call_hooks(run, context, outcome, decision)
        except TimeoutError:
            log.error("hook.unfinished job_id=%s the hooks after it took longer than %g s", run.id, HOOK_LIMIT)

    async def _call_hooks(self, run: Run, context: JobContext, outcome: Outcome, decision: Decision) -> None:
        error = _error_of(outcome)
        calls: list[tuple[Hook, tuple[Any, ...]]] = []
        match decision:
            case Retry(delay_us) if error is not None:
                calls += [(hook, (error, to_seconds(delay_us))) for hook in self._for(run, self._on_retry)]
            case Fail() if error is not None:
                calls += [(hook, (error,)) for hook in self._for(run, self._on_failure)]
            case _:
                pass
        calls += [(hook, (outcome,)) for hook in self._for(run, self._after)]
        for hook, arguments in calls:
            try:
                await called(hook.call, context, *arguments)
            except asyncio.CancelledError:
                raise
            except BaseException as raised:  # noqa: BLE001 - the user's hook may raise anything
                name = getattr(hook.call, "__qualname__", repr(hook.call))
                log.error("hook.raised job_id=%s hook=%s %s", run.id, name, describe(raised))

    @staticmethod
    def _for(run: Run, hooks: tuple[Hook, ...]) -> list[Hook]:
        return [hook for hook in hooks if hook.is_for(run.header["function"], run.lane.queue)]


def _error_of(outcome: Outcome) -> BaseException | None:
    match outcome:
        case Raised(error):
            return error
        case TimedOut(limit):
            return TimeoutError(f"timed out after {limit:g} s")
        case _:  # its process died, for any reason
            reason = getattr(outcome, "reason", "")
            return RuntimeError(reason) if reason else None


def _resolve(future: asyncio.Future[Any], value: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(value)
    elif isinstance(error, StopIteration):  # a future refuses it
        future.set_exception(RuntimeError(f"the job raised {describe(error)}"))
    else:
        future.set_exception(error)
