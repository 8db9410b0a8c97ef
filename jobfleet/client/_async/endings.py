"""The ends of some jobs in the order in which they end, and the values of `map` in the order of its items."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import AsyncIterator, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from jobfleet.client._async.connection import AsyncConnection
from jobfleet.client._async.listener import AsyncWatch
from jobfleet.client.base import Deadline, still_buffered, still_running
from jobfleet.client.wait_list import Outcome
from jobfleet.clock import monotonic
from jobfleet.errors import JobfleetError, JobNotFound, StoreUnavailable, WaitTimeout, warn
from jobfleet.functions.default_fleet import check_not_loading
from jobfleet.handle.base import outcome_of
from jobfleet.model import Job, JobResult
from jobfleet.model.option_types import Seconds
from jobfleet.operations.jobs.poll import poll_ended
from jobfleet.operations.operation import batches, drive
from jobfleet.operations.submit import enqueue_span, submit_many
from jobfleet.store.keys import Lane

AT_ONCE = 1000
"""Jobs that are read in one pipeline."""


class AsyncEndings:
    """Waits for jobs, all over the one connection of the client's listener.

    Args:
        client: The client.
        deadline: The time limit, for all jobs together.

    Raises:
        ConfigError: A worker is importing the module that waits.
    """

    def __init__(self, client: AsyncConnection, deadline: Deadline) -> None:
        check_not_loading()
        self._client = client
        self._deadline = deadline
        self._open: dict[str, Lane] = {}
        self._ready: deque[tuple[str, Outcome]] = deque()
        self._watch: AsyncWatch | None = None

    async def add(self, ids: Iterable[str], *, are_new: bool = False) -> None:
        """Wait for more jobs.

        Args:
            ids: The jobs; each is reported once.
            are_new: Whether they were enqueued just now, so that they need not be read first.
        """
        added: dict[str, Lane] = {}
        for job_id in ids if are_new or self._client.buffering is None else await self._flushed(list(ids)):
            try:
                added[job_id] = self._client.context.keys.lane_of(job_id)
            except JobNotFound as error:
                self._ready.append((job_id, error))
        if not are_new:
            for job_id in await self._look(added):
                del added[job_id]
        self._open |= added
        if self._watch is not None or are_new:
            self._listen(added)

    async def _flushed(self, ids: list[str]) -> list[str]:
        """Wait until jobs have left the local buffer; return those that Redis was given."""
        if self._client.buffering is None:
            return ids
        try:
            refused = await self._client.buffering.left(ids, self._deadline.timeout)
        except StoreUnavailable as error:
            raise still_buffered(error) from error
        self._ready.extend(refused.items())
        return [job_id for job_id in ids if job_id not in refused]

    async def next(self) -> tuple[str, Outcome]:
        """Return the next job that has ended, and its result, or the error if the result cannot be read.

        Raises:
            WaitTimeout: The time was over first.
        """
        while True:
            if self._ready:
                return self._ready.popleft()
            if self._watch is None:
                self._listen(self._open)
            found = await self._listener_watch().next(self._deadline.left)
            if found is not None:
                job_id, outcome = found
                if self._open.pop(job_id, None) is None:  # `_poll_once_more` has reported it
                    continue
                if isinstance(outcome, JobNotFound):
                    outcome = await self._archived(job_id, outcome)
                return job_id, outcome
            if self._deadline.should_warn:
                await self._warn_of_hindrances()
            if self._deadline.is_over and not await self._poll_once_more():
                still = list(self._open)
                raise WaitTimeout(still[0], self._deadline.timeout or 0.0, job_ids=still, why=await self._why(still[0]))

    @property
    def still_open(self) -> list[str]:
        """The jobs that have not ended."""
        return list(self._open)

    def close(self) -> None:
        """Wait no more."""
        if self._watch is not None:
            self._watch.close()

    def _listen(self, ids: Iterable[str]) -> None:
        self._listener_watch().add(list(ids))

    def _listener_watch(self) -> AsyncWatch:
        if self._watch is None:
            self._watch = AsyncWatch(self._client.listener)
        return self._watch

    async def _look(self, jobs: dict[str, Lane]) -> list[str]:
        """Read jobs; return those that have ended, which are ready then."""
        ended: list[str] = []
        for part in batches([(lane, job_id) for job_id, lane in jobs.items()], AT_ONCE):
            began = monotonic()
            try:
                found = await drive(self._client.store, poll_ended(self._client.context, part))
            except StoreUnavailable as error:
                raise still_running(error, began) from error
            for job_id, outcome in found.items():
                known = await self._archived(job_id, outcome) if isinstance(outcome, JobNotFound) else outcome
                self._ready.append((job_id, known))
            ended += found
        return ended

    async def _poll_once_more(self) -> bool:
        """Read the open jobs once more at the deadline; return whether one of them has ended."""
        for job_id in await self._look(self._open):
            del self._open[job_id]
        return bool(self._ready)

    async def _archived(self, job_id: str, error: JobNotFound) -> Outcome:
        """Return the result of a job that Redis does not know any more."""
        try:
            return await self._client.from_archive(job_id)
        except JobNotFound:
            return error

    async def _why(self, job_id: str) -> str:
        """Return the first reason why a job has not ended; empty for a short wait, and for a part of a wait."""
        return await why_open(self._client, job_id) if self._deadline.explains else ""

    async def _warn_of_hindrances(self) -> None:
        from jobfleet.operations.explain.hindrances import hindrances  # for those who wait long

        try:
            found = await drive(self._client.store, hindrances(self._client.context, list(self._open)))
        except JobfleetError:  # a wait does not end because its warnings cannot be read
            return
        for text in found:
            warn(text)


async def why_open(client: AsyncConnection, job_id: str) -> str:
    """Return the first reason why a job has not ended; empty if it cannot be read."""
    from jobfleet.operations.explain import explain  # for those whose time is over

    try:
        reasons = (await drive(client.store, explain.look(client.context, job_id))).reasons
    except JobfleetError:  # the time is over, whether or not this can be read
        return ""
    return reasons[0].text if reasons else ""


def checked(outcome: Outcome) -> JobResult[Any]:
    """Return the result of a job, or raise the error of reading it."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def value_of(outcome: Outcome, *, return_exceptions: bool) -> Any:
    """Return what the function of a job returned.

    Args:
        outcome: How the job ended.
        return_exceptions: Whether to return the error of a job that did not complete; else it is raised.
    """
    try:
        return outcome_of(checked(outcome))
    except Exception as error:
        if return_exceptions:
            return error
        raise


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
