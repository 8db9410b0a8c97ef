"""`Kit`: the clock, the faults and the effects of one fleet under test, and its workers."""

from __future__ import annotations

import os
import traceback
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

from jobfleet.fleet.sync import Fleet
from jobfleet.functions.context import JobContext
from jobfleet.functions.steps import STEP, Steps
from jobfleet.store.link.watched import WatchedLink
from jobfleet.testing.effects import Effects
from jobfleet.testing.faults import Faults
from jobfleet.testing.shifted import ShiftedClock


class WatchedSteps(Steps):
    """Steps before which a worker may be killed."""

    def __init__(self, ctx: JobContext, faults: Faults) -> None:
        super().__init__(ctx.port, ctx.job_id)
        self._faults = faults

    def _traced(self, key: str) -> AbstractContextManager[object]:
        """The span of a step, which is entered right before its function is called."""
        self._faults.reach(f"before-step:{key.removeprefix(STEP)}")
        return super()._traced(key)


class Kit:
    """What a test does to a fleet.

    Args:
        fleet: The fleet. From now on its connections are watched.

    Attributes:
        clock: The clock.
        faults: The kill points and lost replies.
        effects: The effects of jobs.
        explores: Whether every kill point is to be seen, not only those that are set.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.clock: ShiftedClock = ShiftedClock(f"{fleet.context.keys.tag}kit-clock")
        self.faults: Faults = Faults(self.clock)
        self.effects: Effects = Effects(self.faults)
        self.explores: bool = False
        store = fleet.store
        fleet.target = store.at = replace(store.at, watcher=self.faults)
        store.link = WatchedLink(store.link, self.faults)

    def work(self, queues: Sequence[str], *, process: bool) -> None:
        """Run a worker until no job is due, or until it is killed.

        Args:
            queues: The queues to serve.
            process: Whether it is a process of its own, which a kill point ends with SIGKILL.
        """
        with self._observed():
            if process:
                self._work_in_process(queues)
            else:
                with self.faults.working():
                    self._fleet.run_worker(queues=queues, burst=True, stop=self.faults.stop)

    def _work_in_process(self, queues: Sequence[str]) -> None:
        reports, report_to = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # 3.12 and later warn if there are threads
            child = os.fork()
        if child == 0:
            code = 1
            try:
                self.faults.report_to = report_to
                with self.faults.working():
                    self._fleet.run_worker(queues=queues, burst=True)
                code = 0
            except BaseException:  # noqa: BLE001 - a fork must not go on with the test
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(report_to)
        with os.fdopen(reports, "rb") as report:
            point = report.read().decode()
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status):
            raise RuntimeError("the process of the worker has failed; its traceback is above")
        self.faults.killed(point)

    @contextmanager
    def _observed(self) -> Iterator[None]:
        """Let each run pass through this kit, if kill points or effects are asked for."""
        if not (self.explores or self.faults.is_armed):
            yield
            return
        around = self._fleet.context.registry.around_run
        around.append(self._around)
        try:
            yield
        finally:
            around.remove(self._around)

    async def _around(self, ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        self.effects.started(ctx.job_id, ctx.fence)
        ctx._held["steps"] = WatchedSteps(ctx, self.faults)  # noqa: SLF001 - the steps of a context have no other place
        return await call_next()

    def close(self) -> None:
        """Give this process its own clock back."""
        self.clock.forget()
