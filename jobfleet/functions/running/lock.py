"""`JobLock`: a named semaphore of the fleet, which a running job holds for a block of its code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from jobfleet.errors import InvalidJob, JobCancelled, LockTimeout
from jobfleet.event_loop import running_loop
from jobfleet.model import seconds as as_seconds

if TYPE_CHECKING:
    from jobfleet.functions.running.run_port import RunPort

LONGEST_NAME = 200
LIMIT_MOST = 1000


class JobLock:
    """One use of a lock; `JobContext.lock` returns it.

    Args:
        port: The worker.
        job_id: The id of the job, for messages.
        name: The name of the lock.
        limit: How many may hold it at once.
        timeout: The most seconds to wait; None for no limit.
        numbers: The numbers of the locks that this run takes; each use has another one.

    Attributes:
        name: The name of the lock.
        limit: How many may hold it at once.
        timeout: The most seconds to wait; None for no limit.
        fence: The fencing token. It grows with each time that the lock is taken by anybody; 0 while it is not held.

    Raises:
        InvalidJob: An argument is wrong.
    """

    def __init__(
        self,
        port: RunPort,
        job_id: str,
        name: str,
        limit: int,
        timeout: float | timedelta | None,
        *,
        numbers: Iterator[int],
    ) -> None:
        if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
            raise InvalidJob(
                f"The name of a lock is {name!r:.80}; give a text of 1 to {LONGEST_NAME} printable characters.",
                field="lock",
            )
        if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= LIMIT_MOST:
            raise InvalidJob(
                f"The limit of lock {name!r} is {limit!r}; give a whole number from 1 to {LIMIT_MOST:,}.", field="limit"
            )
        self.name = name
        self.limit = limit
        self.timeout: float | None = None if timeout is None else as_seconds(timeout, field="timeout")
        self.fence: int = 0
        self._port = port
        self._job_id = job_id
        self._numbers = numbers
        self._number = 0
        self._is_entered = False

    async def __aenter__(self) -> Self:
        """Take the lock, or wait for it.

        Raises:
            LockTimeout: No place was free in time.
            LockConflict: Other jobs hold the lock with another limit.
            JobCancelled: The job must stop.
        """
        self._begin()
        try:
            self.fence = await self._taken()
        except BaseException:
            self._is_entered = False
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        """Release the lock."""
        self._end()
        await self._port.release_lock(self.name, self._number)

    def __enter__(self) -> Self:
        """Take the lock in a ``def`` job, or wait for it; see `__aenter__`.

        Raises:
            TypeError: An event loop runs in this thread; write ``async with``.
        """
        if running_loop() is not None:
            raise TypeError("'with ctx.lock(…)' would block the event loop that runs here; write 'async with'.")
        self._begin()
        try:
            self.fence = self._port.block(self._taken())
        except BaseException:
            self._is_entered = False
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Release the lock."""
        self._end()
        with suppress(JobCancelled):  # the job learns of it elsewhere; the release continues
            self._port.block(self._port.release_lock(self.name, self._number))

    async def _taken(self) -> int:
        await self._port.lease_confirmed()
        if (why := self._port.must_stop) is not None:
            raise JobCancelled(f"{self._job_id} is to stop: {why}.", job_id=self._job_id)
        return await self._port.acquire_lock(self.name, self._number, self.limit, self.timeout)

    def _begin(self) -> None:
        if self._is_entered:
            raise InvalidJob(f"This lock {self.name!r} is in use; call ctx.lock(…) for each block.", field="lock")
        self._is_entered = True
        self._number = next(self._numbers)

    def _end(self) -> None:
        self.fence = 0
        self._is_entered = False


class LocksOfTest:
    """The locks of a context without a worker. Nobody else releases one, so a lock without a free place raises."""

    def __init__(self) -> None:
        self._held: dict[str, set[int]] = {}
        self._last = 0

    def acquire(self, name: str, number: int, limit: int) -> int:
        """Take a lock.

        Raises:
            LockTimeout: The test holds all places.
        """
        held = self._held.setdefault(name, set())
        if len(held) >= limit:
            raise LockTimeout(f"Lock {name!r} (limit {limit}) has no free place: this context holds {len(held)}.")
        held.add(number)
        self._last += 1
        return self._last

    def release(self, name: str, number: int) -> None:
        """Release a lock."""
        self._held.get(name, set()).discard(number)
