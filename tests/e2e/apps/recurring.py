"""A function that runs by itself, and one whose options are published."""

from __future__ import annotations

from jobfleet import job


@job(name="recur.tick", queue="clockwork", cron="* * * * * *")
def tick() -> None:
    """Run each second."""


@job(name="recur.once", queue="clockwork", max_retries=7)
def once() -> None:
    """Run when asked."""
