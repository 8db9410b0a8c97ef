"""The main program of an isolated process: it runs one job after the other in its main thread.

While a job runs, threads read from the channel (`Inbox`) and write to it. A stop reaches a coroutine as
`asyncio.CancelledError`, and a plain function as `JobCancelled`, raised by a signal handler, so that it interrupts
``time.sleep`` too.
"""

from __future__ import annotations

import asyncio
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from contextvars import copy_context
from typing import Any, Protocol

from jobfleet.clock import boottime
from jobfleet.codec import encode, open_envelope
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.errors import JobCancelled
from jobfleet.functions.options import size_text
from jobfleet.model import split_id
from jobfleet.store.keys import Keyspace
from jobfleet.store.records import Grant
from jobfleet.worker.executors.isolated import confinement
from jobfleet.worker.executors.isolated.channel import ChannelEnd, EndReport, describe_ending
from jobfleet.worker.executors.isolated.confinement import end_group, has_children
from jobfleet.worker.executors.isolated.loading import find, flush, loop_factory, missing, ready, warm_up
from jobfleet.worker.executors.isolated.remote_run import IsolatedRun
from jobfleet.worker.run import hooks as process_hooks
from jobfleet.worker.run.context import context_of, inject
from jobfleet.worker.run.handlers import Handler, Handlers
from jobfleet.worker.run.log_capture import CURRENT
from jobfleet.worker.run.resources import Resources, RunResources

INTERRUPT = signal.SIGUSR2
_set_handler = getattr(signal.signal, "__wrapped__", signal.signal)
"""`signal.signal` without its enums, which cost more than the calls themselves. Called twice per job."""
_INTERRUPT, _TERM, _DEFAULT = int(INTERRUPT), int(signal.SIGTERM), int(signal.SIG_DFL)
CLOSING = 0.3
"""Seconds that resources may take to close. The worker's process does not wait much longer."""
LEFTOVERS = 1.0
"""Seconds that leftover tasks of a coroutine may take to end."""


class JobHost:
    """Runs the jobs of one isolated process.

    Args:
        frames: The frames from the worker's process.
        talker: Sends frames to the worker's process.
        child: The child whose jobs it runs.
        config: The settings.
        handlers: The functions.
    """

    def __init__(self, frames: Frames, talker: ChannelEnd, child: str, config: JobConfig, handlers: Handlers) -> None:
        self._handlers = handlers
        self._talker = talker
        self._child = child
        self._config = config
        self._keys = Keyspace(config.namespace)
        self._limits = limits_of(config)
        self._inbox = Inbox(frames, self._received, end_group)
        self._latest: IsolatedRun | None = None
        self._run: IsolatedRun | None = None
        self._is_armed = False
        self._task: asyncio.Task[Any] | None = None
        self._loops: asyncio.Runner | None = None
        self._resources = Resources()
        self._run_resources: RunResources | None = None
        self._main = threading.main_thread().ident or 0
        self._is_limited_for_good = False

    def serve(self) -> None:
        """Run jobs until the frame ``leave`` arrives. This process ends with the worker's process in any case."""
        hooks = self._handlers.hooks
        if not hooks.on_starts:
            ready(self._talker)
        elif not self._loop_runner().run(warm_up(self._handlers, self._talker)):
            return
        self._take_signals()
        self._inbox.start()
        try:
            self._run_jobs()
        finally:
            self._inbox.close()
        if self._loops is not None:
            self._loops.run(self._resources.close(CLOSING))
        if hooks.on_stops:
            self._loop_runner().run(process_hooks.stop(hooks, CLOSING))
        if self._loops is not None:
            self._loops.close()

    def _run_jobs(self) -> None:
        while (frame := self._inbox.next_order())[0] == "run":
            _, number, order = frame
            self._latest = self._run = run = self._opened(number, order)
            self._inbox.begun()
            report = self._carry_out(run, order)
            self._run = None
            flush()
            self._talker.finish("ended", number, report, not has_children() and not self._is_limited_for_good)
            del frame, run, order, report

    def _opened(self, number: int, order: dict[str, Any]) -> IsolatedRun:
        grant = Grant(*order["grant"])
        place = split_id(grant.id)
        lane = self._keys.lane(place.queue, place.lane)
        run = IsolatedRun(number, lane, grant, self._talker, self._limits, on_ask=self._inbox.attend)
        run.parents = [tuple(row) for row in order["parents"]]
        run.join_trace(self._handlers.hooks.tracer, order)
        return run

    def _received(self, frame: list[Any]) -> None:
        """Take a frame about a run."""
        word, number, *rest = frame
        if self._latest is not None and number == self._latest.number:
            self._take(self._latest, word, *rest)

    def _take(self, run: IsolatedRun, word: str, *rest: Any) -> None:
        if word == "answer":
            number, value, error = rest
            run.answered(number, value, tuple(error) if error else None)
            return
        run.flag(*rest)
        if word == "stop":
            run.is_stopped = True
            signal.pthread_kill(self._main, INTERRUPT)
            if self._loops is not None:
                self._loops.get_loop().call_soon_threadsafe(self._cancel, run)

    def _take_signals(self) -> None:
        _set_handler(_INTERRUPT, self._interrupt)
        _set_handler(_TERM, _DEFAULT)

    def _interrupt(self, *_: object) -> None:
        """Raise in the main thread, once per job, if the job is to stop."""
        if self._is_armed and self._run is not None and self._run.is_stopped:
            self._is_armed = False
            raise JobCancelled(f"{self._run.id} is to stop: {self._run.must_stop}.", job_id=self._run.id)

    def _cancel(self, run: IsolatedRun) -> None:
        if self._run is run and self._task is not None:
            self._task.cancel()

    def _carry_out(self, run: IsolatedRun, order: dict[str, Any]) -> EndReport:
        try:
            handler = find(self._handlers, order)
        except Exception as error:  # noqa: BLE001 - whatever the user's module raises while it is imported
            return missing(order, error)
        if boottime() >= order["until"]:  # slow imports, or a frozen process
            asyncio.run(run.lease_confirmed())
            if run.must_stop is not None:
                return self._report(
                    run, handler, JobCancelled(f"{run.id} was not started: {run.must_stop}.", job_id=run.id)
                )
        self._take_signals()  # each time, because an earlier job may have changed them
        confinement.be_nice(order["nice"])
        memory, bounds = order["memory"], confinement.Bounds()
        try:
            with confinement.bounded(memory, order["cpu"]) as bounds:
                value = copy_context().run(self._call, run, handler)
            return {"how": "value", "value": encode(value, limits=self._limits, what="result")}
        except MemoryError as error:
            if memory:
                return {"how": "oom", "reason": f"memory limit of {size_text(memory)} (rlimit)"}
            return self._report(run, handler, error)
        except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
            return self._report(run, handler, error)
        finally:
            self._is_limited_for_good |= not bounds.is_lifted

    def _report(self, run: IsolatedRun, handler: Handler, error: BaseException) -> EndReport:
        return describe_ending(run, handler, error, traceback_bytes=self._config.traceback_bytes)

    def _call(self, run: IsolatedRun, handler: Handler) -> Any:
        """Call the function."""
        opened = open_envelope(run.grant.envelope, limits=self._limits)
        run.header, args, kwargs = opened.header, opened.args, opened.kwargs
        run.handler = handler
        CURRENT.set(run)
        if run.span is not None:
            run.span.enter()
        injection = handler.function.injection
        if not injection.has_run_scope:
            injected: dict[str, Any] = {}
            if injection.resources:
                injected = self._await(run, lambda: self._resources.open_all(injection.resources))
            return self._called(run, handler, args, kwargs, injected)
        own = self._run_resources = RunResources(self._resources)
        try:
            injected = self._await(run, lambda: own.open_all(injection.resources))
            value = self._called(run, handler, args, kwargs, injected)
        except BaseException as error:
            self._loop_runner().run(own.close(error))
            raise
        self._loop_runner().run(own.close(None))
        return value

    def _called(
        self, run: IsolatedRun, handler: Handler, args: list[Any], kwargs: dict[str, Any], injected: dict[str, Any]
    ) -> Any:
        injection = handler.function.injection
        if not injection.is_none:
            context = context_of(run, self._child, args, kwargs)
            args, kwargs = inject(injection, context, args, kwargs, injected)
        if handler.function.is_coroutine:
            return self._await(run, lambda: handler.call(*args, **kwargs))
        return self._guarded(run, lambda: handler.call(*args, **kwargs))

    def _guarded(self, run: IsolatedRun, call: Callable[[], Any]) -> Any:
        try:
            self._is_armed = True
            if run.is_stopped:
                self._interrupt()
            return call()
        finally:
            self._is_armed = False

    def _await(self, run: IsolatedRun, call: Callable[[], Any]) -> Any:
        value, error = self._loop_runner().run(self._tasked(run, call), context=copy_context())
        if error is not None:
            raise error
        return value

    def _loop_runner(self) -> asyncio.Runner:
        if self._loops is None:
            runner = asyncio.Runner(loop_factory=loop_factory())
            runner.get_loop()  # created here, because the reading thread must not create it
            self._loops = runner
        return self._loops

    async def _tasked(self, run: IsolatedRun, call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        self._task = asyncio.ensure_future(_captured(call))
        if run.is_stopped:
            self._task.cancel()
        try:
            ending: tuple[Any, BaseException | None] = await self._task
        except asyncio.CancelledError as error:  # before it had begun
            return None, error
        else:
            return ending
        finally:
            self._task = None
            left = asyncio.all_tasks() - {asyncio.current_task()} - self._resources.tasks
            left -= self._run_resources.tasks if self._run_resources is not None else set()
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left, timeout=LEFTOVERS)


async def _captured(call: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """The value or the error of a coroutine. A raised `SystemExit` would end the loop and reach the next job."""
    try:
        return await call(), None
    except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is an outcome
        return None, error


TICK = 0.005
"""Seconds between two checks of whether the same job is still running. A stop reaches a job within two."""

ORDERS = ("run", "leave")
"""The frames for the main thread."""


class Frames(Iterator[list[Any]], Protocol):
    """Waits for frames."""

    def arrived(self) -> list[Any] | None:
        """A frame that has arrived with the one before; None if there is none."""


class Inbox:
    """Receives the frames of one isolated process, and needs no change of threads per job.

    Between two jobs, the main thread reads the channel itself. While a job runs, the main thread cannot read. If the
    job is still running after a few milliseconds, or awaits an answer, a thread reads in its place, until the next
    order.

    Args:
        frames: The frames from the worker's process.
        on_frame: Called with each frame that is not an order, in the thread that reads.
        on_cut: Called when the worker's process is gone, or reading fails in the thread; it ends this process.
    """

    def __init__(self, frames: Frames, on_frame: Callable[[list[Any]], None], on_cut: Callable[[], None]) -> None:
        self._frames, self._on_frame, self._on_cut = frames, on_frame, on_cut
        self._lock = threading.Lock()
        self._begun, self._hurry = threading.Event(), threading.Event()
        self._orders: queue.SimpleQueue[list[Any]] = queue.SimpleQueue()
        self._job = 0
        self._is_idle, self._is_over = True, False
        self._thread_reads = False

    def start(self) -> None:
        """Start the thread that reads while a job runs."""
        threading.Thread(target=self._read, name="jobfleet-reader", daemon=True).start()

    def next_order(self) -> list[Any]:
        """Wait for the next order. Only the main thread calls this; it calls `begun` if the order is a job."""
        with self._lock:
            self._is_idle = True
            reads_itself = not self._thread_reads and self._orders.empty()
        if not reads_itself:
            return self._orders.get()
        order = self._next()
        if order is None:
            self._on_cut()
        return order or ["leave"]

    def begun(self) -> None:
        """A job begins. What has arrived about it is taken now; from now on the thread may read."""
        while (frame := self._frames.arrived()) is not None:
            self._orders.put(frame) if frame[0] in ORDERS else self._on_frame(frame)
        self._job += 1
        self._is_idle = False
        if not self._begun.is_set():
            self._begun.set()

    def attend(self) -> None:
        """Read now, because the running job awaits an answer. Any thread may call this."""
        with self._lock:
            if self._thread_reads:
                return
            self._hurry.set()
            self._begun.set()

    def close(self) -> None:
        """The main thread takes no more orders. The thread notices if the worker's process ends meanwhile."""
        self._is_over = True
        self.begun()
        self.attend()

    def _read(self) -> None:
        try:
            while True:
                self._begun.wait()
                self._begun.clear()
                job = self._job  # read after the clearing: a job that begins later sets it again
                self._hurry.wait(TICK)
                if not self._take_over(job):
                    continue
                order = self._next()
                while self._is_over and order is not None:
                    order = self._next()
                if order is None:
                    return
                with self._lock:
                    self._thread_reads = False
                    self._orders.put(order)
        finally:  # also when reading fails: a process that cannot be stopped must not stay
            self._on_cut()

    def _take_over(self, job: int) -> bool:
        """Let the thread read if the same job is still running, or if any job awaits an answer."""
        with self._lock:
            is_hurried = self._hurry.is_set()
            self._hurry.clear()
            if self._is_idle or (job != self._job and not is_hurried):
                return False
            self._thread_reads = True
            return True

    def _next(self) -> list[Any] | None:
        """Read until the next order; None if the worker's process is gone."""
        for frame in self._frames:
            if frame[0] in ORDERS:
                return frame
            self._on_frame(frame)
        return None
