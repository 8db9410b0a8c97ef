"""Redis loses its data while workers run: what they had published comes back by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from jobfleet import Fleet, Job, JobStatus
from tests.support.fleet import LONG, Programs
from tests.support.server import RedisServer
from tests.support.waiting import wait_until


@pytest.fixture
def forgetful() -> Iterator[RedisServer]:
    """A server that keeps nothing over a restart."""
    with RedisServer() as server:
        yield server


def await_beats(fleet: Fleet) -> None:
    """Wait until a worker has a reply to a heartbeat that names its queue."""
    wait_until(
        lambda: [queue for queue in fleet.queues() if queue.name == "clockwork"], timeout=LONG, why="it is known"
    )
    seen = {fleet.workers()[0].beat}
    wait_until(lambda: len(seen.union({fleet.workers()[0].beat})) > 1, timeout=LONG, why="it has beaten")


@pytest.mark.first(1)
@pytest.mark.parametrize("how", ["flushed", "restarted"])
def test_running_workers_publish_functions_crons_and_queues_again(
    forgetful: RedisServer, tmp_path: Path, how: str
) -> None:
    programs = Programs(forgetful.url, tmp_path)
    try:
        worker = programs.ready("recurring", with_reaper=True, beat=0.5, gone_after=2)
        with Fleet(forgetful.url, patience=60) as fleet:
            before = wait_until(lambda: {row.name for row in fleet.cron()}, timeout=LONG, why="the cron is known")
            await_beats(fleet)

            forgetful.client().flushall() if how == "flushed" else forgetful.restart()
            assert "worker.forgotten" not in worker.said

            worker.await_line("worker.forgotten Redis has lost its data: publishing 2 functions and 1 queues again")
            after = wait_until(lambda: {row.name for row in fleet.cron()}, timeout=LONG, why="the cron is there again")
            wait_until(lambda: fleet.cron.history("recur.tick", limit=10), timeout=LONG, why="the cron fires again")
        with Fleet(forgetful.url) as newcomer:  # it has seen nothing of the time before
            job_id = newcomer.enqueue(Job("once", "recur.once"))
            status = newcomer.wait(job_id, timeout=LONG).status
    finally:
        programs.close()

    assert before == after == {"recur.tick"}
    assert job_id.startswith("clockwork.")
    assert status is JobStatus.COMPLETED
    assert worker.said.count("worker.forgotten") == 1
