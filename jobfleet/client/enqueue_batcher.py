"""Share round trips between enqueues: jobs that come during a round trip are sent together in the next one.

A job that comes while no round trip of its lane is in flight is sent at once, in the caller's own task. This is group
commit (D. DeWitt et al., SIGMOD 1984) on the producer's side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from jobfleet.errors import JobfleetError
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import CHUNK, enqueue, parted
from jobfleet.store.keys import Lane
from jobfleet.store.records import Answer, Entry

MOST_CHUNKS = 20


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
            answers = await self._store.run(enqueue(self._lane, (entry,)))
        finally:
            self._landed()
        return answers[0]

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
                answers = await self._store.run_many(
                    [enqueue(self._lane, [entry for entry, _ in part]) for part in parts]
                )
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


def _fail(batch: list[tuple[Entry, asyncio.Future[Answer]]], error: BaseException) -> None:
    for _, future in batch:
        if not future.done():
            future.set_exception(error)


def _deliver(part: Sequence[tuple[Entry, asyncio.Future[Answer]]], answer: list[Answer] | JobfleetError) -> None:
    for number, (_, future) in enumerate(part):
        if future.done():
            continue
        if isinstance(answer, JobfleetError):
            future.set_exception(answer)
        else:
            future.set_result(answer[number])
