"""`Fleet`: the client that blocks, and a worker in the calling process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from jobfleet.client._sync.client import Client

if TYPE_CHECKING:
    from jobfleet.fleet.aio import AsyncFleet


class Fleet(Client):
    """A fleet, for programs that block. Connects on first use; safe for threads and after a fork.

    Args:
        url: Where Redis is; default from settings (``JOBFLEET_URL``, jobfleet.toml).
        namespace: What separates fleets that share a Redis.
        registry: The functions this process knows; default the one that ``@job`` fills.
        settings: Any other setting by name; see the reference of settings.

    Raises:
        ConfigError: A setting is wrong.
    """

    _async_fleets: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncFleet] | None = None

    def run_worker(self, **options: Any) -> None:
        """Run a worker inside this process, for scripts, notebooks and tests.

        A thread has the supervisor's part, so a job that holds the GIL for long may lose its lease here: use
        ``jobfleet worker`` for anything that matters.

        Args:
            options: ``queues``, ``slots``, ``burst`` (return when nothing is left to do), ``stop`` (an event
                that ends it), ``with_reaper`` (do the reaper's duties too: recurring jobs, flows, retention),
                ``allow_undecorated`` (run public functions of ``__main__`` that are not registered; by default as
                the setting says).
        """
        from jobfleet.worker.in_process import run_worker  # a producer does not load the worker

        run_worker(self, **options)

    def for_running_loop(self) -> AsyncFleet:
        """This fleet for the event loop that runs; made once a loop."""
        from jobfleet.fleet.aio import AsyncFleet  # for those who await

        loop = asyncio.get_running_loop()
        if self._async_fleets is None:
            self._async_fleets = WeakKeyDictionary()
        made = self._async_fleets.get(loop)
        if made is None:
            made = self._async_fleets[loop] = AsyncFleet.sharing(self)
        return made
