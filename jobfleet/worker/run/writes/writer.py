"""What running jobs write: progress, logs, output streams, and the results of steps."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from jobfleet.clock import wall_us
from jobfleet.codec import decode, is_refused
from jobfleet.config import JobConfig
from jobfleet.functions.steps import UNDO
from jobfleet.model import JobStatus
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive_own
from jobfleet.services.confirmations import Confirmations
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls import inspect
from jobfleet.store.calls import run as step_calls
from jobfleet.store.calls.run import Report
from jobfleet.store.calls.settle import Item
from jobfleet.store.records import Final
from jobfleet.worker.run.events import RunEvents
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.stop_ladder import StopLadder
from jobfleet.worker.run.writes.chunks import ChunkWriter
from jobfleet.worker.run.writes.job_log import JobLogWriter
from jobfleet.worker.run.writes.locks import Locks
from jobfleet.worker.run.writes.progress import ProgressWriter
from jobfleet.worker.run.writes.steps import StepWriter, shielded

log = logging.getLogger("jobfleet.worker")
_OF_WAITS = frozenset(name[:2] for name in (step_calls.WAIT, step_calls.UNSEALED, step_calls.REFUSED))

log = logging.getLogger("jobfleet.worker")
_OF_WAITS = frozenset(name[:2] for name in (step_calls.WAIT, step_calls.UNSEALED, step_calls.REFUSED))

if TYPE_CHECKING:
    from jobfleet.functions.port import FlowAddition
    from jobfleet.functions.registry import Registry


class RunWriter:
    """Takes what a child's runs write.

    Args:
        store: The connection.
        config: The settings.
        ladder: Extends time limits.
        events: Receives runs that have lost their lease, or are to be cancelled.
        registry: The registered functions.
        confirmations: Confirms the steps of durable jobs.

    Attributes:
        loop: The child's event loop.
        is_draining: Whether the child drains; the engine sets it.
        progress_writer: Sends progress.
        log_writer: Sends logs.
        chunk_writer: Sends output streams.
        step_writer: Stores the results of steps.
        progress_ms: How long progress is kept.
    """

    def __init__(
        self,
        store: AsyncStore,
        config: JobConfig,
        *,
        ladder: StopLadder,
        events: RunEvents,
        registry: Registry,
        confirmations: Confirmations | None = None,
    ) -> None:
        self._store = store
        self._ladder = ladder
        self._context = FleetContext(config, registry, is_of_run=True)
        self._locks = Locks(store, self._context.keys)
        self.loop = asyncio.get_running_loop()
        self.is_draining = False
        self.progress_ms = result_ms = round(config.result_ttl * 1000)
        failed_ms = round(config.failed_result_ttl * 1000)
        self.progress_writer = ProgressWriter(store, rate=config.progress_rate, ttl_ms=result_ms, events=events)
        self.log_writer = JobLogWriter(
            store,
            most_lines=config.job_log_lines,
            most_bytes=config.job_log_bytes,
            ttl_ms=max(result_ms, failed_ms),
            events=events,
        )
        self.chunk_writer = ChunkWriter(
            store,
            most=config.stream_chunks,
            most_bytes=config.stream_bytes,
            ttl_ms=max(result_ms, failed_ms),
            events=events,
        )
        # A replayed dead letter must find the steps that were done.
        self.step_writer = StepWriter(
            store,
            ttl_ms=max(failed_ms, round(config.dead_ttl * 1000)),
            events=events,
            confirmations=confirmations,
        )

    def last(self, run: Run, item: Item) -> tuple[Report | None, Sequence[Call[Any]]]:
        """What is sent with the end of a run: the last report, and calls for its log and its output."""
        report = self.progress_writer.take(run) if run.output.number else None
        if run.output.log is None and run.output.chunks is None:
            return report, ()
        ttl_ms: int | None = None
        if item.verb == "complete_briefly":
            ttl_ms = item.value_ttl_ms
        elif item.verb in {"complete", "complete_kept"}:
            ttl_ms = item.ttl_ms
        calls: list[Call[Any]] = [*self.log_writer.calls(run.lane, self.log_writer.take(run, ttl_ms))]
        if run.output.chunks is not None:
            calls += self.chunk_writer.end(run, ttl_ms)
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

    def emit(self, run: Run, record: bytes) -> bool:
        """Take a chunk of a run's output, from any thread, without waiting; return whether there is room for more."""
        return self.chunk_writer.emit(run, record)

    async def wait_for_room(self, run: Run) -> None:
        """Return once there is room for more chunks of a run."""
        await self.chunk_writer.wait_for_room(run)

    async def read_steps(self, run: Run) -> Mapping[str, bytes]:
        """The encoded results of the steps that this run and earlier runs have stored."""
        found = await self.step_writer.read(run)
        if run.lane.seals is not None:
            before, run.output.waits = run.output.waits, {name: found[name] for name in found if name[:2] in _OF_WAITS}
            for name in run.output.waits.keys() - before.keys():
                if name.startswith(step_calls.REFUSED):
                    self._refused(run, name.removeprefix(step_calls.REFUSED), found[name])
        return found

    def _refused(self, run: Run, signal: str, record: bytes) -> None:
        """Report a signal that is ignored, in the worker's log and in that of the job."""
        text = f"The signal {signal!r} is ignored: {step_calls.refused_signal(record)[0]}"
        log.warning("job.signal_refused job_id=%s %s", run.id, text, extra={"run": run})
        self.note(run, wall_us(), logging.WARNING, text)

    async def keep_step(self, run: Run, key: str, record: bytes) -> None:
        """Store the encoded result of a step.

        Raises:
            InvalidJob: The job has stored too much.
            JobCancelled: Another run owns the job by now.
            NotWritten: The job that undoes the steps cannot be enqueued now.
        """
        await self.step_writer.keep(run, key, record)
        if key == UNDO:  # the name of the job that undoes the steps, which is to be there before they start
            from jobfleet.operations.flows.callbacks import undo_later

            work = undo_later(self._context, run.id, decode(record, what="undo"))
            await shielded(drive_own(self._store, work))  # half-written, it would stay blocked until a sweep

    async def extend_flow(self, run: Run, addition: FlowAddition) -> list[str]:
        """Add jobs to the flow of a run's job. If this is cancelled halfway, the next run of the job completes it.

        Raises:
            NotWritten: They cannot be added now.
        """
        from jobfleet.operations.flows.extend import extend_flow

        return await drive_own(self._store, extend_flow(self._context, run.id, str(run.header["flow"]), addition))

    async def undo(self, job_id: str, names: Sequence[str]) -> Mapping[str, bytes] | None:
        """Delete records of the steps of an ended job, and return those that are left; None if the job is open."""
        lane = self._context.keys.lane_of(job_id)
        if not await self._store.run(step_calls.drop_steps(lane, job_id, names)):
            return None
        (found,) = (await self._store.run(inspect.status(lane, (job_id,))))[1]
        if isinstance(found, Final) and found.status == JobStatus.COMPLETED and not is_refused(found.body):
            # It was replayed. A forged completion forbids no undo.
            return {}
        return await self._store.run(step_calls.steps(lane, job_id))

    async def acquire_lock(self, run: Run, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Take a lock, or wait for it; return the fencing token.

        Raises:
            LockTimeout: No place was free in time.
            LockConflict: Others hold the lock with another limit.
            JobCancelled: The job must stop.
        """
        return await self._locks.acquire(run, name, number, limit, timeout)

    async def release_lock(self, run: Run, name: str, number: int) -> None:
        """Release a lock, or end the attempt to take it."""
        await self._locks.release(run, name, number)

    async def flush(self) -> None:
        """Send gathered progress, log lines and chunks."""
        await self.progress_writer.flush()
        await self.log_writer.flush()
        await self.chunk_writer.flush()
