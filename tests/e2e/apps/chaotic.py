"""Jobs of a chaos run. Each writes its start and its end into the history of the run, outside of Redis."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobfleet import JobContext, job
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
