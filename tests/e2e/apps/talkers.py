"""Jobs that log, in every place where a job can run."""

from __future__ import annotations

import asyncio
import logging

from jobfleet import JobContext, job

log = logging.getLogger("shop")


@job(name="talk.loop")
async def loop(ctx: JobContext) -> None:
    ctx.log.info("from the loop", extra={"basket": 7})
    await asyncio.sleep(0)
    log.warning("a \x1b[31mred\nline")


@job(name="talk.thread")
def thread(ctx: JobContext) -> None:
    ctx.log.info("from a thread")


@job(name="talk.process", run_in="process")
def process(ctx: JobContext) -> None:
    ctx.log.info("from a process")


@job(name="talk.fail", max_retries=0)
def fail() -> None:
    raise ValueError("no\nluck")


@job(name="talk.fail_apart", max_retries=0, run_in="process")
def fail_apart() -> None:
    raise ValueError("no luck there")


@job(name="talk.flaky")
def flaky() -> None:
    raise ConnectionError("bank is away")
