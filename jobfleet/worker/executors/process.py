"""Isolated processes for jobs: a job can only harm its own process, and it can always be ended.

Stages: `Stage.RAISED` raises `JobCancelled` in a plain function, also out of a call that blocks, and
cancels a coroutine. `Stage.TERMINATED` sends the process SIGTERM, which ends it unless the job handles
that signal. `Stage.KILLED` kills it and all it has started.
"""

from __future__ import annotations

import asyncio
import itertools
import signal
from collections.abc import Sequence
from functools import partial
from typing import Any, Generic, TypeVar

from jobfleet.codec import decode
from jobfleet.codec.values import limits_of
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError, InvalidJob, JobCancelled, how_it_died
from jobfleet.functions.options import Isolation, size_text
from jobfleet.outcome import Crashed, OutOfCpu, OutOfMemory
from jobfleet.worker.executors.isolated.channel import EndReport, error_of, open_flow_addition, value_of
from jobfleet.worker.executors.isolated.confinement import cpu_time, oom_kills, resident
from jobfleet.worker.executors.isolated.processes import IsolatedProcess, Pool
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run import telemetry
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.interfaces import Died, OnEnd
from jobfleet.worker.run.run import Key, Run, Stage

# Runs whose code is in another process: the frames to that process, and the frames from it.


LOOK_EVERY = 0.2
"""Seconds between two checks of what the processes use, and of whether their jobs are to stop."""


CHUNK_MOST = 128 * 1024
"""The largest chunk of output in bytes that a process may send; it refuses smaller ones itself."""
FLOOD = 4 * 1024 * 1024
"""Bytes of unsent chunks of a process that does not wait for room, after which it is ended."""

Flags = tuple[str | None, str | None, bool]


class RemoteRun:
    """One run in its process.

    Attributes:
        number: Its number on the channel.
        run: The run.
        job_process: The process.
        on_end: Called with its value or its error.
        flags: What the process knows about the stop of the run: who has cancelled it, why it is to stop, and whether
            this process drains.
        is_stopped: Whether it was interrupted, and not only asked to stop.
        is_ended: Whether it has ended.
    """

    def __init__(self, number: int, run: Run, job_process: IsolatedProcess, on_end: OnEnd) -> None:
        self.number = number
        self.run = run
        self.job_process = job_process
        self.on_end = on_end
        self.flags: Flags = (None, None, False)
        self.is_stopped = False
        self.is_ended = False

    @property
    def is_stopping(self) -> bool:
        """Whether the run is to stop, for any reason."""
        return self.is_stopped or self.run.stop.interruption is not None or self.run.stop.cancel_by is not None


S = TypeVar("S", bound=RemoteRun)


def _floods(run: Run) -> bool:
    return run.output.chunks is not None and run.output.chunks.bytes > FLOOD


def _flags(run: Run) -> Flags:
    return run.stop.cancel_by, run.must_stop, run.is_draining


class RemoteExecutor(Generic[S]):
    """The common part of executors whose runs are in other processes.

    Args:
        config: The settings.
        board: The child's lease board, which shows that a run's code is not in this process.
    """

    def __init__(self, config: JobConfig, board: LeaseBoard) -> None:
        self._limits = limits_of(config)
        self._board = board
        self._remotes: dict[Key, S] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._answering: set[asyncio.Task[None]] = set()

    def flush(self) -> None:
        """Nothing waits for others here. The processes learn that this one drains."""
        for remote in list(self._remotes.values()):
            self._flag(remote)

    def close(self) -> None:
        """End all processes now. No end is reported for a run that is still there."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._answering:
            task.cancel()
        self._remotes.clear()

    def _send_run(self, remote: S, handler: Handler, **limits: object) -> None:
        """Send a run to its process."""
        run, function = remote.run, handler.function
        self._remotes[run.key] = remote
        self._board.apart(run.lease.place)
        order = {
            "grant": list(run.grant), "name": function.name, "module": function.__module__,
            "qualname": function.__qualname__, "parents": [list(row) for row in run.parents], "until": run.lease.until,
            **limits,
        }  # fmt: skip
        if run.span is not None:
            order["trace"] = telemetry.trace_context_of(run)
        remote.job_process.send("run", remote.number, order)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)

    def _take_back(self, remote: S) -> None:
        """A run has ended in its process. From now on this process has it again, and may call hooks."""
        remote.is_ended = True
        self._remotes.pop(remote.run.key, None)
        if not remote.run.ending.is_over:  # otherwise it was given back, and another run may have its place
            self._board.started(remote.run.lease.place)

    def _look(self) -> None:
        """Send changed flags, and check what the processes use."""
        for remote in list(self._remotes.values()):
            self._flag(remote)
            self._watch(remote)
        self._timer = self._loop.call_later(LOOK_EVERY, self._look) if self._remotes else None

    def _watch(self, remote: S) -> None:
        """Check what the process of a run uses."""

    def _flag(self, remote: S) -> None:
        flags = _flags(remote.run)
        if flags != remote.flags:
            remote.flags = flags
            remote.job_process.send("flag", remote.number, *flags)

    def _interrupt(self, remote: S) -> None:
        """Make the process raise in the run's code."""
        remote.is_stopped = True
        remote.flags = _flags(remote.run)
        remote.job_process.send("stop", remote.number, *remote.flags)

    def _received(self, remote: S, word: str, rest: list[Any]) -> None:
        run = remote.run
        match word, rest:
            case "report", [record]:
                run.report(*decode(record, what="progress"))
            case "extend", [seconds]:
                run.extend(seconds)
            case "note", [at_us, level, text]:
                run.note(at_us, level, text)
            case "emit", [bytes(record)] if len(record) <= CHUNK_MOST and not _floods(run):
                if not run.ending.is_over:
                    run.emit(record)
            case (
                "steps" | "keep" | "undo" | "extend_flow" | "confirm" | "acquire_lock" | "release_lock" | "room",
                [number, *what],
            ):
                task = self._loop.create_task(self._answer(remote, word, number, what))
                self._answering.add(task)
                task.add_done_callback(self._answering.discard)
            case "ended", [report, is_clean]:
                self._ended(remote, report, is_clean=is_clean)
            case _:
                raise ValueError(f"{[word, *rest]!r:.80} is not a frame")

    def _ended(self, remote: S, report: EndReport, *, is_clean: bool) -> None:
        """A run has ended: name its outcome, and keep or end its process."""
        raise NotImplementedError

    async def _answer(self, remote: S, word: str, number: int, what: list[Any]) -> None:
        value: Any = None
        error = None
        if remote.run.span is not None:
            remote.run.span.enter()
        try:
            if word == "steps":
                value = dict(await remote.run.steps())
            elif word == "confirm":
                await remote.run.lease_confirmed()
                value = remote.run.must_stop
            elif word == "room":
                await remote.run.wait_for_room()
            elif word == "extend_flow":
                value = list(await remote.run.extend_flow(open_flow_addition(what[0], limits=self._limits)))
            elif word == "undo":
                left = await remote.run.undo(*what)
                value = None if left is None else dict(left)
            elif word == "acquire_lock":
                value = await remote.run.acquire_lock(*what)
            elif word == "release_lock":
                await remote.run.release_lock(*what)
            else:
                await remote.run.keep(*what)
        except Exception as raised:  # noqa: BLE001 - the error is sent to the process
            error = (type(raised).__name__, str(raised))
        if not remote.is_ended:
            remote.job_process.send("answer", remote.number, number, value, error)

    def _hand_over(self, remote: S, report: EndReport, *, is_stopping: bool) -> None:
        """Pass the value or the error of a run to `on_end`."""
        value: Any = None
        error: BaseException | None = None
        if report["how"] == "value":
            try:
                value = value_of(report["value"], self._limits)
            except EncodingError as unreadable:
                error = unreadable
        else:
            error = error_of(report, is_stopping=is_stopping)
        remote.on_end(value, error)


UNBOUND = Isolation()


class _ProcessRun(RemoteRun):
    """One run in its isolated process, with the limits of the process.

    Attributes:
        isolation: The settings of the function.
        memory_limit: The memory limit in bytes; 0 for none.
        cpu_began: The CPU time in seconds that the process had used before.
        oom: Why the process was killed for its memory; None if it was not.
    """

    def __init__(
        self, number: int, run: Run, isolation: Isolation, job_process: IsolatedProcess, on_end: OnEnd
    ) -> None:
        super().__init__(number, run, job_process, on_end)
        self.isolation = isolation
        self.memory_limit = _memory_of(run, isolation)
        self.cpu_began = cpu_time(job_process.pid) if isolation.cpu_limit else 0.0
        self.oom: str | None = None


def _memory_of(run: Run, isolation: Isolation) -> int:
    """The memory limit of a run in bytes. There is none in the `on_oom` queue of its function."""
    return 0 if run.lane.queue == isolation.on_oom else isolation.memory_limit


class ProcessExecutor(RemoteExecutor[_ProcessRun]):
    """Runs functions in isolated processes, one job at a time in each.

    Args:
        child: The child they belong to.
        config: The settings.
        modules: What the processes load.
        board: The child's lease board.
        is_wanted: Whether any function needs them, so that spare processes are started now.
    """

    stages: tuple[Stage, ...] = (Stage.RAISED, Stage.TERMINATED, Stage.KILLED)

    def __init__(
        self, child: str, config: JobConfig, modules: Sequence[str], board: LeaseBoard, *, is_wanted: bool
    ) -> None:
        super().__init__(config, board)
        self._pool = Pool(child, config, modules)
        if is_wanted:
            self._loop.call_soon(self._pool.fill)

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Call the handler's function in an isolated process, which opens the envelope itself."""
        del args, kwargs
        function = handler.function
        if function.__module__ == "__main__":
            error = InvalidJob(
                f"{function.name!r} is defined in __main__, which an isolated process cannot load. Put it into a "
                "module that can be imported, or leave run_in='process' out.",
                field="run_in",
            )
            self._loop.call_soon(on_end, None, error)
            return
        isolation = function.isolation or UNBOUND
        try:
            job_process = self._pool.take(function.name, isolation, memory=_memory_of(run, isolation))
        except OSError as error:
            self._loop.call_soon(on_end, None, error)
            return
        remote = _ProcessRun(next(self._numbers), run, isolation, job_process, on_end)
        job_process.on_frame = partial(self._on_frame, remote)
        self._send_run(remote, handler, memory=remote.memory_limit, cpu=isolation.cpu_limit, nice=isolation.nice)

    def stop(self, run: Run, stage: Stage) -> None:
        """Take one stage to stop a run; nothing happens when the run has ended."""
        remote = self._remotes.get(run.key)
        if remote is None:
            return
        if stage is Stage.ASKED:
            self._flag(remote)
            return
        remote.is_stopped = True
        match stage:
            case Stage.RAISED:
                self._interrupt(remote)
            case Stage.TERMINATED:
                remote.job_process.signal(signal.SIGTERM)
            case Stage.KILLED:
                remote.job_process.kill()

    def close(self) -> None:
        """End all processes now. No end is reported for a run that is still there."""
        super().close()
        self._pool.close()

    def _watch(self, remote: _ProcessRun) -> None:
        limit = remote.memory_limit
        if limit and remote.oom is None and resident(remote.job_process.pid)[0] > limit:
            remote.oom = f"resident memory above {size_text(limit)}"
            remote.job_process.kill()

    def _on_frame(self, remote: _ProcessRun, frame: list[Any]) -> None:
        word, *rest = frame
        if word == "died":
            self._died(remote, rest[0])
        elif rest[0] == remote.number:
            self._received(remote, word, rest[1:])
        elif type(rest[0]) is not int or not 0 < rest[0] < remote.number:  # an earlier run is fine
            raise ValueError(f"{frame!r:.80} does not name a run")

    def _ended(self, remote: _ProcessRun, report: EndReport, *, is_clean: bool) -> None:
        """A job has ended: keep its process if it may run another job, and report the ending."""
        is_stopping = remote.is_stopping
        self._take_back(remote)
        process = remote.job_process  # if it has just died, it must not get the next job
        if is_stopping or not is_clean or report["how"] == "oom" or self._has_grown(remote) or process.has_ended():
            self._pool.retire(process)
        else:
            self._pool.give_back(process)
        self._hand_over(remote, report, is_stopping=is_stopping)

    def _has_grown(self, remote: _ProcessRun) -> bool:
        """Whether the process uses so much memory that the next job would reach its limit too early."""
        limit = remote.isolation.memory_limit
        return bool(limit) and max(resident(remote.job_process.pid)) > limit // 2

    def _died(self, remote: _ProcessRun, code: int) -> None:
        self._take_back(remote)
        remote.on_end(None, self._death(remote, code))

    def _death(self, remote: _ProcessRun, code: int) -> BaseException:
        """The outcome of a run whose process has died. The kernel counts the kills for memory."""
        job_process, limits = remote.job_process, remote.isolation
        if remote.oom is not None:
            return Died(OutOfMemory(remote.oom))
        if remote.is_stopped and code in (-signal.SIGTERM, -signal.SIGKILL):
            return JobCancelled(f"{remote.run.id} was stopped: {how_it_died(code)}.", job_id=remote.run.id)
        if job_process.garbage is not None:
            return Died(Crashed(f"its process wrote garbage on its line ({job_process.garbage})"))
        if job_process.refusal is not None:
            return Died(Crashed(f"its process could not start: {job_process.refusal}"))
        # A process that survives SIGXCPU is killed by the hard limit one second later.
        is_spent = code == -signal.SIGKILL and job_process.cpu_used - remote.cpu_began >= limits.cpu_limit
        if limits.cpu_limit and (code == -signal.SIGXCPU or is_spent):
            return Died(OutOfCpu(limits.cpu_limit))
        if code == -signal.SIGKILL:
            kills = oom_kills()
            if kills is None or job_process.oom_kills is None:
                return Died(Crashed("its process died of SIGKILL, perhaps by the kernel for memory"))
            if kills > job_process.oom_kills:
                return Died(OutOfMemory("killed by the kernel, which had no memory left in its control group"))
        return Died(Crashed(how_it_died(code)))
