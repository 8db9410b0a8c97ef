"""Jobs that sleep and continue, and how soon a signal continues a job, beside plain jobs of the same round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from bench.figure import Figure, Reading, Row
from bench.setting import Server, Setting, Trouble, fill, jobs
from jobfleet import Fleet, Job

SLOTS = "100"
NAP = 0.001
"""Seconds that each job sleeps: it is due again as soon as its run has ended."""
SPACING = 0.01
"""Seconds between two signals of the latency."""


def signals(setting: Setting) -> Mapping[str, Reading]:
    """A drain of jobs that sleep once; then jobs that wait, signalled one after the other."""
    count, few = setting.size(20_000, 2_000), setting.size(500, 100)
    with setting.server() as server:
        plain = _drain(server, count, "bench.add", 10, 20)
    with setting.server() as server:
        napping = _drain(server, count, "bench.nap", NAP)
    with setting.server() as server, Fleet(server.url) as fleet:
        server.worker("-p", "1", "-c", SLOTS)
        server.wait_serving(fleet)
        enqueued = _spaced(server, few, lambda index: _enqueue(fleet, index))
    with setting.server() as server, Fleet(server.url) as fleet:
        server.worker("-p", "1", "-c", SLOTS)
        ids = [one.id for one in fleet.enqueue_many(Job("await", "bench.await_signal", (n,)) for n in range(few))]
        server.wait(lambda: _suspended(fleet) == few, "all jobs wait")
        signalled = _spaced(server, few, lambda index: fleet.signal(ids[index], "go", time.monotonic_ns()))
    return {
        "sleeps_rate": Reading(napping, plain),
        "signals_p50": Reading(statistics.median(signalled), statistics.median(enqueued)),
        "signals_p99": Reading(_p99(signalled), _p99(enqueued)),
    }


def _drain(server: Server, count: int, function: str, *args: object) -> float:
    """Jobs per second from the first end to the last."""
    with Fleet(server.url) as fleet:
        fill(fleet, jobs(count, function, args))
        server.worker("-p", "1", "-c", SLOTS)
        seen = server.drained(count)
    return (count - 1) / (seen.last - seen.first)


def _suspended(fleet: Fleet) -> int:
    return sum(queue.scheduled for queue in fleet.queues())


def _enqueue(fleet: Fleet, index: int) -> None:
    fleet.enqueue(Job("latency", "bench.latency", (index, time.monotonic_ns())))


def _spaced(server: Server, count: int, send: Callable[[int], object]) -> list[float]:
    """Milliseconds from each sending to the stamp of its job."""
    for index in range(count):
        send(index)
        time.sleep(SPACING)
    server.wait(lambda: len(server.stamps()) == count, "all jobs have gone on")
    late = [(at - sent) / 1e6 for rows in server.stamps().values() for sent, at in rows]
    if len(late) != count:
        raise Trouble("a job has gone on twice")
    return late


def _p99(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


ROWS = (
    Row(
        "signals",
        (
            Figure("sleeps_rate", "drain of jobs that sleep once and continue", "jobs/s", "a plain drain"),
            Figure("signals_p50", "a signal to the job's continuation, p50", "ms", "enqueue to start"),
            Figure("signals_p99", "the same, p99", "ms", "enqueue to start"),
        ),
        signals,
    ),
)
