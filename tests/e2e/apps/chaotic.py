"""Jobs of a chaos run. Each writes its start and its end into the history of the run, outside of Redis."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobfleet import Job, JobContext, job
from tests.support.chaos.history import Recorder

FOLDER = Path(os.environ.get("JOBFLEET_TEST_FOLDER", "/nonexistent"))
STEP = 0.02


@contextmanager
def noted(ctx: JobContext, number: int) -> Iterator[None]:
    """Note start and end; the end is `fail` after an exception."""
    recorder = Recorder(FOLDER, f"run-{os.getpid()}")
    recorder.note("invoke", "run", ctx.job_id, ctx.fence, call=number, attempt=ctx.attempt)
    try:
        yield
    except BaseException as error:
        recorder.note("fail", "run", ctx.job_id, ctx.fence, error=type(error).__name__)
        raise
    else:
        recorder.note("ok", "run", ctx.job_id, ctx.fence)
    finally:
        recorder.close()


@job(name="chaos.work", retry_delay=0.2, max_crashes=50)
async def work(ctx: JobContext, number: int, seconds: float) -> int:
    """Sleep on the loop; return the fencing token."""
    with noted(ctx, number):
        await asyncio.sleep(seconds)
    return ctx.fence


@job(name="chaos.rest", retry_delay=0.2, max_crashes=50)
def rest(ctx: JobContext, number: int, seconds: float) -> int:
    """Sleep in a thread; return the fencing token."""
    with noted(ctx, number):
        time.sleep(seconds)
    return ctx.fence


@job(name="chaos.report", retry_delay=0.2, max_crashes=50)
async def report(ctx: JobContext, number: int, times: int) -> int:
    """Report progress again and again; return the fencing token."""
    with noted(ctx, number):
        for at in range(times):
            ctx.progress(at / times, f"step {at}")
            await asyncio.sleep(STEP)
    return ctx.fence


@job(name="chaos.flaky", retry_delay=0.2, max_crashes=50)
async def flaky(ctx: JobContext, number: int, times: int) -> int:
    """Fail so often, then return the fencing token."""
    with noted(ctx, number):
        if ctx.attempt <= times:
            raise RuntimeError(f"attempt {ctx.attempt}")
    return ctx.fence


def note(ctx: JobContext, op: str, **value: object) -> None:
    """Note something that a run of a feature does."""
    recorder = Recorder(FOLDER, f"run-{os.getpid()}")
    recorder.note("info", op, ctx.job_id, ctx.fence, **value)
    recorder.close()


async def _did(ctx: JobContext, step: int) -> int:
    note(ctx, "step", step=step)
    await asyncio.sleep(STEP)
    return ctx.fence


@job(name="chaos.steps", retry_delay=0.2, max_crashes=50)
async def steps(ctx: JobContext, number: int, count: int) -> int:
    """Do some steps; note the value of each once it is kept. Fail once in the middle."""
    with noted(ctx, number):
        for step in range(count):
            value = await ctx.step(f"step {step}", _did, ctx, step)
            note(ctx, "kept", step=step, kept=value)
            if ctx.attempt == 1 and step == count // 2:
                raise RuntimeError("in the middle")
    return ctx.fence


@job(name="chaos.unstep", max_retries=20, retry_delay=0.2, max_crashes=50)
def unstep(job_id: str, step: int) -> None:
    """Undo a step."""
    recorder = Recorder(FOLDER, f"run-{os.getpid()}")
    recorder.note("info", "undone", job_id, step=step)
    recorder.close()


def _booked(job_id: str, step: int) -> int:
    recorder = Recorder(FOLDER, f"run-{os.getpid()}")
    recorder.note("info", "booked", job_id, step=step)
    recorder.close()
    return step


@job(name="chaos.saga", max_retries=0, retry_delay=0.2, max_crashes=50)
async def saga(ctx: JobContext, number: int, count: int) -> int:
    """Do some steps, then fail for good: all of them are undone."""
    with noted(ctx, number):
        for step in range(count):
            await ctx.step(f"step {step}", _booked, ctx.job_id, step, undo=unstep)
        raise RuntimeError("for good")


@job(name="chaos.grow", retry_delay=0.2, max_crashes=50)
async def grow(ctx: JobContext, number: int, count: int) -> int:
    """Add jobs to the flow of this job."""
    with noted(ctx, number):
        for at in range(count):
            added = await ctx.flow.add(Job("added", "chaos.work", (number, 0.02)), name=f"part {at}")
            note(ctx, "added", ids=[added])
    return ctx.fence


@job(name="chaos.wait", retry_delay=0.2, max_crashes=50)
async def wait(ctx: JobContext, number: int, seconds: float) -> int:
    """Sleep without a run, then wait for a signal."""
    with noted(ctx, number):
        await ctx.sleep(seconds)
        note(ctx, "signalled", value=await ctx.wait_for("go", timeout="1h"))
    return ctx.fence


@job(name="chaos.emit", retry_delay=0.2, max_crashes=50)
async def emit(ctx: JobContext, number: int, count: int) -> int:
    """Emit numbers."""
    with noted(ctx, number):
        for chunk in range(count):
            await ctx.emit(chunk)
            await asyncio.sleep(STEP / 2)
    return ctx.fence


@job(name="chaos.ordered", retry_delay=0.2, max_crashes=50)
async def ordered(ctx: JobContext, number: int, seconds: float) -> int:
    """Run in the order of a sequence. Some fail once."""
    with noted(ctx, number):
        await asyncio.sleep(seconds)
        if number % 5 == 0 and ctx.attempt == 1:
            raise RuntimeError("once")
    return ctx.fence


@job(name="chaos.narrow", retry_delay=0.2, max_crashes=50, limits=["narrow"])
async def narrow(ctx: JobContext, number: int, seconds: float) -> int:
    """Run under a named limit."""
    with noted(ctx, number):
        await asyncio.sleep(seconds)
    return ctx.fence


@job(name="chaos.bulky", retry_delay=0.2, max_crashes=50)
def bulky(ctx: JobContext, number: int, text: str) -> int:
    """Take an argument that the payload store keeps."""
    with noted(ctx, number):
        note(ctx, "read", length=len(text))
    return ctx.fence


@job(name="chaos.crash", max_crashes=2, retry_delay=0.2)
def crash(ctx: JobContext, number: int) -> None:
    """End the process."""
    with noted(ctx, number):
        os._exit(3)


@job(name="chaos.tick", queue="ticks", cron="* * * * * *", max_crashes=50)
async def tick(ctx: JobContext) -> int:
    """Run each second; note the planned time."""
    recorder = Recorder(FOLDER, f"run-{os.getpid()}")
    recorder.note("info", "tick", ctx.job_id, ctx.fence, planned=str(ctx.nominal_time))
    recorder.close()
    return ctx.fence
