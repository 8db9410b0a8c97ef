"""Functions for wards: what they ask of their context, how they hear a stop, and how they end their process."""

from __future__ import annotations

import asyncio
import os
import re
import time
from contextlib import suppress
from pathlib import Path

from jobfleet import JobCancelled, JobContext, JobfleetError, job

STEP = 0.01


@job(name="patient.add")
def add(a: int, b: int) -> list[int]:
    """Add; answer the process, too."""
    return [a + b, os.getpid()]


@job(name="patient.port")
async def port(ctx: JobContext) -> list[object]:
    """Ask for all that a worker offers."""
    ctx.port.extend(5)
    ctx.port.note(1, 20, "a line \udce9")
    await ctx.port.keep("b", b"2")
    try:
        await ctx.port.keep("refused", b"")
    except JobfleetError as error:
        return [dict(await ctx.port.steps()), type(error).__name__, str(error)]
    raise AssertionError


@job(name="patient.sleep")
def sleep(ctx: JobContext, path: str) -> None:
    """Sleep in a thread, in steps."""
    Path(path).write_text(str(os.getpid()))
    while True:
        time.sleep(STEP)


@job(name="patient.asleep")
async def asleep(ctx: JobContext, path: str) -> None:
    """Sleep on the loop."""
    Path(path).write_text(str(os.getpid()))
    await asyncio.sleep(600)


@job(name="patient.report")
async def report(ctx: JobContext, value: float, path: str) -> str:
    """Report once, and wait for a file."""
    ctx.progress(value, "so far")
    while not Path(path).exists():
        await asyncio.sleep(STEP)
    return "done"


@job(name="patient.stubborn")
def stubborn(path: str) -> None:
    """Hear no interruption."""
    Path(path).write_text(str(os.getpid()))
    while True:
        with suppress(JobCancelled):
            re.match(r"(a+)+$", "a" * 22 + "b")


@job(name="patient.leave")
async def leave(path: str) -> None:
    """End the process as soon as a file is there."""
    while not Path(path).exists():
        await asyncio.sleep(STEP)
    os._exit(7)


@job(name="patient.stop_loop")
async def stop_loop() -> None:
    """Stop the event loop."""
    asyncio.get_running_loop().stop()
    await asyncio.sleep(600)


@job(name="patient.odd")
async def odd(kind: str) -> object:
    """Raise, or return what cannot travel."""
    if kind == "result":
        return {"lock": object()}
    raise {"value": ValueError("wrong"), "exit": SystemExit(3)}[kind]
