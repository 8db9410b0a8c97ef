"""A function that runs by itself, and one whose options are published."""

from __future__ import annotations

from histories import noted

from jobfleet import JobContext, job


@job(name="recur.tick", queue="clockwork", cron="* * * * * *")
def tick(ctx: JobContext) -> None:
    """Run each second."""
    with noted(ctx):
        pass


@job(name="recur.once", queue="clockwork", max_retries=7)
def once(ctx: JobContext) -> None:
    """Run when asked."""
    with noted(ctx):
        pass
