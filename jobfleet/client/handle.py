"""Handles: an enqueued job in the caller's hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from jobfleet.errors import JobCancelled, JobExpired, JobFailed
from jobfleet.events import Event
from jobfleet.model import JobResult, JobStatus, Priority, Receipt
from jobfleet.model.explanation import Explanation
from jobfleet.model.options import Seconds

if TYPE_CHECKING:
    from jobfleet.client.aio import AsyncFleet
    from jobfleet.client.sync import Fleet
    from jobfleet.model.logline import LogLine

T = TypeVar("T")


def outcome_of(result: JobResult[T]) -> T:
    """The value of a job that has ended, or what it ended in, raised.

    Raises:
        JobFailed: It failed.
        JobCancelled: It was cancelled.
        JobExpired: It was not started in time.
    """
    match result.status:
        case JobStatus.COMPLETED:
            return result.result  # type: ignore[return-value]  # None is a value of T here
        case JobStatus.CANCELLED:
            raise JobCancelled(f"{result.id} was {result.error or 'cancelled'}.", job_id=result.id)
        case JobStatus.EXPIRED:
            raise JobExpired(f"{result.id} expired: {result.error}.", job_id=result.id)
        case _:
            raise JobFailed(
                f"{result.id} failed: {result.error}",
                job_id=result.id,
                error_class=result.error_class,
                traceback=result.traceback,
            )


class _Handle(Generic[T]):
    """What both handles are."""

    def __init__(self, fleet: Any, receipt: Receipt) -> None:
        self._fleet = fleet
        self.receipt = receipt
        self.id = receipt.id
        self.created = receipt.created

    def __str__(self) -> str:
        return self.id

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Handle) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)


class JobHandle(_Handle[T]):
    """An enqueued job.

    Attributes:
        id: Its id, or that of the job that holds its unique key; also ``str(handle)``.
        created: False when it was there already, or another job holds its unique key.
        receipt: The whole answer to the enqueue.
    """

    _fleet: Fleet

    def poll(self) -> JobResult[T]:
        """What is known of it now; never raises for a job that failed."""
        return self._fleet.poll(self.id)

    def wait(self, timeout: Seconds | None = None) -> JobResult[T]:
        """Wait for its end; never raises for a job that failed.

        Raises:
            WaitTimeout: `timeout` seconds went by.
        """
        return self._fleet.wait(self.id, timeout=timeout)

    def result(self, timeout: Seconds | None = None) -> T:
        """Wait for its end and return its value.

        Raises:
            JobFailed: It failed.
            JobCancelled: It was cancelled.
            JobExpired: It was not started in time.
            WaitTimeout: `timeout` seconds went by.
        """
        return outcome_of(self.wait(timeout))

    def cancel(self, *, by: str | None = None) -> bool:
        """Cancel it; False when it has ended already."""
        return self._fleet.cancel(self.id, by=by)

    def explain(self) -> Explanation:
        """Say why it is not running, or what became of it."""
        return self._fleet.explain(self.id)

    def reschedule(
        self,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | None = None,
        by: str | None = None,
    ) -> bool:
        """Give it another due time, another priority, or both while it waits; False when it runs or has ended.

        Raises:
            InvalidJob: Nothing is to be changed, or a value cannot be.
        """
        return self._fleet.reschedule(self.id, at=at, delay=delay, priority=priority, by=by)

    def events(self) -> Iterator[Event]:
        """What happens to it from now on, until it ends."""
        return self._fleet.events(self.id)

    def logs(self, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """What it has logged, oldest first; with `follow` on until it ends."""
        return self._fleet.logs(self.id, tail=tail, follow=follow)


class AsyncJobHandle(_Handle[T]):
    """An enqueued job.

    Attributes:
        id: Its id, or that of the job that holds its unique key; also ``str(handle)``.
        created: False when it was there already, or another job holds its unique key.
        receipt: The whole answer to the enqueue.
    """

    _fleet: AsyncFleet

    async def poll(self) -> JobResult[T]:
        """What is known of it now; never raises for a job that failed."""
        return await self._fleet.poll(self.id)

    async def wait(self, timeout: Seconds | None = None) -> JobResult[T]:
        """Wait for its end; never raises for a job that failed.

        Raises:
            WaitTimeout: `timeout` seconds went by.
        """
        return await self._fleet.wait(self.id, timeout=timeout)

    async def result(self, timeout: Seconds | None = None) -> T:
        """Wait for its end and return its value.

        Raises:
            JobFailed: It failed.
            JobCancelled: It was cancelled.
            JobExpired: It was not started in time.
            WaitTimeout: `timeout` seconds went by.
        """
        return outcome_of(await self.wait(timeout))

    async def cancel(self, *, by: str | None = None) -> bool:
        """Cancel it; False when it has ended already."""
        return await self._fleet.cancel(self.id, by=by)

    async def explain(self) -> Explanation:
        """Say why it is not running, or what became of it."""
        return await self._fleet.explain(self.id)

    async def reschedule(
        self,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | None = None,
        by: str | None = None,
    ) -> bool:
        """Give it another due time, another priority, or both while it waits; False when it runs or has ended.

        Raises:
            InvalidJob: Nothing is to be changed, or a value cannot be.
        """
        return await self._fleet.reschedule(self.id, at=at, delay=delay, priority=priority, by=by)

    def events(self) -> AsyncIterator[Event]:
        """What happens to it from now on, until it ends."""
        return self._fleet.events(self.id)

    def logs(self, *, tail: int | None = None, follow: bool = False) -> AsyncIterator[LogLine]:
        """What it has logged, oldest first; with `follow` on until it ends."""
        return self._fleet.logs(self.id, tail=tail, follow=follow)
