"""What a job's context needs of the run that it belongs to."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from jobfleet.functions.flow_addition import Wish


@runtime_checkable
class ProgressCallback(Protocol):
    """What a parameter named ``progress_callback`` is given."""

    def __call__(self, value: float, message: str = "", details: Mapping[str, object] | None = None) -> None:
        """Report how far the job is.

        May be called from any thread, as often as one likes: it never waits for Redis, and reports are
        coalesced. The last one is always kept.

        Args:
            value: 0.0 to 1.0.
            message: A few words for people.
            details: Plain data.

        Raises:
            JobCancelled: Somebody asked for the job to stop.
        """


T = TypeVar("T")


class RunPort(Protocol):
    """What the worker offers to a context."""

    @property
    def cancel_by(self) -> str | None:
        """Who asked for the job to stop; None when nobody did."""

    @property
    def must_stop(self) -> str | None:
        """Why the job is to stop, for whatever reason; None when it is not."""

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Take a progress report; from any thread, never waiting."""

    def extend(self, seconds: float) -> None:
        """Give the run so many seconds more than it has left before its time limit; from any thread."""

    def note(self, at_us: int, level: int, text: str) -> None:
        """Take a line of the job's own log; from any thread, never waiting."""

    async def steps(self) -> Mapping[str, bytes]:
        """The encoded results of the steps that earlier runs, or this one, have kept."""

    async def keep(self, key: str, record: bytes) -> None:
        """Keep the encoded result of a step, under the run's token.

        Raises:
            JobCancelled: Another run owns the job by now.
        """

    async def extend_flow(self, wish: Wish) -> Sequence[str]:
        """Add jobs to the flow of the job; their ids, in the order in which they were put into the wish."""

    async def lease_confirmed(self) -> None:
        """Return once the run's lease is known to stand, or it is to stop."""

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await something where the methods above may be awaited, blocking this thread until it is done."""
