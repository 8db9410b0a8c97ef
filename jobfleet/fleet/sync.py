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
        url: The URL of Redis; default from settings (``JOBFLEET_URL``, jobfleet.toml).
        namespace: The prefix that separates fleets that share a Redis.
        registry: The functions that this process knows; default the one that ``@job`` fills.
        settings: Any other setting by name; see the reference of settings.

    Raises:
        ConfigError: A setting is wrong.
    """

    _async_fleets: WeakKeyDictionary[asyncio.AbstractEventLoop, AsyncFleet] | None = None

    def run_worker(self, **options: Any) -> None:
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
        """This fleet as an `AsyncFleet` for the running event loop; one per loop."""
        from jobfleet.fleet.aio import AsyncFleet  # for those who await

        loop = asyncio.get_running_loop()
        if self._async_fleets is None:
            self._async_fleets = WeakKeyDictionary()
        made = self._async_fleets.get(loop)
        if made is None:
            made = self._async_fleets[loop] = AsyncFleet.sharing(self)
        return made
