"""What running jobs write: reports, the results of steps, and locks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, TypeVar

from jobfleet.clock import monotonic, wall_us
from jobfleet.codec import decode, is_refused
from jobfleet.config import JobConfig
from jobfleet.errors import InvalidJob, JobCancelled, JobfleetError, LockConflict, LockTimeout
from jobfleet.functions.steps import TOKEN, UNDO
from jobfleet.model import JobStatus
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.operation import drive_own
from jobfleet.services.confirmations import Confirmations
from jobfleet.services.places import ended_holders
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call, levels_in
from jobfleet.store.calls import inspect
from jobfleet.store.calls import run as run_calls
from jobfleet.store.calls.run import Acquired, Holder, Report
from jobfleet.store.calls.settle import Item
from jobfleet.store.channels import AsyncChannels
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Final
from jobfleet.worker.run.interfaces import RunEvents
from jobfleet.worker.run.reports import ChunkWriter, JobLogWriter, ProgressWriter
from jobfleet.worker.run.run import Key, Run
from jobfleet.worker.run.stop_ladder import StopLadder

log = logging.getLogger("jobfleet.worker")
_OF_WAITS = frozenset(name[:2] for name in (run_calls.WAIT, run_calls.UNSEALED, run_calls.REFUSED))


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
                if name.startswith(run_calls.REFUSED):
                    self._refused(run, name.removeprefix(run_calls.REFUSED), found[name])
        return found

    def _refused(self, run: Run, signal: str, record: bytes) -> None:
        """Report a signal that is ignored, in the worker's log and in that of the job."""
        text = f"The signal {signal!r} is ignored: {run_calls.refused_signal(record)[0]}"
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
            from jobfleet.operations.flows.preparing import undo_later

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
        if not await self._store.run(run_calls.drop_steps(lane, job_id, names)):
            return None
        (found,) = (await self._store.run(inspect.status(lane, (job_id,))))[1]
        if isinstance(found, Final) and found.status == JobStatus.COMPLETED and not is_refused(found.body):
            # It was replayed. A forged completion forbids no undo.
            return {}
        return await self._store.run(run_calls.steps(lane, job_id))

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


_writing: set[asyncio.Task[Any]] = set()
T = TypeVar("T")


async def shielded(write: Coroutine[Any, Any, T]) -> T:
    """Write something to its end, even if the awaiting task is cancelled."""
    task = asyncio.ensure_future(write)
    _writing.add(task)
    task.add_done_callback(_writing.discard)
    return await asyncio.shield(task)


class StepWriter:
    """Reads and stores the results of steps.

    Args:
        store: The connection, with endless patience: an outage must not lose the result of a step.
        ttl_ms: How long results are kept after the end of a job that has not completed: as long as it may be replayed.
        events: Receives runs that have lost their lease.
        confirmations: Confirms the steps of durable jobs; None if they are not to be confirmed.

    Attributes:
        ttl_ms: How long results are kept then.
    """

    def __init__(
        self, store: AsyncStore, *, ttl_ms: int, events: RunEvents, confirmations: Confirmations | None = None
    ) -> None:
        self._store = store
        self._confirmations = confirmations
        self.ttl_ms = ttl_ms
        self._events = events

    async def read(self, run: Run) -> dict[str, bytes]:
        """The results that earlier runs and this one have stored."""
        run.output.has_steps = True
        return await self._store.run(run_calls.steps(run.lane, run.id))

    async def keep(self, run: Run, key: str, record: bytes) -> None:
        """Store a result, even if the awaiting task is cancelled.

        Raises:
            InvalidJob: The job has stored too much.
            JobCancelled: Another run owns the job by now.
        """
        call = run_calls.keep(run.lane, run.id, run.token, ttl_ms=self.ttl_ms, step=key, record=record)
        word = await shielded(self._confirmed(run, call))
        if word == "lost":
            self._events.lost(run)
            raise JobCancelled(f"{run.id} is to stop: another run owns it by now.", job_id=run.id)
        if word == "full":
            is_token = key.startswith(TOKEN)
            what = "its token" if is_token else repr(key[2:])
            raise InvalidJob(
                f"{run.id} keeps too much: {what} is beyond {run_calls.MOST_STEPS:,} steps, checkpoints, waits, tokens "
                f"and signals, or {run_calls.MOST_STEP_BYTES // 1024**2} MiB of them; enqueue a job that continues, "
                "and return.",
                field="token" if is_token else "step",
            )

    async def _confirmed(self, run: Run, call: Call[str]) -> str:
        """Store a result. That of a durable job is used only once it is confirmed, or the run is to stop."""
        levels = levels_in((run.header,))
        if not levels or self._confirmations is None:
            return await self._store.run(call)
        return await self._confirmations.insist(
            run.lane, call, levels, what=f"a step of {run.id}", is_over=lambda: run.stop.interruption is not None
        )


POLL = 2.0
"""Seconds between two attempts to take a lock that nobody announces as free, such as that of a run that has crashed."""
NOTED_AFTER = 2.0
"""Seconds of a wait after which it is noted in the job's log and for `explain`, and between two notes for `explain`."""


class Locks:
    """Takes and releases the locks of the runs of a child. A run holds a place for as long as the lease of its job.

    A place has no lease of its own: a run that finds all places taken asks whether the runs that hold them still own
    their jobs, and takes the place of one that does not. So the renewal of a job's lease also renews its locks, in any
    kind of process.

    Per lock, one run of the child asks Redis at a time, in the order of their calls. The others wait for their turn.

    Args:
        store: The connection, with endless patience.
        keys: The fleet's keys.
    """

    def __init__(self, store: AsyncStore, keys: Keyspace) -> None:
        self._store = store
        self._keys = keys
        self._turns: dict[str, asyncio.Lock] = {}
        self._waiting: dict[str, int] = {}
        self._freed = Freed(store)
        self._attempts: dict[tuple[Key, int], asyncio.Task[object]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def acquire(self, run: Run, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Take a lock, or wait for it; return the fencing token. See `JobContext.lock`."""
        key = (run.key, number)
        task = asyncio.current_task()
        if task is not None:
            self._attempts[key] = task
        late = LockTimeout(f"Lock {name!r} (limit {limit}) had no free place within {timeout or 0:g} s.")
        try:
            async with asyncio.timeout(timeout or None) as bound:
                fence = await self._take(run, name, number, limit, is_patient=timeout != 0)
        except TimeoutError:
            if bound.expired():
                raise late from None
            raise
        finally:
            self._attempts.pop(key, None)
        if not fence:
            raise late
        return fence

    async def release(self, run: Run, name: str, number: int) -> None:
        """Release a lock, even if the awaiting task is cancelled; end the attempt to take it if it is not taken yet."""
        attempt = self._attempts.get((run.key, number))
        if attempt is not None and attempt is not asyncio.current_task():
            attempt.cancel()
        await asyncio.shield(self._give_back(name, Holder(run.token, number, run.id)))

    async def _take(self, run: Run, name: str, number: int, limit: int, *, is_patient: bool) -> int:
        """Take a lock; return 0 if it is not free, and the caller has no patience."""
        holder = Holder(run.token, number, run.id)
        if not is_patient or name not in self._turns:
            fence = await self._attempt(name, holder, limit)
            if fence or not is_patient:
                return fence
        noting = asyncio.ensure_future(self._note(run, name, holder, limit))
        try:
            async with self._turn(name):
                with self._freed.listening(self._keys.lock_freed(name)) as freed:
                    return await self._wait(name, holder, limit, freed)
        finally:
            noting.cancel()

    async def _wait(self, name: str, holder: Holder, limit: int, freed: asyncio.Event) -> int:
        while True:
            freed.clear()
            if fence := await self._attempt(name, holder, limit):
                return fence
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await freed.wait()

    async def _note(self, run: Run, name: str, holder: Holder, limit: int) -> None:
        """Note that a run waits for a lock, until this task is cancelled. A note is missing if it cannot be written."""
        began = monotonic()
        await asyncio.sleep(NOTED_AFTER)
        run.note(wall_us(), logging.INFO, f"waits for lock {name!r} (limit {limit})")
        try:
            while True:
                waited_us = round((monotonic() - began) * 1e6)
                with suppress(JobfleetError):
                    await self._store.run(run_calls.note_wait(self._keys, name, holder, limit, waited_us=waited_us))
                await asyncio.sleep(NOTED_AFTER)
        finally:
            self._start(self._end_note(holder))

    async def _end_note(self, holder: Holder) -> None:
        with suppress(JobfleetError):
            await self._store.run(run_calls.end_wait(self._keys, holder))

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Wait until no other run of this child asks for the lock."""
        turn = self._turns.setdefault(name, asyncio.Lock())
        self._waiting[name] = self._waiting.get(name, 0) + 1
        try:
            async with turn:
                yield
        finally:
            self._waiting[name] -= 1
            if not self._waiting[name]:
                del self._waiting[name], self._turns[name]

    async def _attempt(self, name: str, holder: Holder, limit: int) -> int:
        """Try once; return 0 if all places are taken.

        Raises:
            LockConflict: Others hold the lock with another limit.
        """
        found = await self._try(name, holder, limit)
        if found.holders and (ended := await ended_holders(self._store, self._keys, found.holders)):
            found = await self._try(name, holder, limit, ended)
        if found.limit:
            raise LockConflict(
                f"Lock {name!r} is held with the limit {found.limit}, not {limit}: give all its uses the same limit."
            )
        return found.fence

    async def _try(self, name: str, holder: Holder, limit: int, ended: Sequence[str] = ()) -> Acquired:
        call = run_calls.acquire(self._keys, name, holder, limit, ended=ended)
        task = asyncio.ensure_future(self._store.run(call))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._give_back(name, holder, after=task)
            raise

    def _give_back(
        self, name: str, holder: Holder, *, after: asyncio.Task[Acquired] | None = None
    ) -> asyncio.Task[None]:
        """Start to release a place, if need be after the request that may take it."""

        async def given_back() -> None:
            if after is not None:
                with suppress(JobfleetError):
                    await after
            await self._store.run(run_calls.release(self._keys, name, holder))

        return self._start(given_back())

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that does not end with the run."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


class Freed:
    """Listens to the releases of locks, over one connection while a run waits.

    Args:
        store: Has the address of the server.
    """

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._events: dict[str, asyncio.Event] = {}
        self._channels: AsyncChannels | None = None
        self._reader: asyncio.Task[None] | None = None

    @contextmanager
    def listening(self, channel: str) -> Iterator[asyncio.Event]:
        """Listen to a channel within the block; the event is set when the lock may be free."""
        event = self._events[channel] = asyncio.Event()
        if self._channels is None:
            self._channels = AsyncChannels(self._store.at)
            self._reader = asyncio.ensure_future(self._read(self._channels))
        channels = self._channels
        channels.subscribe((channel,))
        try:
            yield event
        finally:
            del self._events[channel]
            channels.unsubscribe((channel,))

    async def _read(self, channels: AsyncChannels) -> None:
        try:
            while self._events:
                for message in await channels.read(POLL):
                    if (event := self._events.get(message.channel)) is not None:
                        event.set()
        finally:
            self._channels = None
            await channels.close()
