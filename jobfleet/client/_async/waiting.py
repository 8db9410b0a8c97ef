"""Wait for jobs: for one, for all of several, for each as it ends, or for one per item of an iterable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Literal, TypeVar, overload

from jobfleet.client._async.endings import AsyncEndings, checked, value_of
from jobfleet.client._async.jobs import AsyncJobs
from jobfleet.client._async.mapped import AsyncMapped
from jobfleet.client.base import Deadline, ids_of, jobs_for
from jobfleet.errors import WaitTimeout
from jobfleet.functions.registry import JobFunction
from jobfleet.handle.base import HandleBase
from jobfleet.model import JobId, JobResult, Receipt
from jobfleet.model.option_types import Seconds
from jobfleet.model.status import check_number

T = TypeVar("T")


class AsyncWaiting(AsyncJobs):
    """Operations of a client that wait for jobs. They all share one connection."""

    _mapped: type[AsyncMapped[Any]] = AsyncMapped

    @overload
    async def wait(self, job_id: JobId[T], timeout: Seconds | None = None) -> JobResult[T]: ...

    @overload
    async def wait(self, job_id: str, timeout: Seconds | None = None) -> JobResult[Any]: ...

    async def wait(self, job_id: str, timeout: Seconds | None = None) -> JobResult[Any]:
        """Wait until a job has ended and return its result. Pub/sub wakes the wait; it is correct without pub/sub.

        Args:
            job_id: The job.
            timeout: Time limit in seconds, or a timedelta; None to wait without a limit.

        Raises:
            ConfigError: A worker is importing the module that waits.
            InvalidJob: `timeout` is not a duration.
            JobNotFound: The job is unknown.
            StoreUnavailable: Redis was away for `patience` seconds, even if `timeout` is longer. The job continues.
            WaitTimeout: The job had not ended after `timeout` seconds. It continues.
        """
        endings = AsyncEndings(self, Deadline(timeout))
        try:
            await endings.add((job_id,))
            _, outcome = await endings.next()
        finally:
            endings.close()
        return checked(outcome)

    @overload
    async def gather(
        self,
        jobs: Iterable[HandleBase[T] | JobId[T]],
        *,
        timeout: Seconds | None = None,
        return_exceptions: Literal[False] = False,
    ) -> list[T]: ...

    @overload
    async def gather(
        self, jobs: Iterable[HandleBase[T] | JobId[T]], *, timeout: Seconds | None = None, return_exceptions: bool
    ) -> list[T | Exception]: ...

    @overload
    async def gather(
        self, jobs: Iterable[str | Receipt], *, timeout: Seconds | None = None, return_exceptions: bool = False
    ) -> list[Any]: ...

    async def gather(
        self,
        jobs: Iterable[HandleBase[Any] | str | Receipt],
        *,
        timeout: Seconds | None = None,
        return_exceptions: bool = False,
    ) -> list[Any]:
        """Wait for several jobs and return what their functions returned, in the order of `jobs`.

        Args:
            jobs: Handles, ids or receipts.
            timeout: Time limit in seconds, or a timedelta, for all of them together; None to wait without a limit.
            return_exceptions: Whether the list has the error in the place of a job that did not complete; also
                `WaitTimeout` for each job that is still open when the time is over. Otherwise the first error is
                raised as soon as it is known. The other jobs continue in either case.

        Raises:
            ConfigError: A worker is importing the module that waits.
            InvalidJob: `timeout` is not a duration, or an item is not a job.
            JobFailed: A job failed.
            JobCancelled: A job was cancelled.
            JobExpired: A job was not started in time.
            JobNotFound: A job is unknown.
            StoreUnavailable: Redis was away for `patience` seconds, even if `timeout` is longer. The jobs continue.
            WaitTimeout: Not all jobs had ended after `timeout` seconds.
        """
        ids = ids_of(jobs)
        values: dict[str, Any] = {}
        endings = AsyncEndings(self, Deadline(timeout))
        try:
            await endings.add(dict.fromkeys(ids))
            for _ in dict.fromkeys(ids):
                job_id, outcome = await endings.next()
                values[job_id] = value_of(outcome, return_exceptions=return_exceptions)
        except WaitTimeout as error:
            if not return_exceptions:
                raise
            values |= {
                job_id: WaitTimeout(job_id, error.timeout, why=error.why if job_id == error.job_id else "")
                for job_id in error.job_ids
            }
        finally:
            endings.close()
        return [values[job_id] for job_id in ids]

    @overload
    def as_completed(
        self, jobs: Iterable[HandleBase[T] | JobId[T]], *, timeout: Seconds | None = None
    ) -> AsyncIterator[JobResult[T]]: ...

    @overload
    def as_completed(
        self, jobs: Iterable[str | Receipt], *, timeout: Seconds | None = None
    ) -> AsyncIterator[JobResult[Any]]: ...

    async def as_completed(
        self, jobs: Iterable[HandleBase[Any] | str | Receipt], *, timeout: Seconds | None = None
    ) -> AsyncIterator[JobResult[Any]]:
        """Yield the result of each job as soon as it has ended, in any final state. `result.id` tells which it is.

        Args:
            jobs: Handles, ids or receipts.
            timeout: Time limit in seconds, or a timedelta, for all of them together; None to wait without a limit.

        Raises:
            ConfigError: A worker is importing the module that waits.
            InvalidJob: `timeout` is not a duration, or an item is not a job.
            JobNotFound: A job is unknown.
            StoreUnavailable: Redis was away for `patience` seconds, even if `timeout` is longer. The jobs continue.
            WaitTimeout: Not all jobs had ended after `timeout` seconds.
        """
        ids = dict.fromkeys(ids_of(jobs))
        endings = AsyncEndings(self, Deadline(timeout))
        try:
            await endings.add(ids)
            for _ in ids:
                _, outcome = await endings.next()
                yield checked(outcome)
        finally:
            endings.close()

    @overload
    def map(
        self,
        function: JobFunction[..., T, Any],
        *iterables: Iterable[Any],
        timeout: Seconds | None = None,
        window: int = 1000,
        return_exceptions: Literal[False] = False,
    ) -> AsyncMapped[T]: ...

    @overload
    def map(
        self,
        function: JobFunction[..., T, Any],
        *iterables: Iterable[Any],
        timeout: Seconds | None = None,
        window: int = 1000,
        return_exceptions: bool,
    ) -> AsyncMapped[T | Exception]: ...

    @overload
    def map(
        self,
        function: Callable[..., Any] | str,
        *iterables: Iterable[Any],
        timeout: Seconds | None = None,
        window: int = 1000,
        return_exceptions: bool = False,
    ) -> AsyncMapped[Any]: ...

    def map(
        self,
        function: Callable[..., Any] | JobFunction[..., Any, Any] | str,
        *iterables: Iterable[Any],
        timeout: Seconds | None = None,
        window: int = 1000,
        return_exceptions: bool = False,
    ) -> AsyncMapped[Any]:
        """Enqueue one job per item, and yield what the function returned for each, in the order of the items.

        Memory is bounded: the items are taken from the iterables while you iterate the values.

        Args:
            function: A job function, also with options, as in ``send.options(tags=["eu"])``; or its name.
            iterables: The arguments, as for the built-in `map`: the first item of each for the first job, and so on.
            timeout: Time limit in seconds, or a timedelta, for the whole iteration; None for no limit.
            window: The most jobs that are enqueued and not yet yielded.
            return_exceptions: Whether the error of a job that did not complete is yielded in its place. Otherwise it is
                raised, and no more jobs are enqueued. Those that are enqueued continue.

        Raises:
            InvalidJob: There is no iterable, `window` is not a whole number, or `timeout` is not a duration.
            EncodingError: An argument cannot be encoded.
            JobFailed: A job failed.
            JobCancelled: A job was cancelled.
            JobExpired: A job was not started in time.
            StoreUnavailable: Redis was away for `patience` seconds, even if `timeout` is longer. The jobs continue.
            WaitTimeout: The time was over before all jobs had ended.
        """
        check_number(window, field="window")
        jobs = jobs_for(function, iterables)
        return self._mapped(self, jobs, timeout=timeout, window=window, return_exceptions=return_exceptions)
