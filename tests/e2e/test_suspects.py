"""Children that die with many jobs: these run again at once and side by side, and only a culprit is charged."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobResult, JobStatus
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, Programs, is_running, settle_all
from tests.support.waiting import wait_until

LANE = Keyspace("jobfleet").lane("default", 0)
FOUND = 150.0
"""Seconds in which a culprit is found: several processes start one after the other, and the machine may be busy."""
INNOCENT = {(JobStatus.COMPLETED, 0)}


def gated(fleet: Fleet, gate: Path, count: int, queue: str = "default") -> list[str]:
    """Enqueue jobs that run until a file is there, on the loop and some in threads."""
    names = ("hist.door" if number % 10 == 9 else "hist.gate" for number in range(count))
    jobs = (Job("wait", name, (str(gate),), queue=queue) for name in names)
    return [receipt.id for receipt in fleet.enqueue_many(jobs)]


def endings(results: dict[str, JobResult[object]]) -> set[tuple[JobStatus, int]]:
    """How jobs ended, and what they were charged."""
    return {(result.status, result.retry_count) for result in results.values()}


def await_starts(programs: Programs, wanted: Iterable[tuple[str, int]]) -> None:
    """Wait until each job was started so often."""
    counts = dict(wanted)

    def have_started() -> bool:
        starts = programs.history.starts()
        return all(starts[job_id] >= times for job_id, times in counts.items())

    wait_until(have_started, timeout=LONG, why=f"{len(counts)} jobs have started")


def test_jobs_of_a_child_that_is_killed_run_again_side_by_side_beside_all_others(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(processes=2, slots=50)
    ids = gated(fleet, gate, 90)
    await_starts(programs, ((job_id, 1) for job_id in ids))
    victim = Counter(entry.pid for entry in programs.history.entries()).most_common(1)[0][0]
    held = [job_id for job_id in ids if programs.history.runners(job_id) == [victim]]

    os.kill(victim, signal.SIGKILL)

    await_starts(programs, ((job_id, 2) for job_id in held))  # none of them can end before the others have started
    fresh = [fleet.enqueue(Job("nap", "hist.nap", (0.0,))) for _ in range(5)]
    assert endings(settle_all(fleet, fresh)) == INNOCENT
    assert {fleet.poll(job_id).status for job_id in ids} == {JobStatus.RUNNING}
    gate.touch()
    assert endings(settle_all(fleet, ids)) == INNOCENT
    assert programs.history.starts() == Counter({**dict.fromkeys([*ids, *fresh], 1), **dict.fromkeys(held, 2)})
    assert raw.hgetall(LANE.tries) == {}
    assert worker.said.count("ward.") == 0


def test_a_worker_whose_children_are_killed_again_and_again_charges_nobody(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(processes=1, slots=30, lease=600)
    ids = [*gated(fleet, gate, 20), *(fleet.enqueue(Job("one", "hist.gate", (str(gate),))) for _ in range(5))]

    for times in range(1, 5):
        await_starts(programs, ((job_id, times) for job_id in ids))
        (child,) = worker.await_children(1)
        os.kill(child, signal.SIGKILL)
    gate.touch()

    assert endings(settle_all(fleet, ids)) == INNOCENT
    assert raw.hgetall(LANE.tries) == {}


def test_a_job_that_was_alone_runs_in_a_child_after_one_death_and_in_a_ward_after_two(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    worker = programs.ready(processes=2, lease=600)
    job_id = fleet.enqueue(Job("one", "hist.gate", (str(gate),), retry_delay=0.1))

    for times in range(1, 3):
        await_starts(programs, [(job_id, times)])
        runner = programs.history.runners(job_id)[-1]
        assert runner in worker.children()
        os.kill(runner, signal.SIGKILL)
    await_starts(programs, [(job_id, 3)])
    last = programs.history.runners(job_id)[-1]

    assert is_running(last)
    assert last not in worker.await_children(2)
    gate.touch()
    assert fleet.wait(job_id, timeout=LONG).status is JobStatus.COMPLETED
    assert raw.hgetall(LANE.tries) == {}


@pytest.mark.first(1)
@pytest.mark.parametrize(
    "culprits",
    [
        pytest.param([("hist.kill", 9)], id="SIGKILL"),
        pytest.param([("hist.leave", 5, 9)], id="exit"),
        pytest.param([("hostile.segfault",)], id="SIGSEGV"),
        pytest.param([("hist.kill", 9), ("hist.leave", 5, 9)], id="two"),
    ],
)
def test_a_culprit_among_many_is_found_while_the_innocent_run_on(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path, culprits: Sequence[tuple[str, int]]
) -> None:
    gate = tmp_path / "gate"
    before = gated(fleet, gate, 12)
    guilty = [fleet.enqueue(Job("guilty", name, arguments)) for name, *arguments in culprits]
    ids = before + gated(fleet, gate, 12)
    worker = programs.ready("histories", "workers.hostile", processes=2, slots=30, lease=600)

    found = settle_all(fleet, guilty, timeout=FOUND)

    assert {(result.status, result.error_class) for result in found.values()} == {(JobStatus.FAILED, "crashed")}
    wait_until(
        lambda: {fleet.poll(job_id).status for job_id in ids} == {JobStatus.RUNNING}, timeout=LONG, why="all others run"
    )
    deaths = worker.said.count("child.died")
    gate.touch()
    assert endings(settle_all(fleet, ids)) == INNOCENT
    assert raw.hgetall(LANE.tries) == {}
    assert deaths <= 2 * len(guilty), "each is found in a ward"


def test_culprits_in_two_workers_at_once_are_found(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    culprits = {"left": ("hist.kill", (9,)), "right": ("hist.leave", (5, 9))}
    ids = [job_id for queue in ("left", "right", "default") for job_id in gated(fleet, gate, 8, queue)]
    guilty = [fleet.enqueue(Job("guilty", name, args, queue=queue)) for queue, (name, args) in culprits.items()]
    workers = [programs.ready(queues=f"{queue},default", processes=1, slots=20, lease=600) for queue in culprits]

    found = settle_all(fleet, guilty, timeout=FOUND)

    assert {(result.status, result.error_class) for result in found.values()} == {(JobStatus.FAILED, "crashed")}
    assert all(worker.said.count("child.died") for worker in workers)
    gate.touch()
    assert endings(settle_all(fleet, ids)) == INNOCENT
    for queue in ("left", "right", "default"):
        assert raw.hgetall(Keyspace("jobfleet").lane(queue, 0).tries) == {}


def test_jobs_that_end_their_process_only_together_run_apart_in_the_end(
    programs: Programs, fleet: Fleet, raw: redis.Redis, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    pair = [fleet.enqueue(Job("pair", "hist.pair", (str(gate),))) for _ in range(2)]
    ids = gated(fleet, gate, 10)
    programs.ready(processes=1, slots=20, lease=600)

    def run_apart() -> bool:
        """Both are in a process now: one that waits for its ward has a last process too, which is dead."""
        last = {pid for job_id in pair for pid in programs.history.runners(job_id)[-1:]}
        return len(last) == 2 and all(map(is_running, last))

    wait_until(
        lambda: all(fleet.poll(job_id).status is JobStatus.RUNNING for job_id in [*pair, *ids]) and run_apart(),
        timeout=LONG,
        why="they run in processes of their own",
    )
    gate.touch()

    assert endings(settle_all(fleet, [*pair, *ids])) == INNOCENT
    assert raw.hgetall(LANE.tries) == {}


def test_a_culprit_is_found_where_there_are_no_wards(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    culprit = fleet.enqueue(Job("kill", "hist.kill", (9,)))
    ids = [fleet.enqueue(Job("nap", "hist.nap", (0.5,))) for _ in range(12)]
    programs.ready(processes=1, slots=20, lease=600, suspect_processes=0)

    found = settle_all(fleet, [culprit, *ids], timeout=FOUND)

    assert (found.pop(culprit).error_class, endings(found)) == ("crashed", INNOCENT)
    assert raw.hgetall(LANE.tries) == {}


def test_a_suspect_whose_function_wards_do_not_find_runs_in_the_child(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    hidden = fleet.enqueue(Job("hidden", "hist.hidden"))
    raw.hset(LANE.tries, hidden, "0:0:0:0:2:8")
    programs.ready(processes=1)

    assert endings(settle_all(fleet, [hidden])) == INNOCENT
