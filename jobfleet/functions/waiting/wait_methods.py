"""The waits of a job, as its function sees them: sleep, wait for a signal, make a token."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobfleet.event_loop import running_loop

if TYPE_CHECKING:
    from jobfleet.functions.running.run_port import RunPort
    from jobfleet.functions.steps import Steps
    from jobfleet.functions.waiting.waits import Waits


class WaitMethods:
    """The part of `JobContext` that ends a run to continue the job later."""

    __slots__ = ()

    if TYPE_CHECKING:
        job_id: str
        port: RunPort
        _held: dict[str, Any]

        @property
        def _steps(self) -> Steps: ...

    def sleep(self, delay: float | timedelta | str, *, key: str | None = None) -> Coroutine[Any, Any, None]:
        """End this run and continue the job later: ``await ctx.sleep("3d")``. A ``def`` job calls `sleep_sync`.

        The slot is free meanwhile, and no attempt is counted. The next run starts at the top of the function and
        passes the steps and waits that are over. A wait lasts from the first run that comes to it.

        Args:
            delay: Seconds, a timedelta, or a text such as ``"3d"``; at most ten years.
            key: The name of the wait within its job. Default: its number among the sleeps of the run. Give a key if
                the sleeps before it may differ in another run.

        Raises:
            InvalidJob: An argument is wrong, or the job has stored too much already.
            JobCancelled: The job must stop.
            TypeError: No event loop runs in this thread.
        """
        must_run_loop("sleep")
        return self._waits().sleep(delay, key)

    def sleep_sync(self, delay: float | timedelta | str, *, key: str | None = None) -> None:
        """End this run of a ``def`` job and continue the job later; see `sleep`."""
        must_not_run_loop("sleep")
        self.port.block(self._waits().sleep(delay, key))

    def wait_for(
        self, name: str, timeout: float | timedelta | str | None = None, *, only_token: bool = False
    ) -> Coroutine[Any, Any, Any]:
        """End this run until a signal comes: ``value = await ctx.wait_for("approved", timeout="2d")``.

        A ``def`` job calls `wait_for_sync`. The first signal of a name wins, and one that came before the wait counts.
        Each later wait for the same name returns the same value.

        Args:
            name: The name of the signal; 1 to 200 characters.
            timeout: Seconds, a timedelta, or a text such as ``"2d"``; at most ten years, which is the default.
            only_token: Whether only a token of this job sends the signal (`token`). Otherwise anybody who may send
                signals to the fleet's jobs does, too.

        Returns:
            The value that was sent.

        Raises:
            SignalTimeout: The signal did not come in time.
            InvalidJob: An argument is wrong, or the job has stored too much already.
            JobCancelled: The job must stop.
            TypeError: No event loop runs in this thread.
        """
        must_run_loop("wait_for")
        return self._waits().wait_for(name, timeout, only_token=only_token)

    def wait_for_sync(
        self, name: str, timeout: float | timedelta | str | None = None, *, only_token: bool = False
    ) -> Any:
        """End this run of a ``def`` job until a signal comes; see `wait_for`."""
        must_not_run_loop("wait_for")
        return self.port.block(self._waits().wait_for(name, timeout, only_token=only_token))

    def token(self, name: str) -> str:
        """Make a secret, safe in URLs, that sends the signal `name` once: ``POST /api/v1/signals/TOKEN``.

        Only its hash is stored, when the next step or wait starts. So give the token to others in a step.
        """
        return self._waits().token(name)

    def _waits(self) -> Waits:
        held: Waits | None = self._held.get("waits")
        if held is not None:
            return held
        from jobfleet.functions.waiting.waits import Waits  # for those who wait

        made: Waits = self._held.setdefault("waits", Waits(self.port, self._steps, self.job_id))
        return made


def must_run_loop(method: str) -> None:
    """Check that a method is called where an event loop runs.

    Raises:
        TypeError: No event loop runs in this thread.
    """
    if running_loop() is None:
        raise TypeError(f"ctx.{method} is awaited in an async def job; a def job calls ctx.{method}_sync.")


def must_not_run_loop(method: str) -> None:
    """Check that a method that blocks is called where no event loop runs.

    Raises:
        TypeError: An event loop runs in this thread.
    """
    if running_loop() is not None:
        raise TypeError(f"ctx.{method}_sync would block the event loop that runs here; await ctx.{method}.")
