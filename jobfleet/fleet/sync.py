"""`Fleet`: the client that blocks, and a worker in the calling process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, NamedTuple, Unpack

from jobfleet.client._sync.client import Client
from jobfleet.fleet.worker_options import WorkerOptions
from jobfleet.functions.registry import JobDecorator

if TYPE_CHECKING:
    from jobfleet.fleet.aio import AsyncFleet


class _OfLoop(NamedTuple):
    """The awaited fleet of an event loop, and the generator that closes it with the loop."""

    fleet: AsyncFleet
    end: AsyncGenerator[None, None]


class Fleet(Client):
    """A fleet, for programs that block. Connects on first use; safe for threads and after a fork.

    Args:
        url: The URL of Redis; default from settings (``JOBFLEET_URL``, jobfleet.toml).
        namespace: The prefix that separates fleets that share a Redis.
        registry: The functions that this process knows; default the one that ``@job`` fills.
        settings: Any other setting by name; see the reference of settings.

    Raises:
        ConfigError: A setting is wrong.
    """

    _of_loops: dict[asyncio.AbstractEventLoop, _OfLoop] | None = None

    @property
    def job(self) -> JobDecorator:
        """Register a function as a job of this fleet: ``@fleet.job``. `jobfleet.job` has the same options."""
        return JobDecorator(self.context.registry, self)

    def run_worker(self, **options: Unpack[WorkerOptions]) -> None:
        """Run a worker inside this process, for scripts, notebooks and tests.

        The supervisor is a thread here, so a job that holds the GIL for long may lose its lease. In production, use
        ``jobfleet worker``.

        Args:
            options: ``queues``, ``slots``, ``burst`` (return when no job is left), ``stop`` (an event that ends
                the worker), ``with_reaper`` (also do the duties of a reaper: recurring jobs, flows, retention),
                ``allow_undecorated`` (also run public functions of ``__main__`` that are not registered; default:
                the setting).
        """
        from jobfleet.worker.in_process import run_worker  # a producer does not load the worker

        run_worker(self, **options)

    def for_running_loop(self) -> AsyncFleet:
        """This fleet as an `AsyncFleet` for the running event loop; one per loop. Its connections end with the loop.

        Raises:
            RuntimeError: No event loop runs in this thread.
        """
        loop = asyncio.get_running_loop()
        known = self._of_loops.get(loop) if self._of_loops is not None else None
        return known.fleet if known is not None else self._made_for(loop)

    def _made_for(self, loop: asyncio.AbstractEventLoop) -> AsyncFleet:
        from jobfleet.fleet.aio import AsyncFleet, closing_with_loop  # for those who await

        made = AsyncFleet.sharing(self)
        kept = _OfLoop(made, closing_with_loop(made))
        with self._opening:
            known = self._of_loops or {}
            # A new dict, because loops of other threads may read this one now. A closed loop is not kept.
            self._of_loops = {**{one: of for one, of in known.items() if not one.is_closed()}, loop: kept}
        return made
