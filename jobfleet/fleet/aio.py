"""`AsyncFleet`: the client that awaits, and a worker in the calling process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Unpack

from jobfleet.client._async.client import AsyncClient
from jobfleet.fleet.worker_options import WorkerOptions
from jobfleet.functions.registry import JobDecorator


class AsyncFleet(AsyncClient):
    """A fleet, for programs that await; on one event loop. Connects on first use.

    Args:
        url: The URL of Redis; default from settings (``JOBFLEET_URL``, jobfleet.toml).
        namespace: The prefix that separates fleets that share a Redis.
        registry: The functions that this process knows; default the one that ``@job`` fills.
        settings: Any other setting by name; see the reference of settings.

    Raises:
        ConfigError: A setting is wrong.
    """

    @property
    def job(self) -> JobDecorator:
        """Register a function as a job of this fleet: ``@fleet.job``. `jobfleet.job` has the same options."""
        return JobDecorator(self.context.registry, self)

    async def run_worker(self, **options: Unpack[WorkerOptions]) -> None:
        """Run a worker inside this process, in a thread with an event loop of its own.

        If the call is cancelled, it drains the worker, as setting ``stop`` does, and ends when that is done. A second
        cancellation ends the grace period.

        Args:
            options: As those of `Fleet.run_worker`.
        """
        from jobfleet.worker.in_process import run_worker
        from jobfleet.worker.interruption import Stop  # a producer does not load the worker

        stop = options["stop"] = options.get("stop") or Stop()
        _ = self.store  # made here, for this loop
        work = asyncio.ensure_future(asyncio.to_thread(run_worker, self, **options))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            stop.set()
            try:
                await asyncio.shield(work)
            except asyncio.CancelledError:  # a second Ctrl-C, for instance
                if isinstance(stop, Stop):
                    stop.hurried.set()
                await work
            raise

    def for_running_loop(self) -> AsyncFleet:
        """This client itself: it belongs to its loop."""
        return self


def closing_with_loop(fleet: AsyncFleet) -> AsyncGenerator[None, None]:
    """Have the running loop close a fleet before it ends; keep the result as long as the fleet.

    A loop closes its async generators before it ends: `asyncio.run` has it do so. The result is such a generator, and
    closes the fleet when it is closed.
    """

    async def until_loop_ends() -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await fleet.aclose()

    end = until_loop_ends()
    with suppress(StopIteration):  # it has reached its yield, so the loop knows it
        end.__anext__().send(None)
    return end
