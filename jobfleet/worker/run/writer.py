"""What running jobs write: progress, their logs, the results of their steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.config import JobConfig
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.progress import Report
from jobfleet.store.calls.settle import Item
from jobfleet.worker.run.job_log import JobLogWriter
from jobfleet.worker.run.progress import ProgressWriter
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.steps import StepWriter
from jobfleet.worker.run.stop_ladder import StopLadder

if TYPE_CHECKING:
    from jobfleet.functions.flow_addition import FlowAddition
    from jobfleet.functions.registry import Registry


class RunWriter:
    """Where a child's runs hand in what they write.

    Args:
        store: How it is sent.
        config: The settings.
        ladder: Extends time limits.
        on_lost: Is told of a run whose lease is lost.
        on_cancel: Is told of a run that is to be cancelled.
        registry: The functions that are known here.

    Attributes:
        loop: The event loop it is sent on.
        reporter: Sends progress.
        scribe: Sends logs.
        shelf: Keeps steps.
        progress_ms: How long progress is kept.
    """

    def __init__(
        self,
        store: AsyncStore,
        config: JobConfig,
        *,
        ladder: StopLadder,
        on_lost: Callable[[Run], None],
        on_cancel: Callable[[Run], None],
        registry: Registry,
    ) -> None:
        self._store = store
        self._ladder = ladder
        self._context = FleetContext(config, registry)
        self.loop = asyncio.get_running_loop()
        self.progress_ms = result_ms = round(config.result_ttl * 1000)
        failed_ms = round(config.failed_result_ttl * 1000)
        self.progress_writer = ProgressWriter(
            store, rate=config.progress_rate, ttl_ms=result_ms, on_lost=on_lost, on_cancel=on_cancel
        )
        self.log_writer = JobLogWriter(
            store,
            most_lines=config.job_log_lines,
            most_bytes=config.job_log_bytes,
            ttl_ms=max(result_ms, failed_ms),
            on_lost=on_lost,
        )
        # A dead letter that is replayed must find the steps that were done.
        self.step_writer = StepWriter(store, ttl_ms=max(failed_ms, round(config.dead_ttl * 1000)), on_lost=on_lost)

    def last(self, run: Run, item: Item) -> tuple[Report | None, Sequence[Call[Any]]]:
        """What is sent with a run's end: its last report and lines, and how long its log and steps are kept."""
        report = self.progress_writer.take(run) if run.output.number else None
        if run.output.log is None and not run.output.has_steps:
            return report, ()
        ttl_ms = item.ttl_ms if item.verb == "complete" else None
        calls: list[Call[Any]] = [*self.log_writer.calls(run.lane, self.log_writer.take(run, ttl_ms))]
        if run.output.has_steps and ttl_ms is not None:
            calls.append(self.step_writer.end(run, ttl_ms))
        return report, calls

    def report(self, run: Run, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Take a progress report, from any thread, without waiting for Redis.

        Raises:
            EncodingError: `details` cannot be encoded.
        """
        self.progress_writer.report(run, value, message, details)

    def extend(self, run: Run, seconds: float) -> None:
        """Extend the time limits of a run, from any thread; nothing happens if it has none."""
        if run.stop.has_limits:
            self._ladder.extend(run, seconds)

    def note(self, run: Run, at_us: int, level: int, text: str) -> None:
        """Take a line of the job's log, from any thread, without waiting for Redis."""
        self.log_writer.note(run, at_us, level, text)

    async def read_steps(self, run: Run) -> Mapping[str, bytes]:
        """The encoded results of the steps that this run and earlier runs have stored."""
        return await self.step_writer.read(run)

    async def keep_step(self, run: Run, key: str, record: bytes) -> None:
        """Store the encoded result of a step.

        Raises:
            InvalidJob: The job has stored too much.
            JobCancelled: Another run owns the job by now.
        """
        await self.step_writer.keep(run, key, record)

    async def extend_flow(self, run: Run, wish: FlowAddition) -> list[str]:
        """Add jobs to the flow of a run's job; whoever awaits it may be cancelled, and the job's next run goes on."""
        from jobfleet.operations.flows.extend import extend_flow

        return await drive(self._store, extend_flow(self._context, run.id, str(run.header["flow"]), wish))

    async def flush(self) -> None:
        """Send what has gathered."""
        await self.progress_writer.flush()
        await self.log_writer.flush()
