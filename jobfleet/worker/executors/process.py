"""A process of its own for a job: what it does harms nothing but itself, and it can always be ended.

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
from jobfleet.errors import InvalidJob, JobCancelled
from jobfleet.exit_codes import how_it_died
from jobfleet.functions.isolation import Isolation, size_text
from jobfleet.outcome import Crashed, OutOfCpu, OutOfMemory
from jobfleet.worker.executors.isolated.isolated_process import IsolatedProcess
from jobfleet.worker.executors.isolated.pool import Pool
from jobfleet.worker.executors.isolated.remote_error import Told
from jobfleet.worker.executors.isolated.rlimits import cpu_time, oom_kills, resident
from jobfleet.worker.executors.remote import Remote, Stay
from jobfleet.worker.ipc.lease_board import LeaseBoard
from jobfleet.worker.run.executor import Died, OnEnd
from jobfleet.worker.run.handlers import Handler
from jobfleet.worker.run.run import Run
from jobfleet.worker.run.stop_state import Stage

UNBOUND = Isolation()


class _Stay(Stay):
    """One run in its process, which is bound."""

    def __init__(
        self, number: int, run: Run, isolation: Isolation, job_process: IsolatedProcess, on_end: OnEnd
    ) -> None:
        super().__init__(number, run, job_process, on_end)
        self.isolation = isolation
        self.memory_limit = _memory_of(run, isolation)
        self.cpu_began = cpu_time(job_process.pid) if isolation.cpu_limit else 0.0
        self.oom: str | None = None


def _memory_of(run: Run, isolation: Isolation) -> int:
    """Bytes that a run may have; where a job goes that ran out of memory, the machine is the limit."""
    return 0 if run.lane.queue == isolation.on_oom else isolation.memory_limit


class ProcessExecutor(Remote[_Stay]):
    """Runs functions in isolated processes, one job at a time in each.

    Args:
        child: The child they belong to.
        config: The settings.
        modules: What the processes load.
        board: The child's.
        is_wanted: Whether any function has asked for them, so that spare ones are started now.
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
        """Have the handler's function called in a process; arguments go there as the envelope has them."""
        del args, kwargs
        function = handler.function
        if function.__module__ == "__main__":
            error = InvalidJob(
                f"{function.name!r} stands in __main__, which a process of its own cannot load. Put it into a module "
                "that can be imported, or leave run_in='process' out.",
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
        stay = _Stay(next(self._numbers), run, isolation, job_process, on_end)
        job_process.on_frame = partial(self._heard, stay)
        self._enter(stay, handler, memory=stay.memory_limit, cpu=isolation.cpu_limit, nice=isolation.nice)

    def stop(self, run: Run, stage: Stage) -> None:
        """Do what a stage does to the process of a run; nothing when the run has ended."""
        stay = self._stays.get(run.key)
        if stay is None:
            return
        if stage is Stage.ASKED:
            self._flag(stay)
            return
        stay.is_stopped = True
        match stage:
            case Stage.RAISED:
                self._interrupt(stay)
            case Stage.TERMINATED:
                stay.job_process.signal(signal.SIGTERM)
            case Stage.KILLED:
                stay.job_process.kill()

    def close(self) -> None:
        """End all processes, now; a run that is still there is not heard of again."""
        super().close()
        self._pool.close()

    def _watch(self, stay: _Stay) -> None:
        limit = stay.memory_limit
        if limit and stay.oom is None and resident(stay.job_process.pid)[0] > limit:
            stay.oom = f"resident memory above {size_text(limit)}"
            stay.job_process.kill()

    def _heard(self, stay: _Stay, frame: list[Any]) -> None:
        word, *rest = frame
        if word == "died":
            self._died(stay, rest[0])
        elif rest[0] == stay.number:
            self._told(stay, word, rest[1:])
        elif type(rest[0]) is not int or not 0 < rest[0] < stay.number:  # of an earlier run it may be, of none other
            raise ValueError(f"{frame!r:.80} is of no run")

    def _ended(self, stay: _Stay, told: Told, *, is_clean: bool) -> None:
        """Its job is over: name the ending, and keep the process if it may run another."""
        is_stopping = stay.is_stopping
        self._leave(stay)
        if is_stopping or not is_clean or told["how"] == "oom" or self._has_grown(stay):
            self._pool.retire(stay.job_process)
        else:
            self._pool.give_back(stay.job_process)
        self._hand_over(stay, told, is_stopping=is_stopping)

    def _has_grown(self, stay: _Stay) -> bool:
        """Whether an earlier job's leavings could cost a later one its limit."""
        limit = stay.isolation.memory_limit
        return bool(limit) and max(resident(stay.job_process.pid)) > limit // 2

    def _died(self, stay: _Stay, code: int) -> None:
        self._leave(stay)
        stay.on_end(None, self._death(stay, code))

    def _death(self, stay: _Stay, code: int) -> BaseException:
        """What the death of its process means for a run; a kernel that killed it for memory has counted that."""
        job_process, limits = stay.job_process, stay.isolation
        if stay.oom is not None:
            return Died(OutOfMemory(stay.oom))
        if stay.is_stopped and code in (-signal.SIGTERM, -signal.SIGKILL):
            return JobCancelled(f"{stay.run.id} was stopped: {how_it_died(code)}.", job_id=stay.run.id)
        if job_process.garbage is not None:
            return Died(Crashed(f"its process wrote garbage on its line ({job_process.garbage})"))
        if job_process.refusal is not None:
            return Died(Crashed(f"its process could not start: {job_process.refusal}"))
        # Who survives SIGXCPU is killed by the hard limit a second later.
        is_spent = code == -signal.SIGKILL and job_process.cpu_used - stay.cpu_began >= limits.cpu_limit
        if limits.cpu_limit and (code == -signal.SIGXCPU or is_spent):
            return Died(OutOfCpu(limits.cpu_limit))
        if code == -signal.SIGKILL:
            kills = oom_kills()
            if kills is None or job_process.oom_kills is None:
                return Died(Crashed("its process died of SIGKILL, perhaps by the kernel for memory"))
            if kills > job_process.oom_kills:
                return Died(OutOfMemory("killed by the kernel, which had no memory left in its control group"))
        return Died(Crashed(how_it_died(code)))
