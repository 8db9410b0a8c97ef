"""`python -m bench.scale`: what 100, 300 and 1,000 workers cost one server or a cluster, idle and at a steady rate."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import product
from pathlib import Path

from bench.__main__ import RESULTS, machine
from bench.scale.drain import COLUMNS as DRAIN_COLUMNS
from bench.scale.drain import drains
from bench.scale.scene import Scene, Window
from bench.scale.servers import servers

COLUMNS = {
    "nodes": "nodes",
    "workers": "workers",
    "connections": "connections",
    "memory_mib": "server MiB",
    "idle_cpu_percent": "idle: % of a core",
    "idle_requests_per_s": "requests/s",
    "heartbeats_per_s": "heartbeats/s",
    "ticks_per_s": "ticks/s",
    "waits_per_s": "waits/s",
    "load_cpu_percent": "at the rate: % of a core",
    "busiest_percent": "busiest node",
    "cpu_us_per_job": "µs CPU/job",
    "claims_per_job": "claims/job",
    "waits_per_job": "wake-ups/job",
    "settles_per_job": "settles/job",
    "wait_p50_ms": "p50 ms",
    "wait_p99_ms": "p99 ms",
    "lag_ms": "bench's lag ms",
}


async def step(given: argparse.Namespace, nodes: int, workers: int) -> dict[str, float]:
    """Measure one number of workers."""
    with servers(nodes) as used:
        scene = Scene(used, workers=workers, lanes=given.lanes, slots=given.slots)
        try:
            await scene.start()
            sizes = {"connections": used.connections(), "memory_mib": used.memory() / 2**20}
            idle = await scene.idle(given.seconds)
            load = await scene.load(given.rate, given.seconds)
        finally:
            await scene.stop()
    return {
        "nodes": nodes,
        "workers": workers,
        **sizes,
        **at_rest(idle),
        **at_work(load, idle, scene.jobs.waits),
        "lag_ms": scene.lag * 1e3,
    }


def at_rest(idle: Window) -> dict[str, float]:
    """What idle workers cost."""
    return {
        "idle_cpu_percent": idle.cpu_share * 100,
        "idle_requests_per_s": idle.each_second(idle.requests),
        "heartbeats_per_s": idle.each_second(idle.calls.get("beat", 0)),
        "ticks_per_s": idle.each_second(idle.calls.get("tick", 0)),
        "waits_per_s": idle.each_second(idle.waits),
    }


def at_work(load: Window, idle: Window, waits: Sequence[float]) -> dict[str, float]:
    """What jobs cost beyond what idle workers cost in the same time."""
    jobs, ordered = len(waits), sorted(waits)
    return {
        "load_cpu_percent": load.cpu_share * 100,
        "busiest_percent": load.busiest * 100,
        "cpu_us_per_job": (load.cpu_share - idle.cpu_share) * load.seconds / jobs * 1e6,
        "claims_per_job": load.calls.get("claim", 0) / jobs,
        "waits_per_job": (load.waits - idle.each_second(idle.waits) * load.seconds) / jobs,
        "settles_per_job": load.calls.get("settle", 0) / jobs,
        "wait_p50_ms": ordered[jobs // 2] * 1e3,
        "wait_p99_ms": ordered[jobs * 99 // 100] * 1e3,
    }


def table(rows: Sequence[dict[str, float]], columns: Mapping[str, str] = COLUMNS) -> str:
    """The rows as a table in Markdown."""
    lines = [list(columns.values()), ["---:"] * len(columns)]
    lines += [[f"{row[key]:.4g}" if row[key] < 1000 else f"{row[key]:,.0f}" for key in columns] for row in rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def steps(given: argparse.Namespace) -> list[dict[str, float]]:
    """Measure each number of workers on each number of nodes."""
    rows = []
    for nodes, workers in product(given.nodes, given.workers):
        rows.append(asyncio.run(step(given, nodes, workers)))
        print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    return rows


def numbers(text: str) -> list[int]:
    """Whole numbers, separated by commas."""
    return [int(part) for part in text.split(",")]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description="Measure what workers cost a server.")
    parser.add_argument("--workers", type=numbers, default=[100, 300, 1000], metavar="N,N", help="[100,300,1000]")
    parser.add_argument(
        "--nodes", type=numbers, default=[0], metavar="N,N", help="primaries of a cluster; 0: one server [0]"
    )
    parser.add_argument("--rate", type=int, default=500, metavar="N", help="jobs per second [500]")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="length of each window [20]")
    parser.add_argument("--lanes", type=int, default=1, metavar="N", help="lanes of the queue [1]")
    parser.add_argument("--slots", type=int, default=10, metavar="N", help="slots of each worker [10]")
    parser.add_argument("--drain", type=int, metavar="N", help="enqueue N jobs and drain them in this process instead")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="rounds of --drain [3]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures as JSON [bench/results/scale-…]")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR, format="%(message)s")
    if given.drain:
        rows = drains(given.nodes, jobs=given.drain, lanes=given.lanes, repeats=given.repeats)
        print(table(rows, DRAIN_COLUMNS))
    else:
        rows = steps(given)
        print(table(rows))
    now = datetime.now().astimezone()
    path = given.out or RESULTS / f"scale-{now:%Y-%m-%d-%H%M}.json"
    command = " ".join(["python -m bench.scale", *(arguments if arguments is not None else sys.argv[1:])])
    record = {"at": now.isoformat(timespec="seconds"), "command": command, "machine": machine(), "rows": rows}
    path.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
