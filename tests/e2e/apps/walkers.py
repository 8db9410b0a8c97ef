"""Jobs that wait for signals and times, or undo steps, and write each passage down outside of Redis."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobfleet import JobContext, job, undo
from jobfleet.model.signals import Suspended

FOLDER = Path(os.environ.get("JOBFLEET_TEST_FOLDER", "."))
NAP = 0.02


def append(name: str, line: str) -> None:
    """Append one line, in one write."""
    descriptor = os.open(FOLDER / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)


def note(event: str, ctx: JobContext, place: int) -> None:
    """Note what a run has done: event, job, fence, process, place, time in µs."""
    append("walks", f"{event} {ctx.job_id} {ctx.fence} {os.getpid()} {place} {time.time_ns() // 1000}")


@contextmanager
def passing(ctx: JobContext, place: int) -> Iterator[None]:
    """Note whether the run ends at a wait, or passes it."""
    try:
        yield
    except Suspended:
        note("stop", ctx, place)
        raise
    note("pass", ctx, place)


@job(name="walk.loop", max_crashes=1000)
async def loop(ctx: JobContext, rounds: int) -> list[int]:
    """Wait for a signal and sleep, in turns; places are even for signals, and odd for sleeps."""
    note("start", ctx, 0)
    values = []
    for number in range(rounds):
        with passing(ctx, 2 * number):
            values.append(await ctx.wait_for(f"go {number}", "1h"))
        with passing(ctx, 2 * number + 1):
            await ctx.sleep(NAP)
    note("done", ctx, 2 * rounds)
    return values


def _walk(ctx: JobContext, rounds: int) -> list[int]:
    note("start", ctx, 0)
    values = []
    for number in range(rounds):
        with passing(ctx, 2 * number):
            values.append(ctx.wait_for_sync(f"go {number}", "1h"))
        with passing(ctx, 2 * number + 1):
            ctx.sleep_sync(NAP)
    note("done", ctx, 2 * rounds)
    return values


@job(name="walk.thread", max_crashes=1000)
def thread(ctx: JobContext, rounds: int) -> list[int]:
    """Walk in a thread."""
    return _walk(ctx, rounds)


@job(name="walk.cell", run_in="process", max_crashes=1000)
def cell(ctx: JobContext, rounds: int) -> list[int]:
    """Walk in a process."""
    return _walk(ctx, rounds)


def take(name: str, thing: str) -> None:
    """Do a step."""
    append(name, f"do {thing}")


@undo
def give_back(name: str, thing: str) -> None:
    """Undo a step."""
    append(name, f"undo {thing}")


@job(name="walk.trip", max_crashes=1000, max_retries=0)
async def trip(ctx: JobContext, name: str, fails: bool) -> None:
    """Take four steps with an undo each; then fail, or wait to be cancelled."""
    for thing in "abcd":
        await ctx.step(thing, take, name, thing, undo=give_back)
        await ctx.sleep(NAP)
    if fails:
        raise ValueError("no seat")
    await ctx.wait_for("never", "1h")
