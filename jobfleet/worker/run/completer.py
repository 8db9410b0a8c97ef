"""Group commit of endings: endings that arrive during one trip are sent in the next one.

An idle lane sends an ending at once. A busy lane sends hundreds in one trip. One trip per lane is in flight at a time.
A repeated trip carries the same nonce, so nothing is counted twice.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextvars import Context
from functools import partial
from typing import Any

from jobfleet.errors import JobfleetError, ScriptContractError
from jobfleet.services.confirmations import Confirmations
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, in_order, levels_in
from jobfleet.store.calls.flow import shorten_parents
from jobfleet.store.calls.run import Report, progress
from jobfleet.store.calls.settle import CHUNK, KEEPS, BriefCompletion, Completion, Item, settle, with_kept
from jobfleet.store.keys import Lane
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.writes.job_log import LEAST_MS

log = logging.getLogger("jobfleet.worker")
MOST_CHUNKS = 10


class Completer:
    """Settles the runs of one lane.

    Args:
        lane: The lane.
        child: The child that ran them.
        store: The connection. It must have endless patience: an outage must not lose an ending.
        progress_ttl_ms: How long a last report is kept.
        events: Receives the answers.
        confirmations: Confirms the endings of durable jobs; None if they are not to be confirmed.
    """

    def __init__(
        self,
        lane: Lane,
        child: str,
        store: AsyncStore,
        *,
        progress_ttl_ms: int,
        events: RunEvents,
        confirmations: Confirmations | None = None,
    ) -> None:
        self._lane = lane
        self._child = child
        self._store = store
        self._ttl_ms = progress_ttl_ms
        self._events = events
        self._confirmations = confirmations
        self._loop = asyncio.get_running_loop()
        self._context = Context()  # not that of the job whose ending is the first to be sent
        self._nonce = 0
        self._items: list[Item] = []
        self._runs: list[Run] = []
        self._reports: list[Report] = []
        self._calls_before: list[Call[Any]] = []
        self._notes: list[Call[Any]] = []
        self._task: asyncio.Task[None] | None = None

    def add(self, run: Run, item: Item, report: Report | None = None, ahead: Sequence[Call[Any]] = ()) -> None:
        """Send the ending of a run, after the calls that must come first in the same trip."""
        self._items.append(item)
        self._runs.append(run)
        if report is not None:
            self._reports.append(report)
        if ahead:
            self._calls_before.extend(ahead)
        if self._task is None:
            self._task = self._loop.create_task(self._send(), context=self._context)

    def note(self, call: Call[Any]) -> None:
        """Send a call about a run that has not ended."""
        self._notes.append(call)
        if self._task is None:
            self._task = self._loop.create_task(self._send(), context=self._context)

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
        calls: list[Any] = [*self._notes, *self._calls_before]
        notes = len(self._notes)
        self._notes, self._calls_before = [], []
        calls += [
            progress(self._lane, reports[at : at + CHUNK], ttl_ms=self._ttl_ms) for at in range(0, len(reports), CHUNK)
        ]
        first = len(calls)
        has_more = first > notes
        for number, at in enumerate(range(0, len(items), CHUNK), start=1):
            calls.append(settle(self._lane, items[at : at + CHUNK], child=self._child, nonce=self._nonce, chunk=number))
        if has_more:
            calls[notes:] = in_order(calls[notes:])
        kept = _kept_of_parents(runs, items)
        calls += [shorten_parents(self._lane, kept[at : at + CHUNK]) for at in range(0, len(kept), CHUNK)]
        try:
            levels = levels_in([run.header for run in runs])
            if levels and self._confirmations is not None:
                answers = await self._confirmations.run_many(self._lane, calls, levels, what=_named(runs))
            else:
                answers = await self._store.run_many(calls)
        except Exception:  # it must not block the slots of these jobs, nor later endings
            log.exception("worker.unsent lane=%s jobs=%d their leases run out", self._lane.tag, len(runs))
            answers = [ScriptContractError("the trip of these endings failed")] * len(calls)
        at = 0
        answers = answers[first : first + -(-len(items) // CHUNK)]
        if any(answer.watched for answer in answers if not isinstance(answer, JobfleetError)):
            self._events.dependants_ready(self._lane)
        for answer in answers:
            part: Sequence[Run] = runs[at : at + CHUNK]
            letters = "?" * len(part) if isinstance(answer, JobfleetError) or answer.is_stale else answer.letters
            settled: Sequence[Item] = items[at : at + CHUNK]
            if KEEPS in letters:
                part, settled, letters = self._without_kept(part, settled, letters)
            self._answer(part, settled, letters)
            at += CHUNK

    def _without_kept(
        self, runs: Sequence[Run], items: Sequence[Item], letters: str
    ) -> tuple[Sequence[Run], Sequence[Item], str]:
        """Send again the endings of jobs that keep something of which their runs do not know; return the others."""
        rows = list(zip(runs, items, letters, strict=True))
        for run, item, letter in rows:
            if letter == KEEPS:
                self._items.append(with_kept(item))
                self._runs.append(run)
        others = [row for row in rows if row[2] != KEEPS]
        return [row[0] for row in others], [row[1] for row in others], "".join(row[2] for row in others)

    def _answer(self, runs: Sequence[Run], items: Sequence[Item], letters: str) -> None:
        """Hand out the answers to the endings of a chunk. An error must not cost the other runs of the trip theirs."""
        for run, letter in zip(runs, letters, strict=True):
            try:
                self._events.settled(run, letter)
            except Exception:
                log.exception("job.unanswered job_id=%s letter=%s", run.id, letter, extra={"run": run})
        try:
            self._events.answered(runs, items, letters)
        except Exception:
            log.exception("jobs.uncounted lane=%s jobs=%d", self._lane.tag, len(runs))

    async def drained(self, timeout: float) -> bool:
        """Wait until everything is sent; False if that takes longer than `timeout` seconds, because Redis is away."""
        if self._task is None:
            return True
        _, left = await asyncio.wait((self._task,), timeout=timeout)
        for task in left:
            task.cancel()
        return not left


def _kept_of_parents(runs: Sequence[Run], items: Sequence[Item]) -> list[tuple[str, int]]:
    """The jobs that have completed and have parents, and for how many ms these are kept: as long as the result."""
    return [
        (run.id, max(LEAST_MS, item.value_ttl_ms if isinstance(item, BriefCompletion) else item.ttl_ms))
        for run, item in zip(runs, items, strict=True)
        if "parents" in run.header and isinstance(item, Completion | BriefCompletion)
    ]


def _named(runs: Sequence[Run]) -> str:
    more = f" and {len(runs) - 1:,} more" if len(runs) > 1 else ""
    return f"the ending of {runs[0].id}{more}"


class Completers(dict[Lane, Completer]):
    """The completers of a child by lane, each created on first use.

    Args:
        child: The child that runs the jobs.
        store: The connection, with endless patience.
        progress_ttl_ms: How long a last report is kept.
        events: Receives the answers.
        confirmations: Confirms the endings of durable jobs.
    """

    def __init__(
        self,
        child: str,
        store: AsyncStore,
        *,
        progress_ttl_ms: int,
        events: RunEvents,
        confirmations: Confirmations,
    ) -> None:
        super().__init__()
        self._make = partial(
            Completer,
            child=child,
            store=store,
            progress_ttl_ms=progress_ttl_ms,
            events=events,
            confirmations=confirmations,
        )

    def __missing__(self, lane: Lane) -> Completer:
        made = self[lane] = self._make(lane)
        return made

    async def drained(self, timeout: float) -> None:
        """Wait until everything is sent, for at most `timeout` seconds per lane."""
        for completer in list(self.values()):
            if not await completer.drained(timeout):
                log.error("worker.unsent Redis is away: endings that it did not receive are settled when leases expire")
