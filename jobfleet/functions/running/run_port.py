"""The interface of a run that the context of its job uses."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from jobfleet.functions.running.addition import FlowAddition


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

    async def steps(self) -> Mapping[str, bytes]:
        """Read the encoded results of the steps that this run and earlier runs have stored."""

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

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine on the event loop of the methods above; block this thread until it is done."""
