"""`jobfleet bench`: a quick measure of how many jobs per second this Redis takes and this process runs.

It uses a separate namespace, the configured one with ``-bench`` appended; results there are kept for a minute.
``bench/`` in the project's repository measures with more care: real workers, floors, several rounds.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from jobfleet.config import JobConfig
from jobfleet.demo.jobs import add
from jobfleet.fleet.sync import Fleet
from jobfleet.model import Job

SLOTS = 100
QUEUE = "bench"
KEEP_S = 60
STALL_S = 20.0


def main(config: JobConfig, jobs: int, form: str = "table") -> int:
    """Enqueue one by one and in bulk, drain with a worker in this process, and print the rates.

    Args:
        config: The settings, with the URL of Redis.
        jobs: Number of jobs to enqueue in bulk. A fifth of it, at most 2,000, is enqueued one by one.
        form: ``json`` prints an array at the end; any other value prints a table, row by row.

    Returns:
        The exit status: 0, or 1 if the worker made no progress for 20 s.

    Raises:
        StoreUnavailable: Redis is unreachable.
    """
    own = replace(config, namespace=f"{config.namespace}-bench", slots=SLOTS, queues=(QUEUE,))
    singles = max(1, min(2_000, jobs // 5))
    with Fleet.of(own) as fleet:
        list(fleet.enqueue_many(_jobs(1)))  # connects, and creates the queue
        fleet.purge_queue(QUEUE)
        if form != "json":
            print(f"{'':<26}{'jobs':>9}{'seconds':>10}{'jobs/s':>10}")
        rows: list[dict[str, object]] = []
        measures: tuple[tuple[str, int, Callable[[], float | None]], ...] = (
            ("enqueue, one at a time", singles, lambda: _timed(lambda: [fleet.enqueue(job) for job in _jobs(singles)])),
            ("enqueue, in bulk", jobs, lambda: _timed(lambda: list(fleet.enqueue_many(_jobs(jobs))))),
            ("drain, one worker in here", singles + jobs, lambda: _drain(fleet, singles + jobs)),
        )
        for name, count, measure in measures:
            seconds = measure()
            if seconds is None:
                print(f"The worker made no progress for {STALL_S:g} s.", file=sys.stderr)
                return 1
            rows.append({"name": name, "jobs": count, "seconds": seconds, "jobs_per_second": count / seconds})
            if form != "json":
                print(f"{name:<26}{count:>9,}{seconds:>10.2f}{count / seconds:>10,.0f}")
    if form == "json":
        print(json.dumps(rows, indent=2))
    return 0


def _jobs(count: int) -> Iterator[Job]:
    return (Job("bench", add.name, (10, 20), queue=QUEUE, result_ttl=KEEP_S) for _ in range(count))


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _drain(fleet: Fleet, jobs: int) -> float | None:
    """Seconds until all jobs were completed; None if the worker made no progress. It runs in this process."""
    stop = threading.Event()
    worker = threading.Thread(target=fleet.run_worker, kwargs={"queues": (QUEUE,), "slots": SLOTS, "stop": stop})
    target = _completed(fleet) + jobs
    began = moved = time.perf_counter()
    done, seconds = target - jobs, None
    worker.start()
    try:
        while time.perf_counter() - moved < STALL_S:
            now_done = _completed(fleet)
            if now_done > done:
                done, moved = now_done, time.perf_counter()
            if done >= target:
                seconds = moved - began
                break
            time.sleep(0.02)  # between looks: constant looks would take a core from the jobs
    finally:
        stop.set()
        worker.join()
    return seconds


def _completed(fleet: Fleet) -> int:
    return next((queue.totals["completed"] for queue in fleet.queues() if queue.name == QUEUE), 0)
