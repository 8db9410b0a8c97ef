"""Jobs that look at those they have waited for."""

from __future__ import annotations

import asyncio
from pathlib import Path

from jobfleet import Flow, Job, JobContext, job


@job(name="family.give")
async def give(size: int) -> str:
    """Return so much."""
    return "x" * size


@job(name="family.fail", max_retries=0)
async def fail() -> None:
    """Fail."""
    raise ValueError("no luck")


@job(name="family.lucky", max_retries=0)
async def lucky(path: str) -> None:
    """Fail unless there is a file."""
    if not Path(path).exists():
        raise ValueError("no luck")


def seen(ctx: JobContext) -> list[list[object]]:
    """What became of the parents, in order."""
    return [[parent, str(row.status), len(row.result or ""), row.error] for parent, row in ctx.parents.items()]


@job(name="family.look")
async def look(ctx: JobContext) -> list[list[object]]:
    """Look on the loop."""
    return seen(ctx)


@job(name="family.look_in_thread")
def look_in_thread(ctx: JobContext) -> list[list[object]]:
    """Look in a thread."""
    return seen(ctx)


@job(name="family.look_apart", run_in="process")
def look_apart(ctx: JobContext) -> list[list[object]]:
    """Look in a process."""
    return seen(ctx)


@job(name="family.spread", retry_delay=0)
async def spread(ctx: JobContext, count: int, gate: str) -> list[str]:
    """Add parts to its own flow, which those that wait for it wait for, too; then wait for a file."""
    flow = Flow("parts")
    flow.map(lambda _: Job("give", give, (1,)), range(count))
    ids = await ctx.flow.add(flow, join=True)
    while gate and ctx.attempt == 1 and not Path(gate).exists():
        await asyncio.sleep(0.05)
    return ids


@job(name="family.spread_apart", run_in="process")
def spread_apart(ctx: JobContext, count: int) -> list[str]:
    """The same in a process."""
    return [ctx.flow.add_sync(Job("give", "family.give", (1,), tags=("apart",)), join=True) for _ in range(count)]
