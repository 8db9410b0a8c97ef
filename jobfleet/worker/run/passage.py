"""The pass of a run through its gates, which counts only if the function is called soon enough."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from jobfleet.clock import monotonic
from jobfleet.outcome import Outcome

TRIES = 5
"""How many times a run passes again whose call comes too late each time."""
Again = Callable[[], Awaitable[Outcome | None]]


class NotStarted(BaseException):  # not an Exception: `except Exception` in middleware must not swallow it
    """The gates of a run have refused it right before the call of its function."""

    def __init__(self, outcome: Outcome) -> None:
        self.outcome = outcome
        super().__init__("its limits have no room any more; it is put back")


class Passage:
    """The pass of a run through its gates. Whatever delays the call asks for a new one when this one is too old.

    Args:
        until: When the function must be called at the latest (monotonic clock); infinite without a rate.
        again: Lets the run pass again; returns None, or the outcome of a run that may not start.
        refusal: The outcome of a run whose new passes are too old each time.

    Attributes:
        is_called: Whether the function was called.
    """

    def __init__(self, until: float, again: Again, refusal: Outcome) -> None:
        self.until = until
        self.is_called = False
        self._again = again
        self._refusal = refusal

    @property
    def is_late(self) -> bool:
        """Whether the run must pass again before the function is called. A second call of a run pays nothing."""
        return not self.is_called and monotonic() > self.until

    async def renewed(self) -> Outcome | None:
        """Pass again if it is too late for a call; return None, or the outcome of a run that may not start."""
        for _ in range(TRIES):
            if not self.is_late:
                return None
            if (outcome := await self._again()) is not None:
                return outcome
        return self._refusal if self.is_late else None

    async def before_call(self) -> None:
        """Note the call of the function, which follows at once.

        Raises:
            NotStarted: The run may not start.
        """
        if self.is_late and (outcome := await self.renewed()) is not None:
            raise NotStarted(outcome)
        self.is_called = True
