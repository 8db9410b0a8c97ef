"""Jobs that write down when they run, outside of Redis, so that tests can count runs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobfleet import JobCancelled, JobContext, Snooze, job

PATH = os.environ.get("HISTORY_FILE", os.devnull)
STEP = 0.01


def note(event: str, ctx: JobContext) -> None:
    """Append one line, in one write."""
    descriptor = os.open(PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{event} {ctx.job_id} {ctx.fence} {os.getpid()}\n".encode())
    finally:
        os.close(descriptor)


@contextmanager
def noted(ctx: JobContext) -> Iterator[None]:
    """Note start and end; an exception is no end."""
    note("start", ctx)
    yield
    note("end", ctx)


@job(name="hist.nap", retry_delay=0.2)
async def nap(ctx: JobContext, seconds: float) -> int:
    """Sleep on the loop; answer the fence."""
    with noted(ctx):
        await asyncio.sleep(seconds)
    return ctx.fence


@job(name="hist.twice")
async def twice(ctx: JobContext, seconds: float) -> int:
    """Sleep, and fail the first time."""
    with noted(ctx):
        await asyncio.sleep(seconds)
    if ctx.attempt == 1:
        raise ConnectionError("not yet")
    return ctx.fence


@job(name="hist.say")
async def say(ctx: JobContext, count: int) -> None:
    """Emit numbers."""
    for n in range(count):
        await ctx.emit(n)


@job(name="hist.ask")
async def ask(ctx: JobContext) -> int:
    """Sleep, and wait for an answer."""
    await ctx.sleep(0.01)
    return int(await ctx.wait_for("answer", "1h"))


@job(name="hist.urgent", queue="urgent")
async def urgent(ctx: JobContext) -> None:
    """A job of another queue."""
    with noted(ctx):
        pass


@job(name="hist.rest")
def rest(ctx: JobContext, seconds: float) -> int:
    """Sleep in a thread; answer the fence."""
    with noted(ctx):
        time.sleep(seconds)
    return ctx.fence


@job(name="hist.gate", retry_delay=0.2)
async def gate(ctx: JobContext, path: str) -> int:
    """Run until a file is there; answer the fence."""
    with noted(ctx):
        while not Path(path).exists():
            await asyncio.sleep(STEP)
    return ctx.fence


@job(name="hist.door")
def door(ctx: JobContext, path: str) -> int:
    """Run in a thread until a file is there, reporting progress all the time."""
    with noted(ctx):
        while not Path(path).exists():
            ctx.progress(0.5, "waiting")
            time.sleep(STEP)
    return ctx.fence


@job(name="hist.block")
async def block(ctx: JobContext, seconds: float) -> int:
    """Block the loop."""
    with noted(ctx):
        time.sleep(seconds)
    return ctx.fence


@job(name="hist.seize")
async def seize(ctx: JobContext, begin: str, end: str) -> int:
    """Block the loop from when one file is there until another one is; what ended before has been sent by then."""
    with noted(ctx):
        while not Path(begin).exists():
            await asyncio.sleep(STEP)
        for _ in range(100):  # turns, since a stalled process finds many timers due in one turn
            await asyncio.sleep(0)
        note("block", ctx)
        while not Path(end).exists():
            time.sleep(STEP)
    return ctx.fence


@job(name="hist.clutch")
def clutch(ctx: JobContext, seconds: float) -> int:
    """Hold the GIL for so long: a search that backtracks for ever, one step longer each time."""
    with noted(ctx):
        end, size = time.monotonic() + seconds, 20
        while time.monotonic() < end:
            begun = time.monotonic()
            re.match(r"(a+)+$", "a" * size + "b")
            size += int(time.monotonic() - begun < seconds / 4)
    return ctx.fence


@job(name="hist.steps")
async def steps(ctx: JobContext, values: list[float], path: str) -> str:
    """Report values, wait for a file, report the last one."""
    with noted(ctx):
        for value in values:
            ctx.progress(value, f"at {value}", {"value": value})
        while not Path(path).exists():
            await asyncio.sleep(STEP)
        ctx.progress(1.0, "last", {"value": 1.0})
    return "done"


@job(name="hist.patient")
async def patient(ctx: JobContext) -> list[object]:
    """Keep a step, sleep, keep another step, and wait for a signal: each wait ends the run."""
    with noted(ctx):
        first = await ctx.step("first", str, "kept")
        await ctx.sleep(0.5)
        second = await ctx.step("second", str, "kept")
        return [first, second, await ctx.wait_for("go")]


@job(name="hist.chatty")
async def chatty(ctx: JobContext, times: int) -> int:
    """Report progress again and again."""
    with noted(ctx):
        for number in range(times):
            ctx.progress(number / times, f"step {number}")
            await asyncio.sleep(STEP)
    return times


@job(name="hist.kill", retry_delay=0.1)
async def kill(ctx: JobContext, signum: int) -> None:
    """Kill the process; the others of the same batch start first."""
    with noted(ctx):
        await asyncio.sleep(0.3)
        os.kill(os.getpid(), signum)


@job(name="hist.leave", retry_delay=0.1)
def leave(ctx: JobContext, code: int, times: int) -> str:
    """End the process with an exit code, the first so many times."""
    with noted(ctx):
        if ctx.attempt <= times:
            os._exit(code)
    return f"attempt {ctx.attempt}"


@job(name="hist.stubborn")
async def stubborn(ctx: JobContext, path: str) -> None:
    """Hear no cancellation until a file is there."""
    note("start", ctx)
    while not Path(path).exists():
        try:
            await asyncio.sleep(STEP)
        except asyncio.CancelledError:
            note("asked", ctx)
    note("end", ctx)


@job(name="hist.deaf")
def deaf(ctx: JobContext, path: str) -> None:
    """Hear no interruption in a thread until a file is there."""
    note("start", ctx)
    while not Path(path).exists():
        try:
            time.sleep(STEP)
        except JobCancelled:
            note("asked", ctx)
    note("end", ctx)


@job(name="hist.prolong")
async def prolong(ctx: JobContext, seconds: float) -> int:
    """Ask for more time, and block the loop for longer than was given at first."""
    with noted(ctx):
        ctx.extend(60)
        time.sleep(seconds)
    return ctx.fence


@job(name="hist.backtrack")
def backtrack(ctx: JobContext) -> None:
    """Hold the GIL in one call of C that does not return."""
    with noted(ctx):
        re.match(r"(a+)+$", "a" * 64 + "b")


@job(name="hist.final", discard_on=(TimeoutError,), max_retries=5)
async def final(ctx: JobContext, seconds: float) -> None:
    """Block the loop; a time-out is final."""
    with noted(ctx):
        time.sleep(seconds)


@job(name="hist.snooze")
async def snooze(ctx: JobContext, path: str) -> int:
    """Ask to be run later, until a file is there."""
    with noted(ctx):
        if not Path(path).exists():
            raise Snooze(0.2)
    return ctx.attempt


@job(name="hist.raise", retry_delay=0.1)
async def raise_(ctx: JobContext, text: str, kind: str = "RuntimeError") -> None:
    """Raise an error whose text may be odd."""
    note("start", ctx)
    kinds = {"ValueError": ValueError, "RuntimeError": RuntimeError, "SystemExit": SystemExit, "Mute": _Mute}
    raise kinds[kind](text)


class _Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@job(name="hist.odd")
def odd(ctx: JobContext, what: str) -> object:
    """Return what cannot travel."""
    note("start", ctx)
    return {"surrogate": "\udcff", "lock": threading.Lock(), "huge": "x" * 3_000_000}[what]


@job(name="hist.undecodable", retry_delay=0.1)
async def undecodable(ctx: JobContext, kind: str) -> None:
    """Raise an error whose text holds a byte that no encoding could read, as names of files may."""
    note("start", ctx)
    raise {"ValueError": ValueError, "RuntimeError": RuntimeError}[kind]("no such file: caf\udce9")


PAIRED: list[str] = []


@job(name="hist.pair")
async def pair(ctx: JobContext, gate: str) -> int:
    """End the process while two of these are in it; else run until a file is there."""
    PAIRED.append(ctx.job_id)
    with noted(ctx):
        while not Path(gate).exists():
            await asyncio.sleep(STEP)
            if len(PAIRED) > 1:
                os._exit(7)
    PAIRED.remove(ctx.job_id)
    return ctx.fence


def _hide() -> None:
    """Register a function that isolated processes do not find."""

    @job(name="hist.hidden")
    async def hidden(ctx: JobContext) -> None:
        with noted(ctx):
            pass


if "isolated" not in str(getattr(sys.modules["__main__"], "__spec__", "")):
    _hide()
