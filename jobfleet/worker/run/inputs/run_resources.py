"""Resources that live as long as one run: opened before its function is called, closed when it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import copy_context
from math import inf
from typing import Any

from jobfleet.clock import monotonic
from jobfleet.functions.injection import NOTHING, Factory, Resource, needs_of, overridden
from jobfleet.worker.run.inputs.resources import CLOSING, Life, Resources


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
