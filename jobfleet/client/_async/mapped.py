"""The values of `map`: one job per item, in the order of the items."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Iterator
from itertools import islice
from typing import TypeVar

from jobfleet.client._async.connection import AsyncConnection
from jobfleet.client._async.endings import AsyncEndings, value_of
from jobfleet.client.base import Deadline
from jobfleet.client.wait_list import Outcome
from jobfleet.errors import warn
from jobfleet.model import Job
from jobfleet.model.option_types import Seconds
from jobfleet.operations.bulk import submit_many
from jobfleet.operations.enqueue_span import enqueue_span
from jobfleet.operations.operation import drive

T = TypeVar("T")


class AsyncMapped(AsyncIterator[T]):
    """The values of `map`; iterating them is what enqueues.

    Args:
        client: The client.
        jobs: Makes the jobs.
        timeout: Time limit in seconds, or a timedelta, from the first value on; None for no limit.
        window: The most jobs that are enqueued and not yet yielded.
        return_exceptions: Whether an error is yielded in the place of its job.

    Raises:
        InvalidJob: `timeout` is not a duration.
    """

    _is_begun = True  # until it is whole: what could not be made warns of nothing
    _endings: AsyncEndings | None = None

    def __init__(
        self,
        client: AsyncConnection,
        jobs: Iterator[Job],
        *,
        timeout: Seconds | None,
        window: int,
        return_exceptions: bool,
    ) -> None:
        Deadline(timeout)
        self._client = client
        self._jobs = jobs
        self._timeout = timeout
        self._window = window
        self._return_exceptions = return_exceptions
        self._order: deque[str | Exception] = deque()
        self._wanted: Counter[str] = Counter()
        self._outcomes: dict[str, Outcome] = {}
        self._is_begun = False

    async def __anext__(self) -> T:
        if self._endings is None:
            self._is_begun = True
            self._endings = AsyncEndings(self._client, Deadline(self._timeout))
        if len(self._order) <= self._window // 2:
            await self._refill(self._endings)
        if not self._order:
            self._endings.close()
            raise StopAsyncIteration
        value: T = value_of(await self._next(self._endings), return_exceptions=self._return_exceptions)
        return value

    async def _next(self, endings: AsyncEndings) -> Outcome:
        """Return the outcome of the next job in order."""
        first = self._order[0]
        if isinstance(first, Exception):
            self._order.popleft()
            return first
        while first not in self._outcomes:
            job_id, outcome = await endings.next()
            self._outcomes[job_id] = outcome
        self._order.popleft()
        self._wanted[first] -= 1
        if self._wanted[first]:  # another item has the same job, because of its unique key
            return self._outcomes[first]
        del self._wanted[first]
        return self._outcomes.pop(first)

    async def _refill(self, endings: AsyncEndings) -> None:
        """Enqueue the jobs of more items."""
        part = list(islice(self._jobs, self._window - len(self._order)))
        if not part:
            return
        with enqueue_span(self._client.context, part) as span:
            receipts = await drive(self._client.store, submit_many(self._client.context, part))
            self._client.counted("enqueued", len(receipts))
            span.answered(receipts)
        fresh: dict[str, None] = {}
        for receipt in receipts:
            self._order.append(receipt.error or receipt.id)
            if receipt.error is None:
                if receipt.id not in self._wanted:
                    fresh[receipt.id] = None
                self._wanted[receipt.id] += 1
        await endings.add(fresh, are_new=True)

    def __del__(self) -> None:
        if not self._is_begun:
            warn("map was not iterated: nothing was enqueued.", RuntimeWarning)
        if self._endings is not None:
            self._endings.close()
