"""`python -m bench.dashboard`: the pages on a fleet with a million jobs, and a hundred pages that stay open."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.__main__ import RESULTS, machine
from bench.dashboard.fill import MODULE, Size, fill_fleet, sample
from bench.dashboard.pages import Cost, Site, measure, paths, served, watch
from bench.setting import Server, Setting, fill
from jobfleet import Fleet, Job


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print a table, and write JSON."""
    parser = argparse.ArgumentParser(prog="python -m bench.dashboard", description="Measure what the pages cost.")
    parser.add_argument("--jobs", type=int, default=1_000_000, help="waiting jobs [1000000]")
    parser.add_argument("--dead", type=int, default=200_000, help="dead letters [200000]")
    parser.add_argument("--workers", type=int, default=1000, help="workers that have reported [1000]")
    parser.add_argument("--functions", type=int, default=50, help="functions of each worker [50]")
    parser.add_argument("--requests", type=int, default=40, help="requests per page [40]")
    parser.add_argument("--open", type=int, default=100, dest="opened", help="pages that stay open [100]")
    parser.add_argument("--seconds", type=float, default=20.0, help="seconds for which they stay open [20]")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the JSON goes [bench/results/<date>-web.json]")
    given = parser.parse_args(arguments)
    size = Size(given.jobs, given.dead, given.workers, given.functions)
    with Setting().server() as server, TemporaryDirectory(prefix="jobfleet-bench-web-") as folder:
        began = time.monotonic()
        fill_fleet(server, size)
        asyncio.run(sample(server.url, size))
        _tell(f"filled in {time.monotonic() - began:.0f} s; the server uses {server.memory() / 2**20:,.0f} MiB")
        with served(server, Path(folder)) as site, Fleet(server.url) as fleet:
            shown = paths(fleet)
            costs = [_shown(measure(site, server, path, given.requests)) for path in shown]
            held = _opened(site, server, fleet, list(islice(cycle(shown), given.opened)), given.seconds)
    _tell(json.dumps(held))
    out = given.out or RESULTS / f"{datetime.now().astimezone():%Y-%m-%d-%H%M}-web.json"
    record = {"machine": machine(), "size": asdict(size), "pages": [asdict(cost) for cost in costs], "open": held}
    out.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def _shown(cost: Cost) -> Cost:
    times = " | ".join(f"{one:.0f} ms" for one in (cost.first, cost.p50, cost.p95))
    print(
        f"| `{cost.path}` | {times} | {cost.scripts:.1f} | {cost.commands:,.0f} | {cost.size / 1000:.0f} kB |",
        flush=True,
    )
    return cost


def _opened(site: Site, server: Server, fleet: Fleet, opened: list[str], seconds: float) -> dict[str, float]:
    """Keep pages open while a worker runs jobs."""
    fill(fleet, (Job("moment", "bench.moment", (0.5,), queue="busy") for _ in range(int(seconds * 40))))
    worker = server.worker("--queues=busy", "--slots=20", module=MODULE)
    server.wait(lambda: any(info.queues for info in fleet.workers()), "a worker serves", limit=120)
    before = (site.cpu(), server.cpu(), time.monotonic())
    events, size = asyncio.run(watch(site, opened, seconds))
    after = (site.cpu(), server.cpu(), time.monotonic())
    server.kill(worker)
    server.forget(worker)
    took = after[2] - before[2]
    return {
        "pages": len(opened), "addresses": len(set(opened)), "seconds": round(took, 1),
        "web_cpu_percent": round(100 * (after[0] - before[0]) / took, 1),
        "redis_cpu_percent": round(100 * (after[1] - before[1]) / took, 1),
        "events_per_s": round(events / took, 1), "kb_per_s": round(size / took / 1000, 1),
    }  # fmt: skip


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
