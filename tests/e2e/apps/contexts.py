"""Jobs with steps, logs, hooks and resources, which write down outside of Redis what they do."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

from jobfleet import JobContext, Resource, hooks, job
from jobfleet.outcome import Outcome

PATH = Path(os.environ.get("JOBFLEET_TEST_FOLDER", ".")) / "told"
GATE = PATH.with_name("gate")
STEP = 0.01
log = logging.getLogger("shop")


def tell(what: str) -> str:
    """Append one line, in one write."""
    descriptor = os.open(PATH, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{what}\n".encode())
    finally:
        os.close(descriptor)
    return what


@asynccontextmanager
async def open_pool() -> AsyncIterator[str]:
    """A pool that is opened on the loop."""
    tell("open pool")
    yield "pool"
    tell("close pool")


@contextmanager
def open_file() -> Iterator[str]:
    """A file that is opened in a thread."""
    tell("open file")
    yield "file"
    tell("close file")


@hooks.before(functions=["ctx.hooked"])
def before(ctx: JobContext) -> None:
    """Told before."""
    tell(f"before {ctx.attempt}")


@hooks.on_failure(functions=["ctx.hooked"])
async def on_failure(ctx: JobContext, error: BaseException) -> None:
    """Told of the end of a job that failed."""
    tell(f"on_failure {error!r}")


@hooks.after(functions=["ctx.hooked"])
def after(ctx: JobContext, outcome: Outcome) -> None:
    """Told after."""
    tell(f"after {type(outcome).__name__}")


@job(name="ctx.hooked", max_retries=0)
def hooked() -> None:
    """A job that fails."""
    raise ValueError("no luck")


@job(name="ctx.lingering")
async def lingering() -> None:
    """Run until it is cancelled; the hook after it takes long."""
    tell("run")
    await asyncio.sleep(60)


@hooks.after(functions=["ctx.lingering"])
async def linger(ctx: JobContext, outcome: Outcome) -> None:
    """Take several times as long as a cancelled run may."""
    tell(f"after {type(outcome).__name__}")
    await asyncio.sleep(4)
    tell("lingered")


@job(name="ctx.leaving")
async def leaving(ctx: JobContext, is_killed: bool) -> str:
    """Leaves its process between two steps, the first time, when it may."""
    ctx.log.info("attempt %d", ctx.attempt)
    paid = await ctx.step("charge", tell, "charge")
    while ctx.attempt == 1:
        await asyncio.sleep(STEP)
        if GATE.exists() and not is_killed:
            os._exit(7)
    return f"{paid} {await ctx.step('ship', tell, 'ship')}"


@job(name="ctx.leaving_thread")
def leaving_thread(ctx: JobContext, is_killed: bool) -> str:
    """The same in a thread."""
    ctx.log.info("attempt %d", ctx.attempt)
    paid = ctx.step_sync("charge", tell, "charge")
    while ctx.attempt == 1:
        time.sleep(STEP)
        if GATE.exists() and not is_killed:
            os._exit(7)
    return f"{paid} {ctx.step_sync('ship', tell, 'ship')}"


@job(name="ctx.pooled")
async def pooled(pool: Annotated[str, Resource(open_pool)], file: Annotated[str, Resource(open_file)]) -> str:
    """Uses both resources."""
    return f"{pool} {file}"


@job(name="ctx.chatty")
async def chatty(ctx: JobContext) -> None:
    """Logs by both ways, and is quiet about the rest."""
    ctx.log.info("through the context")
    log.info("through the library")
    log.debug("too quiet")


@job(name="ctx.isolated", run_in="process")
def isolated(ctx: JobContext, is_killed: bool, pool: Annotated[str, Resource(open_pool)]) -> str:
    """Steps, logs and a resource in a process of its own, which dies between two steps."""
    ctx.log.info("attempt %d", ctx.attempt)
    log.info("through the library")
    paid = ctx.step_sync("charge", tell, "charge")
    if ctx.attempt == 1:
        os.kill(os.getpid(), 9 if is_killed else 11)
    return f"{pool} {paid} {ctx.step_sync('ship', tell, 'ship')} {ctx.checkpoint_sync('none', default=3)}"


@job(name="ctx.isolated_async", run_in="process")
async def isolated_async(
    ctx: JobContext, pool: Annotated[str, Resource(open_pool)], file: Annotated[str, Resource(open_file)]
) -> str:
    """The same for a coroutine."""
    log.info("pid %d", os.getpid())
    await ctx.checkpoint("at", 7)
    return f"{pool} {file} {await ctx.step('charge', tell, 'charge')} {await ctx.checkpoint('at')}"
