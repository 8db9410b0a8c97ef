"""A worker's heartbeat: it reports that the worker is alive, and returns the lanes of the worker's queues.

Redis may lose its data while workers run, by a restart without persistence, a flush, or a failover to an empty
replica. Therefore each account has the number of times that the worker has published its functions. The reply to a
beat contains the previous account. If that account is missing, or older than the last acknowledged one, Redis has lost
its data, and the worker publishes its functions and queues again at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import msgpack

from jobfleet.clock import wall_us
from jobfleet.codec import decode, encode
from jobfleet.config import JobConfig, processors
from jobfleet.errors import EncodingError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.calls.presence import beat, know, leave, report_runs
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Known, Present
from jobfleet.version import VERSION
from jobfleet.worker.ipc.protocol import Kind
from jobfleet.worker.ipc.usage import Meter, Process, own_usage, total

log = logging.getLogger("jobfleet.worker")
NEVER = -1

if TYPE_CHECKING:
    from jobfleet.worker.supervisor.payload_probe import PayloadProbe


class Heartbeat:
    """Sends the heartbeats of a worker.

    Args:
        store: The connection to Redis.
        keys: The fleet's keys.
        config: The settings; `gone_after` defines when a silent worker counts as gone.
        worker: The worker's id.
        on_forgotten: Called after the worker has published again what Redis had lost.
        runs: The counts of the worker's runs; they are sent after a beat if they have changed.
    """

    def __init__(
        self,
        store: AsyncStore,
        keys: Keyspace,
        config: JobConfig,
        worker: str,
        *,
        on_forgotten: Callable[[], None] = lambda: None,
        runs: RunTotals | None = None,
    ) -> None:
        self._store = store
        self._on_forgotten = on_forgotten
        self._runs = runs
        self._first_report = 0
        self._label = config.version_label or ""
        self._chaos = config.chaos
        self._keys = keys
        self._gone_us = round(config.gone_after * 1e6)
        self._worker = worker
        self._started = wall_us()
        self._joined = 0  # Redis's time of the first beat, known from the second on: it decides `@startup`
        self._cpus = processors()
        self._meter = Meter()
        self._functions: dict[str, bytes] = {}
        self._unpublished: dict[str, bytes] = {}
        self._unrestored: dict[str, tuple[int, int]] = {}
        self._times_published = 0
        self._times_confirmed = NEVER
        self._sending = asyncio.Lock()  # an older account that arrives after a newer one would look like lost data
        self.workers = 1
        """The number of workers in the fleet."""
        self.queues: Mapping[str, tuple[int, int]] = {}
        """Numbers of home lanes and of lanes of the queues that this worker serves."""
        self._kinds: frozenset[str] = frozenset()
        self._sent: set[str] = set()
        self._begun_kinds: set[str] = set()  # begun to send: the request of a cancelled beat may have arrived
        self._probe = _probe_of(config, store, keys)

    async def open(self, queues: Iterable[str], config: JobConfig) -> None:
        """Open queues before a heartbeat names them: a producer without the setting `lanes` would give them one lane.

        Errors are ignored here: the children open their queues, too, and report them.
        """
        lanes, most = config.lanes, config.max_queues
        await self._store.run_many([open_queue(self._keys, name, lanes.get(name, 1), most=most) for name in queues])

    def publish(self, functions: Mapping[str, bytes]) -> None:
        """Publish functions with the next beat."""
        self._functions.update(functions)
        self._unpublished.update(functions)
        self._times_published += 1

    async def beat(
        self,
        *,
        queues: Sequence[str],
        slots: int,
        running: int,
        children: int,
        state: str,
        processes: Iterable[Process],
        **more: object,
    ) -> None:
        """Send a heartbeat with an account of the worker.

        Args:
            queues: The queues that it serves.
            slots: Maximum number of concurrent jobs.
            running: Number of running jobs.
            children: Number of claiming children.
            state: running, quiet or stopping.
            processes: The children; of a worker inside a program, the program itself.
            more: ``state_by``, ``leaving``, ``hung``, ``obeyed``, ``undecorated``; see `WorkerInfo`.
        """
        async with self._sending:
            account = {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "cpus": self._cpus,
                "started": self._started,
                "joined": self._joined,
                "version": VERSION,
                "label": self._label,
                "clock": wall_us(),
                "queues": list(queues),
                "slots": slots,
                "running": running,
                "children": children,
                "state": state,
                **({"payloads": self._probe.look()} if self._probe else {}),
                "chaos": self._chaos,
                **self._loads(list(processes)),
                **more,
            }
            expected = self._times_confirmed
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
                self._on_forgotten()
        self._joined = self._joined or present.now
        self.workers = present.workers
        self.queues = present.queues
        await self._report()

    def _loads(self, processes: Sequence[Process]) -> dict[str, object]:
        """Describe the processes, and what they use with this one together."""
        pid = os.getpid()
        usages = {one.child: one.usage for one in processes if one.pid != pid}
        loads = self._meter.loads({self._worker: own_usage(), **usages})
        memory, cpu = total(loads)
        used = [loads.get(one.child, loads[self._worker]) for one in processes]
        rows = [
            (one.child, one.pid, one.state, one.running, one.slots, *load, one.hung_for)
            for one, load in zip(processes, used, strict=True)
        ]
        return {"memory": memory, "cpu": cpu, "processes": rows}

    async def _report(self, *, patience: float | None = -1.0) -> None:
        """Send the counts of the worker's runs, if they have changed."""
        report = self._runs.news(self._first_report) if self._runs is not None else None
        if self._runs is None or report is None:
            return
        self._runs.sent()  # before the call, because there may be more during it
        try:
            now = await self._store.run(report_runs(self._keys, self._worker, report), patience=patience)
        except BaseException:
            self._runs.sent(is_sent=False)
            raise
        self._first_report = self._first_report or now

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
        """Publish the kinds of the children; return the ids of all kinds of live workers."""
        for kind in kinds:
            self._begun_kinds.add(kind.id)
            functions = None if kind.id in self._sent else kind.functions
            known = await self._know(kind.id, functions)
            if known.mended:
                log.warning(
                    "worker.mended keys=%d did not hold kinds of workers: they were deleted, and are published again",
                    known.mended,
                )
            if known.is_new:  # Redis has lost the kind
                known = await self._know(kind.id, kind.functions)
            self._sent.add(kind.id)
            self._kinds = known.kinds
        return sorted(self._kinds)

    async def _know(self, kind: str, functions: Mapping[str, str] | None) -> Known:
        return await self._store.run(know(self._keys, self._worker, kind, gone_us=self._gone_us, functions=functions))

    async def leave(self) -> None:
        """Remove the worker from the fleet, with little patience; before, send the counts of its last runs."""
        await self._report(patience=1.0)
        await self._store.run(leave(self._keys, self._worker, sorted(self._begun_kinds)), patience=1.0)


def _times_published(account: bytes) -> int:
    """Read from an account how often the worker had published functions; `NEVER` if it cannot be read."""
    try:
        fields = decode(account) if account else None
    except EncodingError:
        return NEVER
    times = fields.get("published") if isinstance(fields, dict) else None
    return times if isinstance(times, int) else NEVER


def _probe_of(config: JobConfig, store: AsyncStore, keys: Keyspace) -> PayloadProbe | None:
    if not config.payload_store:
        return None
    from jobfleet.worker.supervisor.payload_probe import PayloadProbe  # few fleets have a payload store

    return PayloadProbe(config, store, keys)


MOST_ROWS = 500
"""Pairs of a queue and a function; further functions of a queue are counted together, and so are further queues."""
OTHER = "other"


class Source(Protocol):
    """Counts runs."""

    def take(self) -> Iterable[Sequence[Any]]:
        """Return what is new since the last call: rows of queue, function and a point."""


class RunTotals:
    """The counts of a worker since its start: the sum of what its children report.

    Args:
        source: What it asks for new rows; None if `add` is called with them.
    """

    def __init__(self, source: Source | None = None) -> None:
        self._source = source
        self._rows: dict[tuple[str, str], dict[int, Any]] = {}
        self._is_new = False

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add rows of queue, function and a point. What cannot be read is left out."""
        for row in rows:
            match row:
                case [str(queue), str(function), dict(more)]:
                    self._add((queue, function), more)
                case _:
                    pass

    def _add(self, name: tuple[str, str], more: dict[int, Any]) -> None:
        if name not in self._rows and len(self._rows) >= MOST_ROWS:
            name = (name[0], OTHER) if len(self._rows) < 2 * MOST_ROWS else (OTHER, OTHER)
        row = self._rows.setdefault(name, {})
        for field, value in more.items():
            if isinstance(value, dict):
                spread = row.setdefault(field, {})
                for bucket, count in value.items():
                    spread[bucket] = spread.get(bucket, 0) + count
            else:
                row[field] = row.get(field, 0) + value
        self._is_new = True

    def news(self, first: int) -> bytes | None:
        """Return the encoded report if it has changed since the last one was `sent`, else None.

        Args:
            first: See `Report.first`.
        """
        if self._source is not None:
            self.add(self._source.take())
        if not self._is_new:
            return None
        encoded: bytes = msgpack.packb([first, [[*name, row] for name, row in self._rows.items()]])
        return encoded

    def sent(self, *, is_sent: bool = True) -> None:
        """Note that the last report has arrived, or that it has not."""
        self._is_new = not is_sent
