# Made by scripts/unasync from jobfleet/client/_async/events.py. Change that, and run scripts/unasync.
"""Wait for jobs, and read events, logs and output of jobs while they happen. Events may be missed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, TypeVar, overload

from jobfleet.client._sync.background import sleep
from jobfleet.client._sync.connection import Connection
from jobfleet.client._sync.endings import Endings, Mapped, checked, value_of
from jobfleet.client._sync.jobs import Jobs
from jobfleet.client._sync.listener import Subscription
from jobfleet.client.base import MARK_EVERY, Deadline, Marking, ids_of, jobs_for
from jobfleet.clock import monotonic
from jobfleet.errors import WaitTimeout
from jobfleet.events import Event, read_events
from jobfleet.functions.registry import JobFunction
from jobfleet.handle.base import HandleBase
from jobfleet.model import JobId, JobResult, Receipt
from jobfleet.model.option_types import Seconds
from jobfleet.model.result import Chunk, LogLine
from jobfleet.model.status import check_number
from jobfleet.operations.jobs import poll
from jobfleet.operations.jobs.poll import LogReading as Reading
from jobfleet.operations.jobs.poll import StreamReading, read_stream
from jobfleet.operations.jobs.poll import read_log as read
from jobfleet.operations.lanes import lanes
from jobfleet.operations.operation import Operation, drive_blocking
from jobfleet.store.calls import control
from jobfleet.store.keys import Lane

T = TypeVar("T")


class Waiting(Jobs):
    """Operations of a client that wait for jobs. They all share one connection."""

    _mapped: type[Mapped[Any]] = Mapped

    @overload
    def wait(self, job_id: JobId[T], timeout: Seconds | None = None) -> JobResult[T]: ...

    @overload
    def wait(self, job_id: str, timeout: Seconds | None = None) -> JobResult[Any]: ...

    def wait(self, job_id: str, timeout: Seconds | None = None) -> JobResult[Any]:
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
        endings = Endings(self, Deadline(timeout))
        try:
            endings.add((job_id,))
            _, outcome = endings.next()
        finally:
            endings.close()
        return checked(outcome)

    @overload
    def gather(
        self,
        jobs: Iterable[HandleBase[T] | JobId[T]],
        *,
        timeout: Seconds | None = None,
        return_exceptions: Literal[False] = False,
    ) -> list[T]: ...

    @overload
    def gather(
        self, jobs: Iterable[HandleBase[T] | JobId[T]], *, timeout: Seconds | None = None, return_exceptions: bool
    ) -> list[T | Exception]: ...

    @overload
    def gather(
        self, jobs: Iterable[str | Receipt], *, timeout: Seconds | None = None, return_exceptions: bool = False
    ) -> list[Any]: ...

    def gather(
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
        endings = Endings(self, Deadline(timeout))
        try:
            endings.add(dict.fromkeys(ids))
            for _ in dict.fromkeys(ids):
                job_id, outcome = endings.next()
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
    ) -> Iterator[JobResult[T]]: ...

    @overload
    def as_completed(
        self, jobs: Iterable[str | Receipt], *, timeout: Seconds | None = None
    ) -> Iterator[JobResult[Any]]: ...

    def as_completed(
        self, jobs: Iterable[HandleBase[Any] | str | Receipt], *, timeout: Seconds | None = None
    ) -> Iterator[JobResult[Any]]:
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
        endings = Endings(self, Deadline(timeout))
        try:
            endings.add(ids)
            for _ in ids:
                _, outcome = endings.next()
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
    ) -> Mapped[T]: ...

    @overload
    def map(
        self,
        function: JobFunction[..., T, Any],
        *iterables: Iterable[Any],
        timeout: Seconds | None = None,
        window: int = 1000,
        return_exceptions: bool,
    ) -> Mapped[T | Exception]: ...

    @overload
    def map(
        self,
        function: Callable[..., Any] | str,
        *iterables: Iterable[Any],
        timeout: Seconds | None = None,
        window: int = 1000,
        return_exceptions: bool = False,
    ) -> Mapped[Any]: ...

    def map(
        self,
        function: Callable[..., Any] | JobFunction[..., Any, Any] | str,
        *iterables: Iterable[Any],
        timeout: Seconds | None = None,
        window: int = 1000,
        return_exceptions: bool = False,
    ) -> Mapped[Any]:
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


POLL_EVERY = 1.0
"""Seconds without an event after which a job is polled."""
LOOK_EVERY = 2.0
"""Seconds between checks for new queues."""
READ_EVERY = 0.5
"""Seconds between reads of a log or an output that is followed. The end of its job is noticed at once."""


class Events(Waiting):
    """Operations of a client that follow jobs."""

    def events(self, job_id: str) -> Iterator[Event]:
        """Yield the events of a job from now on, until it ends. Events may be missed; `poll` is authoritative.

        Raises:
            JobNotFound: The job is unknown.
            StoreUnavailable: Redis did not answer within `patience` seconds.
        """
        lane = self.context.keys.lane_of(job_id)
        listener = self.listener.listen((lane.job_events(job_id),))
        marking = Marking()
        try:
            listener.subscribed()
            is_over = False
            while not is_over:
                if marking.is_due:
                    self._do(poll.listen(self.context, job_id))
                result = self.poll(job_id)
                is_over = result.status.is_final
                texts = listener.rest() if is_over else listener.some(POLL_EVERY)
                for text in texts:
                    for event in read_events(text):
                        yield event
        finally:
            listener.close()

    def logs(self, job_id: str, *, tail: int | None = None, follow: bool = False) -> Iterator[LogLine]:
        """Yield the log lines of a job, oldest first. A line marks where lines were dropped.

        Args:
            job_id: The job.
            tail: The most stored lines to yield, from the end of the log; None for all, 0 for only new lines.
            follow: Whether to continue with new lines until the job ends.

        Raises:
            InvalidJob: `tail` is not a whole number.
            JobNotFound: Neither the job nor its log is known.
        """
        if tail is not None:
            check_number(tail, field="tail", least=0)
        return reading(self, Reading(job_id, tail), follow=follow)

    def stream(
        self, job_id: str, after: str | None = None, *, tail: int | None = None, follow: bool = True
    ) -> Iterator[Chunk]:
        """Yield the chunks that a job emits, in order, until it ends.

        A reader that was interrupted continues after the `position` of its last chunk, without a loss or a repetition.
        A chunk tells whether chunks before it were dropped, and whether it is the first of another run of the job.

        Args:
            job_id: The job.
            after: The `position` of the last chunk that was read; None to begin with the oldest stored chunk.
            tail: The most stored chunks to begin with, from the end of the stream; None for all.
            follow: Whether to continue with new chunks until the job ends.

        Raises:
            EncodingError: A chunk cannot be read.
            InvalidJob: `after` is not a position, or `tail` is not a positive whole number.
            JobNotFound: Neither the job nor its output is known.
            StoreUnavailable: Redis did not answer within `patience` seconds.
        """
        return streaming(self, StreamReading.after(job_id, after, tail), follow=follow)


def reading(client: Connection, how_far: Reading, *, follow: bool) -> Iterator[LogLine]:
    """Yield the lines of a log. The events of the job hint at new lines."""
    lane = client.context.keys.lane_of(how_far.job_id)
    found = partial(read, client.context, how_far)
    return _followed(client, how_far, found, (lane.job_events(how_far.job_id),) if follow else ())


def streaming(client: Connection, how_far: StreamReading, *, follow: bool) -> Iterator[Chunk]:
    """Yield the chunks of a stream. Messages hint at new chunks, and at the end of the job."""
    lane = client.context.keys.lane_of(how_far.job_id)
    channels = (lane.job_events(how_far.job_id), lane.chunks(how_far.job_id))
    return _followed(client, how_far, partial(read_stream, client.context, how_far), channels if follow else ())


def _followed(
    client: Connection,
    how_far: Reading | StreamReading,
    found: Callable[[], Operation[list[T]]],
    channels: Sequence[str],
) -> Iterator[T]:
    """Yield what is found; with channels, until the job ends."""
    listener = client.listener.listen(channels) if channels else None
    marking = Marking()
    try:
        if listener is not None:
            listener.subscribed()
        while True:
            if listener is not None and marking.is_due:
                drive_blocking(client.store, poll.listen(client.context, how_far.job_id))
            for one in drive_blocking(client.store, found()):
                yield one
            if how_far.is_more:
                continue
            if listener is None or how_far.is_over:
                return
            texts = listener.some(READ_EVERY)
            if isinstance(how_far, StreamReading):
                how_far.heard(texts)
    finally:
        if listener is not None:
            listener.close()


def tail(client: Connection, queue: str | None = None) -> Iterator[Event]:
    """Yield the events of a queue, or of all queues, without an end.

    Args:
        client: The client.
        queue: A queue; None for all, including queues that are created later.

    Raises:
        ConfigError: There is no such queue.
        StoreUnavailable: Redis did not answer within `patience` seconds.
    """
    known: list[Lane] = []
    listener: Subscription | None = None
    mark_at = 0.0
    try:
        while True:
            found = drive_blocking(client.store, lanes(client.context, queue))
            if found != known:
                fresh = client.listener.listen([lane.events for lane in found])
                if listener is not None:
                    listener.close()
                known, listener, mark_at = found, fresh, 0.0
                listener.subscribed()
            if monotonic() >= mark_at:
                _mark(client, known)
                mark_at = monotonic() + MARK_EVERY
            if listener is None:
                sleep(LOOK_EVERY)
            else:
                for event in _heard(listener):
                    yield event
    finally:
        if listener is not None:
            listener.close()


def _mark(client: Connection, known: Sequence[Lane]) -> None:
    """Mark these lanes as watched, so that their scripts publish events."""
    if known:
        client.store.run_many([control.listen(lane) for lane in known])


def _heard(listener: Subscription) -> Iterator[Event]:
    """Yield the events that arrive before the next check for queues."""
    until = monotonic() + LOOK_EVERY
    while (left := until - monotonic()) > 0:
        message = listener.get(left)
        if message is not None:
            for event in read_events(message):
                yield event
