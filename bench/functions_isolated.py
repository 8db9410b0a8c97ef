"""What the isolated rows run; apart, since a worker that knows such functions keeps a spare process."""

from __future__ import annotations

import subprocess

from bench.functions import meter
from jobfleet import job


@job(name="bench.warm", run_in="process")
def warm(index: int, asked: int) -> None:
    meter().stamp(index, asked)


@job(name="bench.cold", run_in="process", environment={"BENCH": "cold"})
def cold(index: int, asked: int) -> None:
    """Leave a child behind, so that the process is not used again; one with an environment has no spare."""
    meter().stamp(index, asked)
    subprocess.Popen(["sleep", "60"])  # it ends with its group; one that has ended already may not be seen


@job(name="bench.nothing", run_in="process")
def nothing() -> None:
    meter().ended()
