"""`AsyncJobHandle`, and what it needs of a client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from jobfleet.events import Event
from jobfleet.handle.base import HandleBase, T_co, outcome_of
from jobfleet.model import JobResult, Priority, Receipt
from jobfleet.model.option_types import Seconds
from jobfleet.model.result import Chunk, LogLine
from jobfleet.model.status import PriorityName

if TYPE_CHECKING:
    from jobfleet.model.result import Explanation, JobDetails


class AsyncHandleClient(Protocol):
    """What a handle needs of a client."""

    async def poll(self, job_id: str) -> JobResult[Any]:
        """What is known of a job."""

    async def wait(self, job_id: str, timeout: Seconds | None = None) -> JobResult[Any]:
        """Wait for a job's end."""

    async def cancel(self, job_id: str, *, by: str | None = None) -> bool:
        """Cancel a job."""

    async def signal(self, job_id: str, name: str, value: object = None, *, by: str | None = None) -> bool:
        """Send a signal to a job."""

    async def details(self, job_id: str) -> JobDetails[Any]:
        """A job in full."""

    async def explain(self, job_id: str) -> Explanation:
        """Explain why a job is not running, or how it ended."""

    async def reschedule(
        self,
        job_id: str,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | PriorityName | None = None,
        by: str | None = None,
    ) -> bool:
        """Give a waiting job another due time or priority."""

    async def edit(
        self,
        job_id: str,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        *,
        by: str | None = None,
    ) -> bool:
        """Give a waiting job other arguments."""

    async def forget(self, job_id: str, *, by: str | None = None) -> bool:
        """Erase an ended job."""

    def events(self, job_id: str) -> AsyncIterator[Event]:
        """What happens to a job from now on, until it ends."""

    def logs(self, job_id: str, *, tail: int | None = None, follow: bool = False) -> AsyncIterator[LogLine]:
        """What a job has logged, oldest first."""

    def stream(
        self, job_id: str, after: str | None = None, *, tail: int | None = None, follow: bool = True
    ) -> AsyncIterator[Chunk]:
        """The output of a job, oldest first."""


class AsyncJobHandle(HandleBase[T_co]):
    """An enqueued job.

    Attributes:
        id: Its id, or that of the job that holds its unique key; also ``str(handle)``.
        created: False when it was there already, or another job holds its unique key.
        receipt: The whole answer to the enqueue.
    """

    def __init__(self, client: AsyncHandleClient, receipt: Receipt) -> None:
        super().__init__(receipt)
        self._client = client

    async def poll(self) -> JobResult[T_co]:
        """What is known of it now; never raises for a job that failed."""
        return await self._client.poll(self.id)

    async def wait(self, timeout: Seconds | None = None) -> JobResult[T_co]:
        """Wait for its end; never raises for a job that failed.

        Raises:
            StoreUnavailable: Redis was away for `patience` seconds, even if `timeout` is longer. The job continues.
            WaitTimeout: `timeout` seconds went by.
        """
        return await self._client.wait(self.id, timeout=timeout)

    async def result(self, timeout: Seconds | None = None) -> T_co:
        """Wait for its end and return its value.

        Raises:
            JobFailed: It failed.
            JobCancelled: It was cancelled.
            JobExpired: It was not started in time.
            StoreUnavailable: Redis was away for `patience` seconds, even if `timeout` is longer. The job continues.
            WaitTimeout: `timeout` seconds went by.
        """
        return outcome_of(await self.wait(timeout))

    async def cancel(self, *, by: str | None = None) -> bool:
        """Cancel it; False when it has ended already."""
        return await self._client.cancel(self.id, by=by)

    async def signal(self, name: str, value: object = None, *, by: str | None = None) -> bool:
        """Send it a signal, for its `ctx.wait_for(name)`; False when it has ended or another such signal came first.

        Raises:
            JobNotFound: It is not known any more.
            InvalidJob: The name is wrong, or the job keeps too much already.
            EncodingError: The value cannot be encoded.
        """
        return await self._client.signal(self.id, name, value, by=by)

    async def details(self) -> JobDetails[T_co]:
        """Read it in full: its state, priority, arguments, options, parents and past runs.

        Raises:
            JobNotFound: It is not known any more.
        """
        return await self._client.details(self.id)

    async def explain(self) -> Explanation:
        """Explain why it is not running, or how it ended."""
        return await self._client.explain(self.id)

    async def reschedule(
        self,
        *,
        at: datetime | None = None,
        delay: Seconds | None = None,
        priority: Priority | PriorityName | None = None,
        by: str | None = None,
    ) -> bool:
        """Give it another due time, another priority, or both while it waits; False when it runs or has ended.

        Raises:
            InvalidJob: Nothing is to be changed, or a value cannot be.
        """
        return await self._client.reschedule(self.id, at=at, delay=delay, priority=priority, by=by)

    async def edit(
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        *,
        by: str | None = None,
    ) -> bool:
        """Give it other arguments while it waits; False when it runs or has ended. Those that are not given stay.

        Raises:
            InvalidJob: Nothing is to be changed, or the function does not accept the arguments.
            EncodingError: An argument cannot be encoded.
        """
        return await self._client.edit(self.id, args, kwargs, by=by)

    async def forget(self, *, by: str | None = None) -> bool:
        """Erase it everywhere after it has ended; False when nothing is known about it.

        Raises:
            InvalidJob: It has not ended, so cancel it first; or other jobs wait for it.
            StoreUnavailable: Redis or the archive did not answer. The message says what is left to do.
        """
        return await self._client.forget(self.id, by=by)

    def events(self) -> AsyncIterator[Event]:
        """What happens to it from now on, until it ends."""
        return self._client.events(self.id)

    def logs(self, *, tail: int | None = None, follow: bool = False) -> AsyncIterator[LogLine]:
        """What it has logged, oldest first; with `follow` on until it ends."""
        return self._client.logs(self.id, tail=tail, follow=follow)

    def stream(self, after: str | None = None, *, tail: int | None = None, follow: bool = True) -> AsyncIterator[Chunk]:
        """The chunks that it emits, oldest first, until it ends; see `AsyncFleet.stream`."""
        return self._client.stream(self.id, after, tail=tail, follow=follow)
