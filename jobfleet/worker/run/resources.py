"""Resources of functions, which live as long as a process or a run: opened on first use, closed in reverse order."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Iterable
from contextvars import Context, copy_context
from math import inf
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.event_loop import in_thread
from jobfleet.functions.injection import NOTHING, Factory, Resource, needs_of, overridden
from jobfleet.retry.decision import describe

CLOSING = 3.0
"""Seconds that the resources of a child may take to close."""

LEAST = 0.1
"""The least time in seconds that each resource has to close."""

log = logging.getLogger("jobfleet.worker")


class Resources:
    """The resources of one process, on its event loop.

    Each resource has its own task, which opens and closes it, because libraries with cancel scopes require that.
    """

    def __init__(self) -> None:
        self._lives: dict[Factory, Life] = {}

    async def open(self, resource: Resource) -> Any:
        """The instance of a resource. It is opened on first use. A cancelled caller does not affect other callers.

        Raises:
            Exception: The error of the factory. The next call tries again.
        """
        override = overridden(resource)
        if override is not NOTHING:
            return override
        needed = await self.open_all(needs_of(resource))  # opened before, so that they are closed after it
        life = self._lives.get(resource.factory)
        if life is None or life.has_failed:
            self._lives.pop(resource.factory, None)  # the resource that was opened last has to be the last item
            life = self._lives[resource.factory] = Life(resource, needed)
        return await asyncio.shield(life.opened)

    async def open_all(self, wanted: Iterable[tuple[str, Resource]]) -> dict[str, Any]:
        """The resources of some parameters, by the names of the parameters."""
        return {name: await self.open(resource) for name, resource in wanted}

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The tasks of the resources. They must not be cancelled when the leftovers of a job are cleaned up."""
        return {life.task for life in self._lives.values()}

    async def close(self, timeout: float) -> None:
        """Close all open resources, the last one first. Errors and time-outs are logged.

        Args:
            timeout: Seconds for all of them together.
        """
        deadline = monotonic() + timeout
        for life in reversed(list(self._lives.values())):
            life.over.set()
            done, _ = await asyncio.wait((life.task,), timeout=max(LEAST, deadline - monotonic()))
            if not done:
                log.error("resource.unclosed factory=%s it took too long", life.name)
                life.task.cancel()
        self._lives.clear()


class Life:
    """One resource from its opening to its end.

    Args:
        resource: The resource.
        needed: The resources that its factory needs, by the names of its parameters.
        context: Where its code runs; an empty context by default.

    Attributes:
        name: The name of its factory.
        opened: Its object.
        over: Set to close it.
        error: What the run has raised, for a resource of a run.
        failure: What was raised while it was closed.
        task: Opens and closes it.
    """

    def __init__(self, resource: Resource, needed: dict[str, Any], context: Context | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.name = resource.name
        self.opened: asyncio.Future[Any] = loop.create_future()
        self.over = asyncio.Event()
        self.error: BaseException | None = None
        self.failure: Exception | None = None
        # In its own context: what it logs later does not belong to the first job that used it.
        self.task = loop.create_task(self._live(resource.factory, needed), context=context or Context())

    @property
    def has_failed(self) -> bool:
        """Whether it could not be opened."""
        return self.opened.done() and (self.opened.cancelled() or self.opened.exception() is not None)

    async def _live(self, factory: Factory, needed: dict[str, Any]) -> None:
        try:
            made = await _call(factory, needed)
            value = await _enter(made)
        except BaseException as error:  # noqa: BLE001 - the error is passed to the job
            if not self.opened.done():
                self.opened.set_exception(error if isinstance(error, Exception) else _as_error(error, self.name))
                self.opened.exception()  # marked as seen, even if all callers were cancelled
            return
        self.opened.set_result(value)
        await self.over.wait()
        try:
            await _leave(made, self.error)
        except Exception as error:  # noqa: BLE001 - the user's code may raise anything
            self.failure = error
            log.error("resource.unclosed factory=%s %s", self.name, describe(error))
        else:
            log.debug("resource.closed factory=%s", self.name)


def _as_error(error: BaseException, name: str) -> Exception:
    return RuntimeError(f"opening {name} was given up: {describe(error)}")


def _is_async(factory: Factory) -> bool:
    """Whether a factory is called on the event loop, because it needs one and does not block."""
    inner = inspect.unwrap(factory)
    return (
        inspect.iscoroutinefunction(inner)
        or inspect.isasyncgenfunction(inner)
        or (inspect.isclass(factory) and hasattr(factory, "__aenter__"))
    )


async def _call(factory: Factory, needed: dict[str, Any]) -> Any:
    made = factory(**needed) if _is_async(factory) else await in_thread(factory, **needed)
    if inspect.isawaitable(made) and not hasattr(made, "__aenter__"):
        made = await made
    return made


async def _enter(made: Any) -> Any:
    if hasattr(made, "__aenter__"):
        return await made.__aenter__()
    if hasattr(made, "__enter__"):
        return await in_thread(made.__enter__)
    return made


async def _leave(made: Any, error: BaseException | None) -> None:
    """Close a context manager. It learns of an error of the run, which it cannot suppress."""
    details = (None, None, None) if error is None else (type(error), error, error.__traceback__)
    try:
        if hasattr(made, "__aexit__"):
            await made.__aexit__(*details)
        elif hasattr(made, "__exit__"):
            await in_thread(made.__exit__, *details)
    except BaseException as raised:
        if raised is not error:
            raise


class RunResources:
    """The resources of one run, and those of its process that it needs.

    Args:
        process: The resources of the process.
    """

    def __init__(self, process: Resources) -> None:
        self._process = process
        self._lives: dict[Factory, Life] = {}

    @property
    def tasks(self) -> set[asyncio.Task[None]]:
        """The tasks of the resources. They must not be cancelled when the leftovers of a job are cleaned up."""
        return {life.task for life in self._lives.values()}

    async def open_all(self, wanted: Iterable[tuple[str, Resource]]) -> dict[str, Any]:
        """The resources of some parameters, by the names of the parameters.

        Raises:
            Exception: The error of a factory.
        """
        return {name: await self._open(resource) for name, resource in wanted}

    async def _open(self, resource: Resource) -> Any:
        if resource.scope == "process":
            return await self._process.open(resource)
        override = overridden(resource)
        if override is not NOTHING:
            return override
        life = self._lives.get(resource.factory)
        if life is None:
            needed = await self.open_all(needs_of(resource))
            life = self._lives[resource.factory] = Life(resource, needed, copy_context())
        return await asyncio.shield(life.opened)

    async def close(self, error: BaseException | None) -> None:
        """Close all of them, the last one first, also if this is cancelled meanwhile.

        A commit may take as long as the limits of the run allow. Once the run is to stop, they have 3 seconds together.

        Args:
            error: What the run has raised; each of them learns of it.

        Raises:
            Exception: A resource has raised it while it was closed, and the run has raised nothing.
        """
        deadline = inf if error is None or not _is_stop(error) else monotonic() + CLOSING
        failure: Exception | None = None
        for life in reversed(self._lives.values()):
            life.error = error or failure
            life.over.set()
            while not life.task.done():
                left = None if deadline == inf else deadline - monotonic()
                if left is not None and left <= 0:
                    life.task.cancel()
                    left = None
                try:
                    await asyncio.wait((life.task,), timeout=left)
                except asyncio.CancelledError:
                    deadline = min(deadline, monotonic() + CLOSING)
            failure = failure or life.failure
        if error is None and failure is not None:
            raise failure


def _is_stop(error: BaseException) -> bool:
    return isinstance(error, asyncio.CancelledError)
