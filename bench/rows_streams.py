"""Output streams: how many chunks a worker emits, and how soon a reader has one, beside plain commands of Redis."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.figure import Figure, Reading, Row, Target
from bench.setting import Server, Setting, Trouble
from jobfleet import Fleet, Job

CHUNKS = 200_000
SAMPLES = 1000
SPACING = 0.005
"""Seconds between two chunks of the latency."""
BATCH = 500
TEXT = "abcdefghijklmnop"


def streams(setting: Setting) -> Mapping[str, Reading]:
    """One job, then ten, that emit as fast as they can; then one that emits at a steady pace."""
    chunks, samples = setting.size(CHUNKS), setting.size(SAMPLES)
    with setting.server() as server, Fleet(server.url) as fleet:
        server.worker("-p", "1", "-c", "10")
        server.wait_serving(fleet)
        one = _rate(fleet, 1, chunks)
        ten = _rate(fleet, 10, chunks)
        plain = _plain_rate(server, chunks)
        late = _latencies(fleet, samples)
        published = _plain_latencies(server, fleet, samples)
    return {
        "streams_rate": Reading(one, plain),
        "streams_rate_ten": Reading(ten, plain),
        "streams_p50": Reading(statistics.median(late), statistics.median(published)),
        "streams_p99": Reading(_p99(late), _p99(published)),
    }


def _rate(fleet: Fleet, jobs: int, chunks: int) -> float:
    """Chunks per second from the first start to the last end, all chunks stored."""
    ids = [
        receipt.id
        for receipt in fleet.enqueue_many(Job("emit", "bench.emit", (chunks // jobs, TEXT)) for _ in range(jobs))
    ]
    results = [fleet.wait(job_id, timeout=300) for job_id in ids]
    starts = [result.started_at for result in results if result.started_at]
    ends = [result.completed_at for result in results if result.completed_at]
    if len(starts) < jobs or len(ends) < jobs:
        raise Trouble("a job that emits has not run")
    return chunks / (max(ends) - min(starts)).total_seconds()


def _plain_rate(server: Server, chunks: int) -> float:
    """Entries per second that a loop adds to a stream of Redis, in pipelines of the same size."""
    began = time.perf_counter()
    for _ in range(0, chunks, BATCH):
        with server.raw.pipeline(transaction=False) as pipe:
            for _ in range(BATCH):
                pipe.xadd("plain", {"v": TEXT}, maxlen=10_000)
            pipe.execute()
    return chunks / (time.perf_counter() - began)


def _latencies(fleet: Fleet, samples: int) -> list[float]:
    """Milliseconds from `ctx.emit` to the reader."""
    job_id = fleet.enqueue(Job("tick", "bench.tick", (samples, SPACING)))
    return list(_late(chunk.value for chunk in fleet.stream(job_id)))


def _plain_latencies(server: Server, fleet: Fleet, samples: int) -> list[float]:
    """Milliseconds from PUBLISH to a subscriber."""
    raw: Any = server.raw
    with raw.pubsub(ignore_subscribe_messages=True) as ear:
        ear.subscribe("plain")
        ear.get_message(timeout=5.0)
        fleet.enqueue(Job("publish", "bench.publish", (server.url, samples, SPACING)))
        messages = (ear.get_message(timeout=30.0) for _ in range(samples))
        return list(_late(float(message["data"]) for message in messages if message is not None))


def _late(sent: Iterator[float]) -> Iterator[float]:
    return (1000 * (time.monotonic() - at) for at in sent)


def _p99(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]


ROWS = (
    Row(
        "streams",
        (
            Figure(
                "streams_rate", "chunks emitted per worker, one job", "/s", "XADD in pipelines", Target("≥", 20_000)
            ),
            Figure("streams_rate_ten", "the same, ten jobs", "/s", "XADD in pipelines", Target("≥", 20_000)),
            Figure("streams_p50", "a chunk's emit to its reader, p50", "ms", "plain pub/sub"),
            Figure("streams_p99", "the same, p99", "ms", "plain pub/sub"),
        ),
        streams,
    ),
)
