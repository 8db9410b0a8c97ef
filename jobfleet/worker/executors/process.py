"""Isolated processes for jobs: a job can only harm its own process, and it can always be ended.

Stages: `Stage.RAISED` raises `JobCancelled` in a plain function, also out of a call that blocks, and
cancels a coroutine. `Stage.TERMINATED` sends the process SIGTERM, which ends it unless the job handles
that signal. `Stage.KILLED` kills it and all it has started.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from functools import partial
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.errors import InvalidJob, JobCancelled, how_it_died
from jobfleet.functions.options import Isolation, size_text
from jobfleet.outcome import Crashed, OutOfCpu, OutOfMemory
from jobfleet.worker.executors.isolated.isolated_process import IsolatedProcess
from jobfleet.worker.executors.isolated.pool import Pool
from jobfleet.worker.executors.isolated.remote_error import EndReport
from jobfleet.worker.executors.isolated.rlimits import cpu_time, oom_kills, resident
from jobfleet.worker.executors.remote import RemoteExecutor, RemoteRun
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.executor import Died, OnEnd
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.stop_state import Stage

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
