"""How fast one process enqueues and drains a queue on one server, and on the nodes of a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence

from bench.scale.servers import Servers, servers
from jobfleet import Fleet, Job
from jobfleet.functions.registry import Registry

COLUMNS = {
    "nodes": "nodes",
    "enqueue_per_s": "enqueue: jobs/s",
    "enqueue_client_us": "client µs CPU/job",
    "enqueue_servers_us": "servers µs CPU/job",
    "enqueue_busiest_us": "busiest node",
    "drain_per_s": "drain: jobs/s",
    "drain_client_us": "worker µs CPU/job",
    "drain_servers_us": "servers µs CPU/job",
    "drain_busiest_us": "busiest node",
}
QUEUE = "wide"
SLOTS = 100


class Meter:
    """Measures one part: the time, and the CPU of this process and of the servers.

    Args:
        used: The servers.
    """

    def __init__(self, used: Servers) -> None:
        self._used = used
        self._began, self._cpu, self._servers = time.perf_counter(), time.process_time(), used.cpu()

    def figures(self, prefix: str, jobs: int) -> dict[str, float]:
        """What the part took: jobs per second, and µs of CPU per job."""
        spent = time.perf_counter() - self._began
        own = time.process_time() - self._cpu
        nodes = [after - before for before, after in zip(self._servers, self._used.cpu(), strict=True)]
        return {
            f"{prefix}_per_s": jobs / spent,
            f"{prefix}_client_us": own / jobs * 1e6,
            f"{prefix}_servers_us": sum(nodes) / jobs * 1e6,
            f"{prefix}_busiest_us": max(nodes) / jobs * 1e6,
        }


def drain(nodes: int, *, jobs: int, lanes: int) -> dict[str, float]:
    """Enqueue jobs that do nothing, in bulk, then drain them with one worker in this process."""
    with servers(nodes) as used, Fleet(used.url, registry=(registry := Registry()), lanes={QUEUE: lanes}) as fleet:
        registry.register(nothing, name="bench.nothing", fleet=fleet, queue=QUEUE)
        meter = Meter(used)
        for receipt in fleet.enqueue_many(Job("bench", "bench.nothing", (n,), queue=QUEUE) for n in range(jobs)):
            if receipt.error is not None:
                raise receipt.error
        found = {"nodes": float(nodes), **meter.figures("enqueue", jobs)}
        meter = Meter(used)
        fleet.run_worker(burst=True, slots=SLOTS)
        return {**found, **meter.figures("drain", jobs)}


async def nothing(_: int) -> None:
    """A job."""


def drains(given: Sequence[int], *, jobs: int, lanes: int, repeats: int) -> list[dict[str, float]]:
    """The medians for each number of nodes. The rounds take turns, so that a busy moment hits all alike."""
    rounds = [[drain(nodes, jobs=jobs, lanes=lanes) for nodes in given] for _ in range(repeats)]
    return [median(rows) for rows in zip(*rounds, strict=True)]


def median(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: sorted(row[name] for row in rows)[len(rows) // 2] for name in rows[0]}
