"""Group commit of endings: what has gathered while one trip was under way goes in the next.

An idle lane sends a job's end at once; a busy one sends hundreds in a trip. One trip at a time is in
flight a lane, and a repeated one carries the same nonce, so that nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jobfleet.errors import JobfleetError, ScriptContractError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.progress import Report, progress
from jobfleet.store.calls.settle import CHUNK, Item, settle
from jobfleet.store.keys import Lane
from jobfleet.worker.run.run import Run

log = logging.getLogger("jobfleet.worker")
MOST_CHUNKS = 10


class Completer:
    """Settles the runs of one lane.

    Args:
        lane: Which.
        child: Who ran them.
        store: How; it must have endless patience, an outage must not lose an end.
        progress_ttl_ms: How long a last report is kept.
        on_settled: Is told of each run and the letter it was answered.
        on_watched: Is told that other jobs wait for one that has ended.
    """

    def __init__(
        self,
        lane: Lane,
        child: str,
        store: AsyncStore,
        *,
        progress_ttl_ms: int,
        on_settled: Callable[[Run, str], None],
        on_watched: Callable[[Lane], None],
    ) -> None:
        self._lane = lane
        self._child = child
        self._store = store
        self._ttl_ms = progress_ttl_ms
        self._on_settled = on_settled
        self._on_watched = on_watched
        self._loop = asyncio.get_running_loop()
        self._nonce = 0
        self._items: list[Item] = []
        self._runs: list[Run] = []
        self._reports: list[Report] = []
        self._ahead: list[Call[Any]] = []
        self._notes: list[Call[Any]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, run: Run, item: Item, report: Report | None = None, ahead: Sequence[Call[Any]] = ()) -> None:
        """Hand over a run's end, and calls that must come before it in the same trip."""
        self._items.append(item)
        self._runs.append(run)
        if report is not None:
            self._reports.append(report)
        if ahead:
            self._ahead.extend(ahead)
        if self._task is None:
            self._task = self._loop.create_task(self._send())

    def note(self, call: Call[Any]) -> None:
        """Hand over what is to be written of a run before its end."""
        self._notes.append(call)
        if self._task is None:
            self._task = self._loop.create_task(self._send())

    async def _send(self) -> None:
        try:
            while self._items or self._notes:
                await self._trip()
        finally:
            self._task = None

    async def _trip(self) -> None:
        most = CHUNK * MOST_CHUNKS
        items, self._items = self._items[:most], self._items[most:]
        runs, self._runs = self._runs[:most], self._runs[most:]
        reports, self._reports = self._reports, []
        self._nonce += 1
        calls: list[Any] = [*self._notes, *self._ahead]
        self._notes, self._ahead = [], []
        calls += [
            progress(self._lane, reports[at : at + CHUNK], ttl_ms=self._ttl_ms) for at in range(0, len(reports), CHUNK)
        ]
        first = len(calls)
        for number, at in enumerate(range(0, len(items), CHUNK), start=1):
            calls.append(settle(self._lane, items[at : at + CHUNK], child=self._child, nonce=self._nonce, chunk=number))
        try:
            answers = await self._store.run_many(calls)
        except Exception:  # it must hold up neither these jobs' slots nor the ends that have gathered meanwhile
            log.exception("worker.unsent lane=%s jobs=%d their leases run out", self._lane.tag, len(runs))
            answers = [ScriptContractError("the trip of these endings failed")] * len(calls)
        at = 0
        if any(answer.watched for answer in answers[first:] if not isinstance(answer, JobfleetError)):
            self._on_watched(self._lane)
        for answer in answers[first:]:
            part = runs[at : at + CHUNK]
            at += CHUNK
            letters = "?" * len(part) if isinstance(answer, JobfleetError) or answer.is_stale else answer.letters
            for run, letter in zip(part, letters, strict=True):
                self._on_settled(run, letter)

    async def drained(self, timeout: float) -> bool:
        """Wait until nothing is left to send; False when `timeout` seconds were not enough: Redis is away."""
        if self._task is None:
            return True
        _, left = await asyncio.wait((self._task,), timeout=timeout)
        for task in left:
            task.cancel()
        return not left


class Completers(dict[Lane, Completer]):
    """The finishers of a child, by lane, each made when it is first asked for.

    Args:
        child: Who runs the jobs.
        store: How; with endless patience.
        progress_ttl_ms: How long a last report is kept.
        on_settled: Is told of each run and the letter it was answered.
        on_watched: Is told of a lane where other jobs wait for one that has ended.
    """

    def __init__(
        self,
        child: str,
        store: AsyncStore,
        *,
        progress_ttl_ms: int,
        on_settled: Callable[[Run, str], None],
        on_watched: Callable[[Lane], None],
    ) -> None:
        super().__init__()
        self._make = partial(
            Completer,
            child=child,
            store=store,
            progress_ttl_ms=progress_ttl_ms,
            on_settled=on_settled,
            on_watched=on_watched,
        )

    def __missing__(self, lane: Lane) -> Completer:
        made = self[lane] = self._make(lane)
        return made

    async def drained(self, timeout: float) -> None:
        """Wait until nothing is left to send; so many seconds at most a lane."""
        for completer in list(self.values()):
            if not await completer.drained(timeout):
                log.error("worker.unsent Redis is away: what it was not told is settled when the leases run out")
