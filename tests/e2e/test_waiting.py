"""Waiting with real processes: with few files for many waits, and for a flow that is retried as it fails."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from jobfleet import Fleet, Flow, Job
from tests.support.fleet import LONG, ROOT, Programs
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # a test waits several minutes at most, on a machine that may be busy
WIDE = 3000
WAITS = 500
PROGRAM = """
    import asyncio, resource, sys, threading
    from jobfleet import AsyncFleet, Fleet, Job

    url, kind, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
    jobs = [Job("give", "family.give", (1,)) for _ in range(count)]

    async def awaited():
        async with AsyncFleet(url) as fleet:
            ids = [receipt.id for receipt in await fleet.enqueue_many(jobs)]
            return await asyncio.gather(*(fleet.wait(job_id, timeout=60) for job_id in ids))

    def threaded():
        results = []
        with Fleet(url) as fleet:
            ids = [receipt.id for receipt in fleet.enqueue_many(jobs)]
            threads = [threading.Thread(target=lambda i=i: results.append(fleet.wait(i, timeout=60))) for i in ids]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        return results

    results = asyncio.run(awaited()) if kind == "awaited" else threaded()
    print(sum(result.result == "x" for result in results))
"""


@pytest.mark.parametrize("kind", ["awaited", "threaded"])
def test_a_program_with_few_files_waits_for_many_jobs(
    programs: Programs, redis_url: str, tmp_path: Path, kind: str
) -> None:
    """It may open 128 files, and waits for 500 jobs at once."""
    program = tmp_path / "many.py"
    program.write_text(textwrap.dedent(PROGRAM))
    command = [sys.executable, "-W", "ignore", str(program), redis_url, kind, str(WAITS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        programs.ready("families")
        output, _ = process.communicate(timeout=2 * LONG)

    assert (process.returncode, output) == (0, f"{WAITS}\n")


def test_a_flow_that_is_retried_at_the_moment_of_failure_runs_whole(
    programs: Programs, fleet: Fleet, tmp_path: Path
) -> None:
    programs.ready("families")
    gate = tmp_path / "gate"
    flow = Flow("wide")
    top = flow.add(Job("first", "family.lucky", (str(gate),)))
    flow.group(*[Job("part", "family.give", (1,)) for _ in range(WIDE)], after=top)
    info = fleet.flows.enqueue(flow)
    first = info.jobs[0].id
    wait_until(lambda: fleet.poll(first).status == "failed", timeout=LONG, why="the first job has failed")
    gate.touch()

    again = fleet.flows.retry(info)

    over = fleet.flows.wait(info, timeout=2 * LONG)
    assert again == WIDE + 1
    assert {job.status for job in over.jobs} == {"completed"}
