"""The worst citizens: ``jobfleet worker workers.hostile``, and see that the worker stays in command.

Each function does one thing that a worker must survive: it holds the GIL, hears nothing, dies, hoards,
or hands back what cannot be handed on. They are for trials of a fleet, never for one that has other work.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from jobfleet import JobContext, job

STEP = 0.01
MIB = 1024**2
PAGE = 4096


# --- what holds on --------------------------------------------------------------------------------


def _power(size: int) -> None:
    pow(3, size)


def _search(size: int) -> None:
    re.match("a*a*a*b", "a" * size)


HOLDS: dict[str, tuple[Callable[[int], None], int, float]] = {
    "power": (_power, 100_000, 1.585),
    "search": (_search, 100, 3.0),
    "endless": (_search, 1_000_000, 3.0),
}
"""Calls in C that never release the GIL: the function, a small size, the exponent of its time."""


@job(name="hostile.hold_gil", max_retries=0)
def hold_gil(seconds: float, call: str = "power", diary: str | None = None) -> float:
    """Hold the GIL in one C call that takes about as long as asked; a further one makes up for a guess too low.

    Args:
        seconds: For how long.
        call: ``power``, a huge integer; ``search``, a regular expression that backtracks; or ``endless``, one that
            does so for years, from the first call on.
        diary: A file to which each run adds a line.

    Returns:
        How long the longest call took, in seconds.
    """
    if diary is not None:
        with Path(diary).open("a") as lines:
            lines.write(f"{os.getpid()}\n")
    function, size, exponent = HOLDS[call]
    begun, longest = time.monotonic(), 0.0
    took = _timed(function, size)
    while (left := begun + seconds - time.monotonic()) > 0:
        size = max(size + 1, round(size * (min(left, took * 1000) / took) ** (1 / exponent)))
        took = _timed(function, size)
        longest = max(longest, took)
        if took > seconds / 2:
            break
    return longest


def _timed(function: Callable[[int], None], size: int) -> float:
    begun = time.monotonic()
    function(size)
    return time.monotonic() - begun


@job(name="hostile.block_loop", max_retries=0)
async def block_loop(seconds: float) -> float:
    """Sleep in a coroutine without awaiting: nothing else runs on the loop."""
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point
    return seconds


@job(name="hostile.swallow_cancellation", max_retries=0)
async def swallow_cancellation(path: str) -> int:
    """Hear no cancellation until a file is there; say how many there were."""
    heard = 0
    while not Path(path).exists():  # noqa: ASYNC240 - a stat is short
        try:
            await asyncio.sleep(STEP)
        except asyncio.CancelledError:
            heard += 1
    return heard


@job(name="hostile.swallow_exceptions", max_retries=0)
def swallow_exceptions(path: str) -> int:
    """Hear no exception in a thread until a file is there; say how many there were."""
    heard = 0
    while True:
        try:
            Path(f"{path}.deaf").touch()
            while not Path(path).exists():
                time.sleep(STEP)
        except BaseException:  # noqa: BLE001 - that is the point
            heard += 1
        else:
            return heard


@job(name="hostile.block_signals", max_retries=0)
async def block_signals(path: str = "") -> int:
    """Block and ignore every signal that a process may, then run until a file is there; say how many."""
    count = 0
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        with suppress(OSError, ValueError):
            signal.signal(number, signal.SIG_IGN)
            count += 1
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    while path and not Path(path).exists():  # noqa: ASYNC240 - a stat is short
        time.sleep(STEP)  # noqa: ASYNC251 - it hears nothing on the loop either
    return count


# --- what dies ------------------------------------------------------------------------------------


@job(name="hostile.segfault", retry_delay=0.1)
def segfault() -> None:
    """Read where nothing is: the process dies of SIGSEGV."""
    ctypes.string_at(0)


@job(name="hostile.leave", retry_delay=0.1)
def leave(code: int) -> None:
    """End the process at once, past every handler."""
    os._exit(code)


@job(name="hostile.stop_loop", retry_delay=0.1)
async def stop_loop() -> None:
    """Stop the event loop that runs this."""
    asyncio.get_running_loop().stop()
    await asyncio.sleep(60)


@job(name="hostile.close_descriptors", retry_delay=0.1)
def close_descriptors() -> None:
    """Close every descriptor except the standard ones, also those of the worker."""
    os.closerange(3, 1 << 16)
    time.sleep(60)


@job(name="hostile.exhaust_recursion", max_retries=0)
def exhaust_recursion(depth: int = 0) -> int:
    """Call itself for ever."""
    return exhaust_recursion.function(depth + 1) + 1


# --- what hoards ----------------------------------------------------------------------------------


@job(name="hostile.balloon", retry_delay=0.1)
def balloon(mebibytes: int, step: int = 16) -> int:
    """Take memory and touch each page of it; say how much of it there was, in MiB."""
    held = []
    for _ in range(0, mebibytes, step):
        block = bytearray(step * MIB)
        block[::PAGE] = b"x" * (step * MIB // PAGE)
        held.append(block)
    return len(held) * step


@job(name="hostile.shout", max_retries=0)
def shout(mebibytes: int) -> int:
    """Print so many MiB to stdout."""
    line = "x" * 1023
    for _ in range(mebibytes * 1024):
        print(line)
    return mebibytes


@job(name="hostile.close_stdout", max_retries=0)
def close_stdout() -> None:
    """Close the stream that others print to."""
    sys.stdout.close()


@job(name="hostile.open_descriptors", max_retries=0)
def open_descriptors(path: str) -> int:
    """Open descriptors until there are no more, keep them until a file is there; say how many there were."""
    held: list[int] = []
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        while not os.access(path, os.F_OK):
            time.sleep(STEP)
    finally:
        for descriptor in held:
            os.close(descriptor)
    return len(held)


@job(name="hostile.leave_threads", max_retries=0)
def leave_threads(count: int, seconds: float, *, daemon: bool = False) -> int:
    """Start threads that outlive the job; unless they are daemons, Python waits for them when it ends."""
    for _ in range(count):
        threading.Thread(target=time.sleep, args=(seconds,), daemon=daemon).start()
    return count


@job(name="hostile.occupy_executor", max_retries=0)
async def occupy_executor(seconds: float) -> None:
    """Leave the loop's own executor at work, whose threads Python waits for when it ends."""
    asyncio.get_running_loop().run_in_executor(None, time.sleep, seconds)


@job(name="hostile.leave_grandchild", max_retries=0)
def leave_grandchild(seconds: float) -> int:
    """Start a process with all that can be inherited, and leave it behind; say which."""
    code = f"import time; time.sleep({seconds})"
    return subprocess.Popen([sys.executable, "-S", "-c", code], close_fds=False).pid


@job(name="hostile.fork", max_retries=0)
def fork(seconds: float) -> int:
    """Fork the process that runs this, in a thread of it, and leave the copy behind; say which it is."""
    pid = os.fork()
    if pid == 0:
        time.sleep(seconds)
        os._exit(0)
    return pid


# --- what cannot be handed on ---------------------------------------------------------------------


class Bound(Exception):
    """It cannot be pickled: it holds a lock, and its constructor wants what its `args` do not have."""

    def __init__(self, what: str, lock: object) -> None:
        super().__init__(what)
        self.lock = lock


class Mute(Exception):
    """An error whose text raises another error, given when it is made."""

    def __init__(self, kind: type[BaseException]) -> None:
        super().__init__()
        self.kind = kind

    def __str__(self) -> str:
        raise self.kind("no text")

    __repr__ = __str__


class _NoName(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]  # that is the point
        raise RuntimeError("no name")


class Nameless(Exception, metaclass=_NoName):
    """Its class has no name."""


ENDINGS: dict[str, Callable[[], BaseException]] = {
    "bound": lambda: Bound("it holds a lock", threading.Lock()),
    "mute": lambda: Mute(RuntimeError),
    "mute-exit": lambda: Mute(SystemExit),
    "nameless": Nameless,
    "endless": lambda: RuntimeError("x" * (8 * MIB)),
    "SystemExit": lambda: SystemExit(7),
    "KeyboardInterrupt": KeyboardInterrupt,
    "GeneratorExit": GeneratorExit,
    "CancelledError": asyncio.CancelledError,
    "StopIteration": lambda: StopIteration(7),
    "group": lambda: BaseExceptionGroup("two", [SystemExit(1), ValueError("2")]),
}
"""Ways to end that a careless runner stumbles over; `mute-exit` and `nameless` strike while they are described."""


@job(name="hostile.raise_in_thread", max_retries=0)
def raise_in_thread(what: str) -> NoReturn:
    """Raise one of `ENDINGS` in a thread."""
    raise ENDINGS[what]()  # noqa: RSE102 - it is called for the exception


@job(name="hostile.raise_in_coroutine", max_retries=0)
async def raise_in_coroutine(what: str) -> NoReturn:
    """Raise one of `ENDINGS` in a coroutine."""
    raise ENDINGS[what]()  # noqa: RSE102 - it is called for the exception


class Sly(dict[str, object]):
    """A mapping that cannot be read."""

    def items(self) -> NoReturn:
        """Refuse."""
        raise SystemExit("not mine")

    __iter__ = keys = values = items


def _loop_of_lists() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


def _deep() -> list[object]:
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    return value


RESULTS: dict[str, Callable[[], object]] = {
    "lock": threading.Lock,
    "self": _loop_of_lists,
    "deep": _deep,
    "long": lambda: "x" * (3 * MIB),
    "wide": lambda: 1 << 200,
    "surrogate": lambda: "caf\udce9",
    "generator": lambda: (number for number in range(3)),
    "function": lambda: _deep,
    "sly": lambda: Sly(a=1),
    "mute": lambda: Mute(SystemExit),
}
"""Results that cannot be encoded."""


@job(name="hostile.return_odd")
def return_odd(what: str) -> object:
    """Return one of `RESULTS`."""
    return RESULTS[what]()


@job(name="hostile.account")
async def account(ctx: JobContext) -> dict[str, object]:
    """Be no harm: say who runs this, and how many tasks are on the loop beside it."""
    return {"pid": os.getpid(), "child": ctx.worker, "tasks": len(asyncio.all_tasks())}
