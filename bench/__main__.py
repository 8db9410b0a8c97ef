"""`python -m bench [ROW…]`: measure, print one table, write it as JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench import (
    rows_archive,
    rows_durability,
    rows_flows,
    rows_groups,
    rows_samples,
    rows_signals,
    rows_store,
    rows_streams,
    rows_trust,
    rows_waits,
    rows_worker,
)
from bench.figure import Outcome, Reading, Row, table
from bench.setting import Setting
from jobfleet.store.embedded import find_server

ROWS: tuple[Row, ...] = (
    *rows_worker.ROWS,
    *rows_samples.ROWS,
    *rows_groups.ROWS,
    *rows_trust.ROWS,
    *rows_store.ROWS,
    *rows_durability.ROWS,
    *rows_flows.ROWS,
    *rows_waits.ROWS,
    *rows_signals.ROWS,
    *rows_streams.ROWS,
    *rows_archive.ROWS,
)
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str] | None = None) -> int:
    names = [row.name for row in ROWS]
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure what jobfleet costs.")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(names)}; default all")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="so many rounds; medians are shown [3]")
    parser.add_argument("--quick", action="store_true", help="a tenth of the work, one round, nothing is written")
    parser.add_argument("--server", metavar="PATH", help="this server program; default the wheel's Valkey")
    parser.add_argument("--socket", action="store_true", help="a Unix socket in place of loopback")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the JSON goes [bench/results/<date>.json]")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.rows if name not in names]:
        parser.error(f"no row {unknown[0]!r}; there are {', '.join(names)}")
    if given.server:
        os.environ["JOBFLEET_SERVER_BIN"] = given.server
    chosen = [row for row in ROWS if not given.rows or row.name in given.rows]
    rounds = 1 if given.quick else max(1, given.rounds)
    outcomes = measure(chosen, Setting(quick=given.quick, socket=given.socket), rounds)
    print(table(outcomes, markdown=given.markdown))
    if not given.quick or given.out:
        write(given.out, outcomes, [*(arguments if arguments is not None else sys.argv[1:])])
    return 1 if any(outcome.error for outcome in outcomes) else 0


def measure(rows: Sequence[Row], setting: Setting, rounds: int) -> list[Outcome]:
    """Every row once a round, so that a noisy minute spoils one round and not one row."""
    outcomes = {figure.key: Outcome(figure) for row in rows for figure in row.figures}
    for number in range(1, rounds + 1):
        for row in rows:
            if number > row.rounds:
                continue
            began = time.perf_counter()
            try:
                readings = row.measure(setting)
            except Exception as error:  # noqa: BLE001 - one row that fails must not cost the others
                for figure in row.figures:
                    outcomes[figure.key].error = f"{type(error).__name__}: {error}"
                _tell(f"round {number}  {row.name}: {type(error).__name__}: {error}")
                continue
            for key, reading in readings.items():
                outcomes[key].readings += [reading] if isinstance(reading, Reading) else reading
            _tell(f"round {number}  {row.name}  {time.perf_counter() - began:.1f} s")
    return list(outcomes.values())


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write(path: Path | None, outcomes: Sequence[Outcome], arguments: Sequence[str]) -> None:
    """Write all readings, and where they were taken."""
    now = datetime.now().astimezone()
    if path is None:
        path = RESULTS / f"{now:%Y-%m-%d-%H%M}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "at": now.isoformat(timespec="seconds"),
        "command": " ".join(["python -m bench", *arguments]),
        "machine": machine(),
        "figures": {outcome.figure.key: outcome.plain() for outcome in outcomes},
    }
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
    _tell(f"Written to {os.path.relpath(path)}")


def machine() -> dict[str, object]:
    """Where figures were taken. The load tells how far they are to be trusted."""
    server = find_server()
    return {
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "server": f"{server.flavour} {server.version}",
        "packages": {name: _version(name) for name in ("redis", "hiredis", "uvloop", "msgpack")},
        "jobfleet": _revision(),
        "load": [round(load, 2) for load in os.getloadavg()],
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "none"


def _revision() -> str:
    command = ["git", "-C", str(RESULTS.parents[1]), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return _version("jobfleet")


if __name__ == "__main__":
    sys.exit(main())
