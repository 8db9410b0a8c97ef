"""Presence: a worker says every few seconds that it lives, and learns what queues there are."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence

from jobfleet.clock import wall_us
from jobfleet.codec import encode
from jobfleet.config import JobConfig
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.presence import beat, leave
from jobfleet.store.keys import Keyspace
from jobfleet.version import VERSION


class Presence:
    """A worker's presence.

    Args:
        store: How.
        keys: The fleet's keys.
        config: When a silent worker counts as gone.
        worker: Its id.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace, config: JobConfig, worker: str) -> None:
        self._store = store
        self._keys = keys
        self._gone_us = round(config.gone_after * 1e6)
        self._worker = worker
        self._started = wall_us()
        self._unpublished: dict[str, bytes] = {}
        self.workers = 1
        """How many workers the fleet has."""
        self.queues: Mapping[str, tuple[int, int]] = {}
        """Each queue's home lanes and lanes."""

    def publish(self, functions: Mapping[str, bytes]) -> None:
        """Publish functions with the next beat."""
        self._unpublished.update(functions)

    async def beat(
        self, *, queues: Sequence[str], slots: int, running: int, children: int, state: str, **more: object
    ) -> None:
        """Say what the worker does.

        Args:
            queues: What it serves.
            slots: How many jobs it runs at once.
            running: How many it runs.
            children: How many children claim.
            state: running, quiet or stopping.
            more: ``state_by``, ``leaving``, ``hung``, ``obeyed``, ``undecorated``; see `WorkerInfo`.
        """
        account = encode(
            {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "started": self._started,
                "version": VERSION,
                "queues": list(queues),
                "slots": slots,
                "running": running,
                "children": children,
                "state": state,
                **more,
            }
        )
        functions, self._unpublished = self._unpublished, {}
        try:
            present = await self._store.run(
                beat(self._keys, self._worker, account=account, gone_us=self._gone_us, functions=functions)
            )
        except BaseException:
            self._unpublished = {**functions, **self._unpublished}
            raise
        self.workers = present.workers
        self.queues = present.queues

    async def leave(self) -> None:
        """Say goodbye; nobody waits long for it."""
        await self._store.run(leave(self._keys, self._worker), patience=1.0)
