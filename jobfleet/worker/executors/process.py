"""A process of its own for a job: what it does harms nothing but itself, and it can always be ended.

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
from typing import Any

from jobfleet.client.isolation import Isolation, size_text
from jobfleet.client.wishes import open_wish
from jobfleet.codec import Limits, decode
from jobfleet.config import JobConfig
from jobfleet.errors import EncodingError, InvalidJob, JobCancelled
from jobfleet.outcome import Crashed, OutOfCpu, OutOfMemory
from jobfleet.worker.executors.executor import Died, OnEnd, Stage
from jobfleet.worker.handlers import Handler
from jobfleet.worker.isolated.cell import Cell
from jobfleet.worker.isolated.limits import cpu_time, oom_kills, resident
from jobfleet.worker.isolated.pool import Pool
from jobfleet.worker.isolated.told import Told, error_of, value_of
from jobfleet.worker.run import Run
from jobfleet.worker.undertaker import how_it_died

LOOK_EVERY = 0.2
"""Seconds between two looks at what the processes take, and whether their jobs are to stop."""
UNBOUND = Isolation()


class _Stay:
    """One run in its process."""

    def __init__(self, number: int, run: Run, isolation: Isolation, cell: Cell, on_end: OnEnd) -> None:
        self.number = number
        self.run = run
        self.isolation = isolation
        self.memory_limit = _memory_of(run, isolation)
        self.cpu_began = cpu_time(cell.pid) if isolation.cpu_limit else 0.0
        self.cell = cell
        self.on_end = on_end
        self.flags: tuple[str | None, str | None] = (None, None)
        self.is_stopped = False
        self.is_ended = False
        self.oom: str | None = None


def _memory_of(run: Run, isolation: Isolation) -> int:
    """Bytes that a run may have; where a job goes that ran out of memory, the machine is the limit."""
    return 0 if run.lane.queue == isolation.on_oom else isolation.memory_limit


class ProcessExecutor:
    """Runs functions in isolated processes, one job at a time in each.

    Args:
        child: The child they belong to.
        config: The settings.
        modules: What the processes load.
        is_wanted: Whether any function has asked for them, so that spare ones are started now.
    """

    stages: tuple[Stage, ...] = (Stage.RAISED, Stage.TERMINATED, Stage.KILLED)

    def __init__(self, child: str, config: JobConfig, modules: Sequence[str], *, is_wanted: bool) -> None:
        self._pool = Pool(child, config, modules)
        self._limits = Limits(max_bytes=config.max_payload, max_depth=config.max_depth)
        self._stays: dict[tuple[str, int], _Stay] = {}
        self._numbers = itertools.count(1)
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._asking: set[asyncio.Task[None]] = set()
        if is_wanted:
            self._loop.call_soon(self._pool.fill)

    def start(self, run: Run, handler: Handler, args: list[Any], kwargs: dict[str, Any], on_end: OnEnd) -> None:
        """Have the handler's function called in a process; arguments go there as the envelope has them."""
        del args, kwargs
        function = handler.function
        module, qualname = function.__module__, function.__qualname__
        if module == "__main__":
            error = InvalidJob(
                f"{function.name!r} stands in __main__, which a process of its own cannot load. Put it into a module "
                "that can be imported, or leave run_in='process' out.",
                field="run_in",
            )
            self._loop.call_soon(on_end, None, error)
            return
        isolation = function.isolation or UNBOUND
        try:
            cell = self._pool.take(function.name, isolation, memory=_memory_of(run, isolation))
        except OSError as error:
            self._loop.call_soon(on_end, None, error)
            return
        stay = _Stay(next(self._numbers), run, isolation, cell, on_end)
        self._stays[run.key] = stay
        cell.on_frame = partial(self._heard, stay)
        order = {
            "grant": list(run.grant), "name": function.name, "module": module, "qualname": qualname,
            "memory": stay.memory_limit, "cpu": isolation.cpu_limit, "nice": isolation.nice,
            "parents": [list(row) for row in run.parents],
        }  # fmt: skip
        cell.send("run", stay.number, order)
        if self._timer is None:
            self._timer = self._loop.call_later(LOOK_EVERY, self._look)

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
                stay.flags = (run.cancel_by, run.must_stop)
                stay.cell.send("stop", stay.number, *stay.flags)
            case Stage.TERMINATED:
                stay.cell.signal(signal.SIGTERM)
            case Stage.KILLED:
                stay.cell.kill()

    def flush(self) -> None:
        """Nothing waits for others here."""

    def close(self) -> None:
        """End all processes, now; a run that is still there is not heard of again."""
        if self._timer is not None:
            self._timer.cancel()
        for task in self._asking:
            task.cancel()
        self._stays.clear()
        self._pool.close()

    def _look(self) -> None:
        """Pass on what has changed, and see what the processes take."""
        for stay in list(self._stays.values()):
            self._flag(stay)
            limit = stay.memory_limit
            if limit and stay.oom is None and resident(stay.cell.pid)[0] > limit:
                stay.oom = f"resident memory above {size_text(limit)}"
                stay.cell.kill()
        self._timer = self._loop.call_later(LOOK_EVERY, self._look) if self._stays else None

    def _flag(self, stay: _Stay) -> None:
        flags = (stay.run.cancel_by, stay.run.must_stop)
        if flags != stay.flags:
            stay.flags = flags
            stay.cell.send("flag", stay.number, *flags)

    def _heard(self, stay: _Stay, frame: list[Any]) -> None:
        word, *rest = frame
        if word == "died":
            self._died(stay, rest[0])
        elif rest[0] == stay.number:
            self._told(stay, word, rest[1:])
        elif type(rest[0]) is not int or not 0 < rest[0] < stay.number:  # of an earlier run it may be, of none other
            raise ValueError(f"{frame!r:.80} is of no run")

    def _told(self, stay: _Stay, word: str, rest: list[Any]) -> None:
        run = stay.run
        match word, rest:
            case "report", [record]:
                run.report(*decode(record, what="progress"))
            case "extend", [seconds]:
                run.extend(seconds)
            case "note", [at_us, level, text]:
                run.note(at_us, level, text)
            case "steps" | "keep" | "extend_flow" | "stands", [number, *what]:
                task = self._loop.create_task(self._answer(stay, word, number, what))
                self._asking.add(task)
                task.add_done_callback(self._asking.discard)
            case "ended", [told, is_clean]:
                self._ended(stay, told, is_clean=is_clean)
            case _:
                raise ValueError(f"{[word, *rest]!r:.80} is no frame")

    async def _answer(self, stay: _Stay, word: str, number: int, what: list[Any]) -> None:
        value: Any = None
        error = None
        try:
            if word == "steps":
                value = dict(await stay.run.steps())
            elif word == "stands":
                await stay.run.stands()
            elif word == "extend_flow":
                value = list(await stay.run.extend_flow(open_wish(what[0], limits=self._limits)))
            else:
                await stay.run.keep(*what)
        except Exception as raised:  # noqa: BLE001 - whoever asked is told
            error = (type(raised).__name__, str(raised))
        if not stay.is_ended:
            stay.cell.send("answer", stay.number, number, value, error)

    def _ended(self, stay: _Stay, told: Told, *, is_clean: bool) -> None:
        """Its job is over: name the ending, and keep the process if it may run another."""
        is_stopping = stay.is_stopped or stay.run.interruption is not None or stay.run.cancel_by is not None
        self._leave(stay)
        if is_stopping or not is_clean or told["how"] == "oom" or self._has_grown(stay):
            self._pool.retire(stay.cell)
        else:
            self._pool.give_back(stay.cell)
        value: Any = None
        error: BaseException | None = None
        if told["how"] == "value":
            try:
                value = value_of(told["value"], self._limits)
            except EncodingError as unreadable:
                error = unreadable
        else:
            error = error_of(told, is_stopping=is_stopping)
        stay.on_end(value, error)

    def _has_grown(self, stay: _Stay) -> bool:
        """Whether an earlier job's leavings could cost a later one its limit."""
        limit = stay.isolation.memory_limit
        return bool(limit) and max(resident(stay.cell.pid)) > limit // 2

    def _died(self, stay: _Stay, code: int) -> None:
        self._leave(stay)
        stay.on_end(None, self._death(stay, code))

    def _death(self, stay: _Stay, code: int) -> BaseException:
        """What the death of its process means for a run; a kernel that killed it for memory has counted that."""
        cell, limits = stay.cell, stay.isolation
        if stay.oom is not None:
            return Died(OutOfMemory(stay.oom))
        if stay.is_stopped and code in (-signal.SIGTERM, -signal.SIGKILL):
            return JobCancelled(f"{stay.run.id} was stopped: {how_it_died(code)}.", job_id=stay.run.id)
        if cell.garbage is not None:
            return Died(Crashed(f"its process wrote garbage on its line ({cell.garbage})", alone=True))
        if cell.refusal is not None:
            return Died(Crashed(f"its process could not start: {cell.refusal}", alone=True))
        # Who survives SIGXCPU is killed by the hard limit a second later.
        is_spent = code == -signal.SIGKILL and cell.cpu_used - stay.cpu_began >= limits.cpu_limit
        if limits.cpu_limit and (code == -signal.SIGXCPU or is_spent):
            return Died(OutOfCpu(limits.cpu_limit))
        if code == -signal.SIGKILL:
            kills = oom_kills()
            if kills is None or cell.oom_kills is None:
                return Died(Crashed("its process died of SIGKILL, perhaps by the kernel for memory", alone=True))
            if kills > cell.oom_kills:
                return Died(OutOfMemory("killed by the kernel, which had no memory left in its control group"))
        return Died(Crashed(how_it_died(code), alone=True))

    def _leave(self, stay: _Stay) -> None:
        stay.is_ended = True
        self._stays.pop(stay.run.key, None)
