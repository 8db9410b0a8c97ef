"""Share round trips between enqueues: jobs that come during a round trip are sent together in the next one.

A job that comes while no round trip of its lane is in flight is sent at once, in the caller's own task. This is group
commit (D. DeWitt et al., SIGMOD 1984) on the producer's side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from jobfleet.errors import JobfleetError
from jobfleet.operations.durability import note, uncertain
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, Confirming
from jobfleet.store.calls.enqueue import CHUNK, enqueue, parted
from jobfleet.store.keys import Lane
from jobfleet.store.records import Answer, Entry

MOST_CHUNKS = 20
Part = Sequence[tuple[Entry, asyncio.Future[Answer]]]


class EnqueueBatcher:
    """Enqueues jobs into one lane.

    Args:
        lane: The lane.
        store: The store that sends the calls.
    """

    def __init__(self, lane: Lane, store: AsyncStore) -> None:
        self._lane = lane
        self._store = store
        self._waiting: list[tuple[Entry, asyncio.Future[Answer]]] = []
        self._is_flying = False
        self._task: asyncio.Task[None] | None = None

    async def enqueue(self, entry: Entry) -> Answer:
        """Enqueue one job; return whether it is new, or the job that holds its unique key.

        Raises:
            FleetFull: Redis has no memory left.
            StoreUnavailable: Redis did not answer within `patience` seconds.
        """
        if self._is_flying:
            future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
            self._waiting.append((entry, future))
            return await future
        self._is_flying = True
        try:
            answers = await self._run(entry)
        finally:
            self._landed()
        return answers[0]

    async def _run(self, entry: Entry) -> list[Answer]:
        return await self._store.run(enqueue(self._lane, (entry,)))

    async def _run_many(self, parts: Sequence[Part]) -> list[list[Answer] | JobfleetError]:
        return await self._store.run_many([_call(self._lane, part) for part in parts])

    def _landed(self) -> None:
        self._waiting = [(entry, future) for entry, future in self._waiting if not future.done()]
        if self._waiting:
            self._task = asyncio.get_running_loop().create_task(self._send_waiting())
            self._task.add_done_callback(self._broke_off)
        else:
            self._is_flying = False

    def _broke_off(self, task: asyncio.Task[None]) -> None:
        """Start another sender if the last one was cancelled or failed; otherwise every later enqueue would wait."""
        if task.cancelled() or task.exception() is not None:
            self._landed()

    async def _send_waiting(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[: CHUNK * MOST_CHUNKS], self._waiting[CHUNK * MOST_CHUNKS :]
            parts = list(parted(batch, lambda one: one[0]))
            try:
                answers = await self._run_many(parts)
            except Exception as error:  # noqa: BLE001 - each caller receives it, whatever it is
                _fail(batch, error)
                continue
            except BaseException:  # the loop ends, and no caller may wait for ever
                _fail(batch, asyncio.CancelledError())
                raise
            for part, answer in zip(parts, answers, strict=True):
                _deliver(part, answer)
        self._is_flying = False  # without an await since the last check of `_waiting`

    async def drained(self) -> None:
        """Wait until the jobs that were gathered are sent and answered."""
        if self._task is not None:
            await asyncio.wait((self._task,))


class DurableBatcher(EnqueueBatcher):
    """Enqueues jobs of one durability into one lane; the jobs of a round trip share its confirmation.

    Args:
        lane: The lane.
        store: The store that sends the calls.
        context: The context of the fleet.
        level: The durability.
    """

    def __init__(self, lane: Lane, store: AsyncStore, context: FleetContext, level: str) -> None:
        super().__init__(lane, store)
        self._context = context
        self._level = level

    async def _run(self, entry: Entry) -> list[Answer]:
        answers, is_reached = await self._confirmed([enqueue(self._lane, (entry,))])
        if isinstance(answers[0], JobfleetError):
            raise answers[0]
        if not is_reached:
            raise uncertain(self._context, self._level, entry.id)
        return answers[0]

    async def _run_many(self, parts: Sequence[Part]) -> list[list[Answer] | JobfleetError]:
        answers, is_reached = await self._confirmed([_call(self._lane, part) for part in parts])
        if not is_reached:
            for part, answer in zip(parts, answers, strict=True):
                if not isinstance(answer, JobfleetError):
                    _fail_each(part, lambda entry: uncertain(self._context, self._level, entry.id))
        return answers

    async def _confirmed(self, calls: Sequence[Call[list[Answer]]]) -> tuple[list[list[Answer] | JobfleetError], bool]:
        batch = Confirming(calls, self._context.barrier(self._lane, (self._level,)))
        answers = await self._store.run_many(batch)
        note(self._context, (self._level,), is_reached=batch.is_reached, took=batch.took)
        return answers, batch.is_reached


def _call(lane: Lane, part: Part) -> Call[list[Answer]]:
    return enqueue(lane, [entry for entry, _ in part])


def _fail_each(batch: Part, error_of: Callable[[Entry], BaseException]) -> None:
    for entry, future in batch:
        if not future.done():
            future.set_exception(error_of(entry))


def _fail(batch: list[tuple[Entry, asyncio.Future[Answer]]], error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


def _deliver(part: Part, answer: list[Answer] | JobfleetError) -> None:
    for number, (_, future) in enumerate(part):
        if future.done():
            continue
        if isinstance(answer, JobfleetError):
            future.set_exception(answer)
        else:
            future.set_result(answer[number])
