"""Jobs that look at those they have waited for."""

from __future__ import annotations

from jobfleet import JobContext, job


@job(name="family.give")
async def give(size: int) -> str:
    """Return so much."""
    return "x" * size


@job(name="family.fail", max_retries=0)
async def fail() -> None:
    """Fail."""
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
