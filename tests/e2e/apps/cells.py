"""Jobs that run in processes of their own, the worst among them."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import mmap
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated

from jobfleet import (
    Breaker,
    Discard,
    JobCancelled,
    JobContext,
    JobfleetError,
    ProgressCallback,
    Resource,
    RetryAfter,
    Snooze,
    job,
)

STEP = 0.01
MIB = 1 << 20


class Busy(ValueError):
    """Permanent by default, transient by its function's list."""


class Odd(Exception):
    """Cannot be pickled, and has no text."""

    def __init__(self, one: int, other: int) -> None:
        super().__init__(one)
        self.lock = threading.Lock()
        self.other = other

    def __str__(self) -> str:
        raise RuntimeError("no text")


@job(name="cell.add", run_in="process")
def add(a: int, b: int) -> int:
    """Add."""
    return a + b


@job(
    name="cell.picky", run_in="process", max_retries=0,
    breaker=Breaker(0.5, minimum=50, window="1h", ignore=(ValueError, KeyError)),
)  # fmt: skip
def picky(kind: str) -> None:
    """Raise what the breaker ignores, or does not ignore."""
    kinds = {"value": Busy, "encoding": UnicodeError, "key": KeyError, "away": ConnectionError}
    raise kinds[kind]("no")


@job(name="cell.aadd", run_in="process")
async def aadd(a: int, b: int) -> list[object]:
    """Add on a loop."""
    await asyncio.sleep(0)
    return [a + b, type(asyncio.get_running_loop()).__module__.partition(".")[0]]


@job(name="cell.pid", run_in="process")
def pid(ctx: JobContext) -> list[object]:
    """Answer its process, its parent, its main thread."""
    return [os.getpid(), os.getppid(), threading.current_thread() is threading.main_thread(), ctx.worker]


@job(name="cell.look", run_in="process")
def look(ctx: JobContext) -> dict[str, object]:
    """Answer all that its context says."""
    return {
        "job_id": ctx.job_id,
        "function": ctx.job.function,
        "args": list(ctx.job.args),
        "attempt": ctx.attempt,
        "fence": ctx.fence,
        "user": ctx.user,
        "tags": list(ctx.tags),
        "metadata": dict(ctx.metadata),
        "correlation_id": ctx.correlation_id,
        "cancelled": ctx.cancelled,
        "queue": ctx.job.queue,
    }


def patience(number: int, error: BaseException) -> str | float:
    """The delay after an error that only this process can name."""
    return "1h" if isinstance(error, Busy) and number == 1 else 0.0


@job(name="cell.patient", run_in="process", retry_on=(Busy,), retry_delay=patience)
def patient() -> None:
    """Raise."""
    raise Busy("not now")


@job(name="cell.fail", run_in="process", retry_on=(Busy,), retry_delay=0.05)
def fail(kind: str) -> object:
    """Raise, or return what cannot travel."""
    if kind == "result":
        return {"lock": threading.Lock()}
    raise {
        "busy": Busy("not now"),
        "value": ValueError("wrong"),
        "odd": Odd(1, 2),
        "surrogate": RuntimeError("caf\udce9"),
        "discard": Discard("no use"),
        "again": RetryAfter(0.05, reason="later"),
        "memory": MemoryError("just so"),
        "exit": SystemExit(3),
    }[kind]


@job(name="cell.snooze", run_in="process")
def snooze(path: str) -> str:
    """Ask to be run later, until a file is there."""
    if not Path(path).exists():
        Path(path).touch()
        raise Snooze(0.05)
    return "there"


@job(name="cell.steps", run_in="process")
def steps(values: list[float], path: str, progress_callback: ProgressCallback) -> str:
    """Report values, wait for a file, report the last one."""
    for value in values:
        progress_callback(value, f"at {value}", {"value": value})
    while not Path(path).exists():
        time.sleep(STEP)
    progress_callback(1.0, "last", {"value": 1.0})
    return "done"


@job(name="cell.flood", run_in="process")
def flood(ctx: JobContext, times: int) -> int:
    """Report without a pause."""
    for number in range(times):
        ctx.progress(number / times, f"step {number}")
    return times


@job(name="cell.sleep", run_in="process")
def sleep(ctx: JobContext, seconds: float, path: str) -> str:
    """Block in one call; note the process, and how it was woken."""
    Path(path).write_text(str(os.getpid()))
    try:
        time.sleep(seconds)
    except BaseException as error:
        Path(f"{path}.end").write_text(f"{type(error).__name__} {ctx.cancelled}")
        raise
    return "slept"


@job(name="cell.asleep", run_in="process")
async def asleep(ctx: JobContext, seconds: float, path: str) -> str:
    """Sleep on the loop; note the process, and how it was woken."""
    Path(path).write_text(str(os.getpid()))
    try:
        await asyncio.sleep(seconds)
    except asyncio.CancelledError as error:
        Path(f"{path}.end").write_text(f"{type(error).__name__} {ctx.cancelled}")
        raise
    return "slept"


@job(name="cell.stubborn", run_in="process")
def stubborn(path: str) -> None:
    """Hear no interruption."""
    Path(path).write_text(str(os.getpid()))
    while True:
        with suppress(JobCancelled):
            time.sleep(60)
            return


@job(name="cell.hold", run_in="process")
def hold(path: str) -> None:
    """Hold the GIL for longer than any test, beside a process of its own."""
    Path(path).write_text(f"{os.getpid()} {_sleeper(leave_group=False)}")
    re.match(r"(a+)+$", "a" * 60 + "b")


@job(name="cell.flagged", run_in="process")
def flagged(ctx: JobContext, path: str) -> str:
    """Wait until the context says that it is to stop."""
    Path(path).write_text(str(os.getpid()))
    while not ctx.cancelled:
        time.sleep(STEP)
    return str(ctx.port.must_stop)


@job(name="cell.port", run_in="process")
async def port(ctx: JobContext) -> list[object]:
    """Ask for all that a worker offers."""
    ctx.port.extend(5)
    ctx.port.note(1, 20, "a line \udce9")
    await ctx.port.keep("b", b"2")
    try:
        await ctx.port.keep("refused", b"")
    except JobfleetError as error:
        return [dict(await ctx.port.steps()), type(error).__name__, str(error)]
    return []


@job(name="cell.limited", run_in="process", timeout=0.3, max_retries=0)
def limited(seconds: float) -> None:
    """Take too long."""
    time.sleep(seconds)


@job(name="cell.die", run_in="process", retry_delay=0.05)
def die(how: str) -> None:
    """End the process."""
    if how == "segfault":
        ctypes.string_at(0)
    elif how == "exit":
        os._exit(7)
    else:
        os.kill(os.getpid(), signal.Signals[how])


@job(name="cell.balloon", run_in="process", memory_limit="256MiB", max_crashes=2, retry_delay=0.05)
def balloon(size: int) -> int:
    """Take memory."""
    return len(bytearray(size * MIB))


@job(name="cell.shared", run_in="process", memory_limit="128MiB", max_crashes=1)
def shared(size: int) -> None:
    """Take memory that no limit of the process counts, and keep it."""
    memory = mmap.mmap(-1, size * MIB)
    for place in range(0, len(memory), mmap.PAGESIZE):
        memory[place] = 1
    time.sleep(60)


@job(name="cell.burn", run_in="process", cpu_limit=1, max_retries=0)
def burn(seconds: float) -> str:
    """Use the processor."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return "burnt"


@job(name="cell.elsewhere", run_in="process", memory_limit="192MiB", on_oom="roomy", max_crashes=2, retry_delay=0.05)
def elsewhere(ctx: JobContext, size: int) -> list[object]:
    """Take memory; answer where it ran."""
    bytearray(size * MIB)
    return [ctx.job.queue, ctx.attempt]


@job(name="cell.settings", run_in="process", nice=5, environment={"CELL_COLOUR": "blue"})
def settings() -> list[object]:
    """Answer what the process was started with."""
    return [os.environ.get("CELL_COLOUR"), os.getpriority(os.PRIO_PROCESS, 0), os.getpid()]


@job(name="cell.plain", run_in="process")
def plain() -> list[object]:
    """Answer the same of a process that was started with nothing."""
    return [os.environ.get("CELL_COLOUR"), os.getpriority(os.PRIO_PROCESS, 0), os.getpid()]


@job(name="cell.orphan", run_in="process")
def orphan(times: int, *, leave_group: bool) -> list[int]:
    """Leave processes behind."""
    return [_sleeper(leave_group) for _ in range(times)]


@job(name="cell.brood", run_in="process")
def brood(path: str) -> None:
    """Start a process, and sleep."""
    Path(path).write_text(f"{os.getpid()} {_sleeper(leave_group=False)}")
    time.sleep(60)


def _sleeper(leave_group: bool) -> int:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    return subprocess.Popen(command, start_new_session=leave_group).pid


@job(name="cell.descriptors")
async def descriptors() -> list[int]:
    """Answer how many descriptors and threads the worker's own process has."""
    return [len(list(Path("/proc/self/fd").iterdir())), len(threading.enumerate())]


@job(name="cell.neighbour")
async def neighbour(path: str) -> int:
    """Run on the worker's loop until a file is there."""
    while not Path(path).exists():
        await asyncio.sleep(STEP)
    return os.getpid()


SEEN: Mapping[str, object] = {"loaded by": os.getpid()}


@job(name="cell.loaded", run_in="process")
def loaded() -> bool:
    """Whether this module was imported here, not inherited."""
    return SEEN["loaded by"] == os.getpid()


@job(name="cell.closing", run_in="process")
def closing(path: str) -> None:
    """Have something done when the process leaves, and print what is not flushed."""
    atexit.register(Path(path).touch)
    print("printed and not flushed")  # noqa: T201
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)


@job(name="cell.garble", run_in="process")
def garble(garbage: bytes) -> None:
    """Write garbage on every socket of its process, and stay."""
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if str(path.readlink()).startswith("socket:"):
                os.write(int(path.name), garbage)
    time.sleep(60)


USER: ContextVar[str | None] = ContextVar("user", default=None)


@job(name="cell.variable", run_in="process")
def variable(name: str) -> tuple[str | None, int]:
    """Set a context variable; return what it was before, and the process."""
    before = USER.get()
    USER.set(name)
    return before, os.getpid()


@job(name="cell.variable_async", run_in="process")
async def variable_async(name: str) -> tuple[str | None, int]:
    """Do the same on the event loop."""
    return variable(name)


TOLD: list[str] = []


@contextmanager
def open_inner() -> Iterator[list[str]]:
    """A resource of a run, which another one needs."""
    TOLD[:] = ["inner"]
    try:
        yield TOLD
    except OSError:
        TOLD.append("rollback")
        raise
    else:
        TOLD.append("commit")
    finally:
        with Path(next(one for one in TOLD if "/" in one)).open("a") as file:
            file.write("".join(f"{one} " for one in TOLD if "/" not in one))


@asynccontextmanager
async def open_outer(inner: Annotated[list[str], Resource(open_inner, scope="run")]) -> AsyncIterator[list[str]]:
    """A resource of a run that needs another one."""
    inner.append("outer")
    try:
        yield inner
    finally:
        inner.append("close")


@job(name="cell.unit", run_in="process")
def unit(path: str, how: str, outer: Annotated[list[str], Resource(open_outer, scope="run")]) -> None:
    """Use it, and fail if the test says so."""
    outer.append(path)
    if how == "fail":
        raise OSError("no")
    outer.append("job")


@job(name="cell.unit_async", run_in="process")
async def unit_async(path: str, how: str, outer: Annotated[list[str], Resource(open_outer, scope="run")]) -> None:
    """Do the same on the event loop."""
    unit(path, how, outer)


@job(name="cell.lock", run_in="process", max_retries=0)
def lock(ctx: JobContext, timeout: float | None = None) -> int:
    with ctx.lock("crm", limit=2, timeout=timeout) as held:
        return held.fence


@job(name="cell.lock_async", run_in="process", max_retries=0)
async def lock_async(ctx: JobContext, timeout: float | None = None) -> int:
    """Do the same on the event loop."""
    async with ctx.lock("crm", limit=2, timeout=timeout) as held:
        return held.fence
