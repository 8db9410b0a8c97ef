"""Jobs behind named limits and circuit breakers, which write down outside of Redis when they start and end."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from jobfleet import Breaker, JobContext, Limit, RateLimited, job

FOLDER = Path(os.environ.get("JOBFLEET_TEST_FOLDER", "."))


def note(name: str, event: str, ctx: JobContext, cost: int = 1) -> None:
    """Append one line to the record of an observer, in one write: event, job, process, cost, time in µs."""
    descriptor = os.open(FOLDER / f"seen-{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        line = f"{event} {ctx.job_id} {os.getpid()} {cost} {time.time_ns() // 1000}\n"
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


@job(name="gated.fast", limits=["fast"])
async def fast(ctx: JobContext) -> None:
    """A job under a rate."""
    note("fast", "start", ctx)


@job(name="gated.call", limits=["fast", Limit("gpt", cost="tokens")], queue="other")
async def call(ctx: JobContext, tokens: int) -> None:
    """A job under two limits, one of which has costs."""
    note("fast", "start", ctx)
    note("gpt", "start", ctx, tokens)


@job(name="gated.nap", limits=["few"])
async def nap(ctx: JobContext, seconds: float) -> None:
    """A job under a concurrency."""
    note("few", "start", ctx)
    await asyncio.sleep(seconds)
    note("few", "end", ctx)


@job(name="gated.elsewhere", limits=["few"], queue="other")
def elsewhere(ctx: JobContext, seconds: float) -> None:
    """The same limit, in another queue and in threads."""
    note("few", "start", ctx)
    time.sleep(seconds)
    note("few", "end", ctx)


@job(name="gated.cell", limits=["few"], queue="third", run_in="process")
def cell(ctx: JobContext, seconds: float) -> None:
    """The same limit, in processes."""
    note("few", "start", ctx)
    time.sleep(seconds)
    note("few", "end", ctx)


@job(name="gated.free")
async def free(ctx: JobContext) -> None:
    """A job without a limit."""
    note("free", "start", ctx)


@job(name="gated.refused", limits=["api"])
async def refused(ctx: JobContext, path: str, seconds: float) -> str:
    """A service refuses it while a file exists."""
    note("api", "start", ctx)
    if Path(path).exists():
        Path(path).unlink()
        raise RateLimited(seconds, limit="api")
    return "done"


@job(
    name="gated.flaky", max_retries=0, breaker=Breaker(0.5, window="1m", half_open=2, minimum=4, cooldown=1.0),
)  # fmt: skip
async def flaky(ctx: JobContext, path: str) -> str:
    """It fails while a file exists."""
    note("flaky", "start", ctx)
    if Path(path).exists():
        raise ConnectionError("the service is away")
    return "done"
