"""Presence: a worker says every few seconds that it lives, and learns how many lanes its queues have.

Redis may lose its data while workers run: it restarts without persistence, somebody flushes it, or an empty replica
takes over. Each account says how often the worker had published functions when it was given. A beat answers the
account before it. If that is missing, or older than the last one that was answered, the data set is another one, and
the worker publishes its functions and queues again at once.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterable, Mapping, Sequence

from jobfleet.clock import wall_us
from jobfleet.codec import decode, encode
from jobfleet.config import JobConfig, processors
from jobfleet.errors import EncodingError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.presence import beat, know, leave
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Known, Present
from jobfleet.version import VERSION
from jobfleet.worker.ipc.kinds import Kind

log = logging.getLogger("jobfleet.worker")
NEVER = -1


class Heartbeat:
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
        self._cpus = processors()
        self._functions: dict[str, bytes] = {}
        self._unpublished: dict[str, bytes] = {}
        self._unrestored: dict[str, tuple[int, int]] = {}
        self._times_published = 0
        self._times_confirmed = NEVER
        self.workers = 1
        """How many workers the fleet has."""
        self.queues: Mapping[str, tuple[int, int]] = {}
        """Home lanes and lanes of the queues that this worker serves."""
        self._kinds: frozenset[str] = frozenset()
        self._told: set[str] = set()

    def publish(self, functions: Mapping[str, bytes]) -> None:
        """Publish functions with the next beat."""
        self._functions.update(functions)
        self._unpublished.update(functions)
        self._times_published += 1

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
        account = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "cpus": self._cpus,
            "started": self._started,
            "version": VERSION,
            "queues": list(queues),
            "slots": slots,
            "running": running,
            "children": children,
            "state": state,
            **more,
        }
        expected = self._times_confirmed  # before the call is sent: another beat may be answered meanwhile
        present = await self._send(account, queues)
        if _times_published(present.before) < expected:
            self._unpublished = {**self._functions, **self._unpublished}
            self._unrestored = {queue: self.queues[queue] for queue in queues if queue in self.queues}
            log.warning(
                "worker.forgotten Redis has lost its data: publishing %d functions and %d queues again",
                len(self._unpublished),
                len(self._unrestored),
            )
            present = await self._send(account, queues)
        self.workers = present.workers
        self.queues = present.queues

    async def _send(self, account: Mapping[str, object], serves: Sequence[str]) -> Present:
        functions, self._unpublished = self._unpublished, {}
        queues, self._unrestored = self._unrestored, {}
        times = self._times_published
        try:
            present = await self._store.run(
                beat(
                    self._keys,
                    self._worker,
                    account=encode({**account, "published": times}),
                    gone_us=self._gone_us,
                    serves=serves,
                    functions=functions,
                    queues=queues,
                )
            )
        except BaseException:
            self._unpublished = {**functions, **self._unpublished}
            self._unrestored = {**queues, **self._unrestored}
            raise
        self._times_confirmed = max(self._times_confirmed, times)
        return present

    async def know(self, kinds: Iterable[Kind]) -> list[str]:
        """Say of which kinds the children are; answer the kinds that live."""
        for kind in kinds:
            functions = None if kind.id in self._told else kind.functions
            known = await self._know(kind.id, functions)
            if known.mended:
                log.warning(
                    "worker.mended keys=%d held no kinds of workers: they were deleted, and are told anew", known.mended
                )
            if known.is_new:  # Redis has lost it
                known = await self._know(kind.id, kind.functions)
            self._told.add(kind.id)
            self._kinds = known.kinds
        return sorted(self._kinds)

    async def _know(self, kind: str, functions: Mapping[str, str] | None) -> Known:
        return await self._store.run(know(self._keys, self._worker, kind, gone_us=self._gone_us, functions=functions))

    async def leave(self) -> None:
        """Say goodbye; nobody waits long for it."""
        await self._store.run(leave(self._keys, self._worker, sorted(self._told)), patience=1.0)


def _times_published(account: bytes) -> int:
    """How often a worker had published functions when it gave an account; `NEVER` where none can be read."""
    try:
        told = decode(account) if account else None
    except EncodingError:
        return NEVER
    times = told.get("published") if isinstance(told, dict) else None
    return times if isinstance(times, int) else NEVER
