# Made by scripts/unasync from jobfleet/client/_async/mapped.py. Change that, and run scripts/unasync.
"""The values of `map`: one job per item, in the order of the items."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from itertools import islice
from typing import TypeVar

from jobfleet.client._sync.connection import Connection
from jobfleet.client._sync.endings import Endings, value_of
from jobfleet.client.base import Deadline
from jobfleet.client.wait_list import Outcome
from jobfleet.errors import warn
from jobfleet.model import Job
from jobfleet.model.option_types import Seconds
from jobfleet.operations.bulk import submit_many
from jobfleet.operations.enqueue_span import enqueue_span
from jobfleet.operations.operation import drive_blocking

T = TypeVar("T")


class Mapped(Iterator[T]):
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
    _endings: Endings | None = None

    def __init__(
        self,
        client: Connection,
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

    def __next__(self) -> T:
        if self._endings is None:
            self._is_begun = True
            self._endings = Endings(self._client, Deadline(self._timeout))
        if len(self._order) <= self._window // 2:
            self._refill(self._endings)
        if not self._order:
            self._endings.close()
            raise StopIteration
        value: T = value_of(self._next(self._endings), return_exceptions=self._return_exceptions)
        return value

    def _next(self, endings: Endings) -> Outcome:
        """Return the outcome of the next job in order."""
        first = self._order[0]
        if isinstance(first, Exception):
            self._order.popleft()
            return first
        while first not in self._outcomes:
            job_id, outcome = endings.next()
            self._outcomes[job_id] = outcome
        self._order.popleft()
        self._wanted[first] -= 1
        if self._wanted[first]:  # another item has the same job, because of its unique key
            return self._outcomes[first]
        del self._wanted[first]
        return self._outcomes.pop(first)

    def _refill(self, endings: Endings) -> None:
        """Enqueue the jobs of more items."""
        part = list(islice(self._jobs, self._window - len(self._order)))
        if not part:
            return
        with enqueue_span(self._client.context, part) as span:
            receipts = drive_blocking(self._client.store, submit_many(self._client.context, part))
            self._client.counted("enqueued", len(receipts))
            span.answered(receipts)
        fresh: dict[str, None] = {}
        for receipt in receipts:
            self._order.append(receipt.error or receipt.id)
            if receipt.error is None:
                if receipt.id not in self._wanted:
                    fresh[receipt.id] = None
                self._wanted[receipt.id] += 1
        endings.add(fresh, are_new=True)

    def __del__(self) -> None:
        if not self._is_begun:
            warn("map was not iterated: nothing was enqueued.", RuntimeWarning)
        if self._endings is not None:
            self._endings.close()
