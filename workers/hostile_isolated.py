"""The worst citizens of `workers.hostile`, each in a process of its own: what isolation is for."""

from __future__ import annotations

from typing import Any

from jobfleet import JobFunction, job
from workers import hostile

CITIZENS: tuple[JobFunction[..., Any, Any], ...] = (
    hostile.hold_gil, hostile.swallow_cancellation, hostile.swallow_exceptions, hostile.block_signals,
    hostile.segfault, hostile.leave, hostile.stop_loop, hostile.close_descriptors, hostile.exhaust_recursion,
    hostile.shout, hostile.close_stdout, hostile.open_descriptors, hostile.leave_threads, hostile.occupy_executor,
    hostile.leave_grandchild, hostile.fork, hostile.raise_in_thread, hostile.raise_in_coroutine, hostile.return_odd,
    hostile.balloon,
)  # fmt: skip

for citizen in CITIZENS:
    name = citizen.name.replace("hostile.", "isolated.")
    job(name=name, run_in="process", **citizen.given)(citizen.function)

job(name="isolated.balloon_bound", run_in="process", memory_limit="256MiB", **hostile.balloon.given)(
    hostile.balloon.function
)
