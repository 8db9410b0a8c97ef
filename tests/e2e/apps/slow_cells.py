"""A module that takes as long to load in an isolated process as a test wants, and a job that runs in one."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from jobfleet import JobContext, job

FOLDER = Path(os.environ.get("JOBFLEET_TEST_FOLDER", os.devnull))

if "isolated" in sys.argv[0] and (FOLDER / "held").exists():
    (FOLDER / f"loading-{os.getpid()}").touch()
    while not (FOLDER / "open").exists():
        time.sleep(0.01)


@job(name="slow.run", run_in="process")
def run(ctx: JobContext) -> int:
    """Write down that it runs, as the jobs of `histories` do; answer the process."""
    with (FOLDER / "history").open("a") as file:
        file.write(f"start {ctx.job_id} {ctx.fence} {os.getpid()}\nend {ctx.job_id} {ctx.fence} {os.getpid()}\n")
    return os.getpid()
