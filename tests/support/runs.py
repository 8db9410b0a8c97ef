"""A run of a job from its enqueue to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from jobfleet import Fleet, Job
from tests.support.fleet import LONG

Run = Callable[..., Any]
"""Runs a function to its end: its name and arguments, ``kwargs``, and options of the job."""


def runner(fleet: Fleet) -> Run:
    """Return what enqueues a job and waits for its end."""

    def run(name: str, *args: object, kwargs: dict[str, object] | None = None, **options: Any) -> Any:
        job_id = fleet.enqueue(Job(name, name, args, kwargs or {}, **options))
        return fleet.wait(job_id, timeout=LONG)

    return run
