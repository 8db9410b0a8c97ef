"""The interface of a run that the context of its job uses."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from jobfleet.functions.running.addition import FlowAddition
from jobfleet.functions.running.tracing import RunSpan
from jobfleet.model.signals import Suspended


@runtime_checkable
class ProgressCallback(Protocol):
    """The function that a parameter named ``progress_callback`` receives."""

    def __call__(self, value: float, message: str = "", details: Mapping[str, object] | None = None) -> None:
        """Report the progress of the job.

        It may be called from any thread and at any rate. It never waits for Redis; reports are coalesced, and the last
        report is always stored.

        Args:
            value: The completed share, from 0.0 to 1.0.
            message: A short text for people.
            details: Further plain data.

        Raises:
            JobCancelled: Somebody has asked for the job to stop.
        """


T = TypeVar("T")


class RunPort(Protocol):
    """The methods of a run that a context uses."""

    @property
    def span(self) -> RunSpan | None:
        """The span of the run; None without a tracer."""

    @property
    def cancel_by(self) -> str | None:
        """Who has asked for the job to stop; None when nobody has."""

    @property
    def is_draining(self) -> bool:
        """Whether the process that runs the job drains."""

    @property
    def must_stop(self) -> str | None:
        """Why the job must stop; None when it need not stop."""

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Record a progress report; from any thread, without waiting."""

    def extend(self, seconds: float) -> None:
        """Add seconds to the time limits of the run; from any thread."""

    def note(self, at_us: int, level: int, text: str) -> None:
        """Record a line of the log of the job; from any thread, without waiting."""

    def emit(self, record: bytes) -> bool:
        """Take an encoded chunk of the job's output; from any thread, without waiting.

        Returns:
            Whether there is room for more. If not, the caller waits for it; the chunk was taken all the same.

        Raises:
            JobCancelled: The run has ended, or another run owns the job now.
        """

    async def wait_for_room(self) -> None:
        """Return once there is room for more chunks."""

    async def steps(self) -> Mapping[str, bytes]:
        """Read the encoded results of the steps that this run and earlier runs have stored.

        Returns:
            The records by their names, and under the empty name Redis's time in µs.
        """

    async def keep(self, key: str, record: bytes) -> None:
        """Store the encoded result of a step.

        Raises:
            JobCancelled: Another run owns the job now.
        """

    async def extend_flow(self, addition: FlowAddition) -> Sequence[str]:
        """Add jobs to the flow of the job; return their ids in the order of the addition."""

    async def acquire_lock(self, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Take a lock, or wait for it; return the fencing token.

        Args:
            name: The name of the lock.
            number: Its number among the locks that this run takes.
            limit: How many may hold it at once.
            timeout: The most seconds to wait; None for no limit.

        Raises:
            LockTimeout: No place was free in time.
            LockConflict: Others hold the lock with another limit.
        """

    async def release_lock(self, name: str, number: int) -> None:
        """Release a lock, or end the attempt to take it."""

    async def lease_confirmed(self) -> None:
        """Return once the run's lease is known to stand, or it is to stop."""

    async def undo(self, job_id: str, names: Sequence[str]) -> Mapping[str, bytes] | None:
        """Delete records of the steps of another job, which has ended without completing; return those that are left.

        Returns:
            Nothing if that job has completed; None, without effect, if it is open.
        """

    def suspend(self, wait: Suspended) -> None:
        """End this run; a later one continues the job. A test without a worker returns, and the wait is over.

        Raises:
            Suspended: Always, but for a test.
        """

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine on the event loop of the methods above; block this thread until it is done."""
