"""Tenants that share a queue: with real workers, some of them killed, judged by what the jobs wrote down themselves."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.model.result import Reason
from jobfleet.store.keys import Keyspace
from tests.support.fleet import LONG, History, Program, Programs, settle_all
from tests.support.groups import faults
from tests.support.waiting import wait_until
from tests.support.whole import info_beside

pytestmark = pytest.mark.timeout(300)  # a test waits several minutes at most, on a machine that may be busy
LANE = Keyspace("jobfleet").lane("default", 0)
GROUP_KEYS = (LANE.grouped, LANE.ring, LANE.gdue, LANE.held)


def naps(group: str, count: int, seconds: float = 0, **options: object) -> list[Job]:
    return [Job("nap", "hist.nap", (seconds,), group=group, **options) for _ in range(count)]  # type: ignore[arg-type]


def enqueue(fleet: Fleet, jobs: Iterable[Job]) -> dict[str, str]:
    """Enqueue jobs; the group of each id."""
    listed = list(jobs)
    return {receipt.id: str(job.group) for receipt, job in zip(fleet.enqueue_many(listed), listed, strict=True)}


def await_completed(fleet: Fleet, count: int) -> None:
    """Wait until so many jobs have completed; a minute in which none does is too long."""
    done = 0

    def more() -> int:
        now = int(fleet.queues()[0].totals["completed"])
        return now if now > done else 0

    while done < count:
        done = wait_until(more, timeout=LONG, why=f"more than {done} of {count} jobs have completed")
    assert done == count


def nothing_is_left(raw: redis.Redis) -> None:
    """All has ended, so no group has a place or a slot; what a claim has still to look at, it may."""
    assert faults(raw, LANE) == []
    assert raw.exists(*GROUP_KEYS) == 0


@pytest.mark.parametrize(
    ("huge", "tenants", "each"),
    [(5_000, 20, 2), pytest.param(100_000, 99, 10, marks=[pytest.mark.slow, pytest.mark.timeout(1000)])],
)
def test_small_tenants_are_through_in_the_first_fiftieth_of_a_large_ones_run(
    programs: Programs, fleet: Fleet, raw: redis.Redis, huge: int, tenants: int, each: int
) -> None:
    groups = enqueue(fleet, naps("huge", huge))
    groups |= enqueue(fleet, [job for n in range(tenants) for job in naps(f"tenant-{n}", each)])

    programs.ready(processes=2, slots=5)
    await_completed(fleet, len(groups))

    ends = [entry.id for entry in programs.history.entries() if entry.event == "end"]
    last = max(place for place, job_id in enumerate(ends) if groups[job_id] != "huge")
    assert last < len(ends) / 50
    nothing_is_left(raw)


def test_weights_share_the_slots(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    weights = {"one": 1, "two": 2, "four": 4}
    groups = enqueue(fleet, [job for name in weights for job in naps(name, 1_000)])
    for name, weight in weights.items():
        fleet.limits.set("default", group=name, weight=weight)

    programs.ready(processes=2, slots=5)
    await_completed(fleet, len(groups))

    starts = [groups[entry.id] for entry in programs.history.entries() if entry.event == "start"]
    shares = Counter(starts[:1_400])  # until here all three have jobs left
    assert shares == pytest.approx({"one": 200, "two": 400, "four": 800}, rel=0.1)
    nothing_is_left(raw)


def peaks(history: History, groups: Mapping[str, str]) -> Counter[str]:
    """How many jobs of each group ran at once at most.

    A run lies within the time for which it holds its slot. It is over when it says so, or when its process is killed.
    """
    running: dict[tuple[str, int], int] = {}
    killed: set[int] = set()
    most: Counter[str] = Counter()
    for event, job_id, fence, pid in history.entries():
        if event == "kill":
            killed.add(pid)
            running = {run: holder for run, holder in running.items() if holder != pid}
        elif event == "start" and pid not in killed:
            running[job_id, fence] = pid
        elif event == "end":
            running.pop((job_id, fence), None)
        at_once = Counter(groups[job] for job, _ in running)
        most |= at_once
        most["all"] = max(most["all"], len(running))
    return most


def kill(history: History, pid: int) -> None:
    """Kill a process; its runs are over from here, and none of their slots was free before."""
    with history.path.open("a") as file:
        file.write(f"kill - 0 {pid}\n")
    with suppress(ProcessLookupError):  # it has just ended by itself, or with its parent
        os.kill(pid, signal.SIGKILL)


def await_ended(programs: Programs, count: int) -> None:
    wait_until(lambda: len(programs.history.ended()) > count, timeout=LONG, why=f"{count} jobs have run")


def await_children(workers: list[Program]) -> list[int]:
    """The children of all workers, as soon as there are two: those that were killed have to be replaced first."""

    def living() -> list[int]:
        found = [pid for worker in workers for pid in worker.children()]
        return found if len(found) > 1 else []

    return wait_until(living, timeout=LONG, why="two children live")


def kill_some(programs: Programs, fleet: Fleet, workers: list[Program], count: int) -> None:
    """Kill children by the way, and at last a whole worker."""
    choose = random.Random(7)
    for number in range(1, 6):
        await_ended(programs, count * number // 8)
        kill(programs.history, choose.choice(await_children(workers)))
    for pid in workers[0].family():
        kill(programs.history, pid)
    assert fleet.queues()


def test_no_more_run_of_a_group_than_may_whoever_is_killed(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    caps = {"one": 1, "two": 2, "three": 3}
    options = {"max_crashes": 100, "retry_delay": 0.05}
    gate = programs.folder / "gate"
    groups = enqueue(
        fleet, [Job("gate", "hist.gate", (str(gate),), group=n) for n in (*caps, "free") for _ in range(4)]
    )
    groups |= enqueue(fleet, [job for name in (*caps, "free") for job in naps(name, 40, 0.02, **options)])
    fleet.limits.set("default", group="*", concurrency=3)
    for name, cap in caps.items():
        fleet.limits.set("default", group=name, concurrency=cap)
    fleet.limits.set("default", concurrency=8)
    workers = [programs.ready(processes=2, slots=5, lease=3, reap_interval=0.2) for _ in range(2)]
    wait_until(lambda: len(programs.history.starts()) == 8, timeout=LONG, why="as many run as may")
    gate.touch()

    kill_some(programs, fleet, workers, len(groups))
    results = settle_all(fleet, groups)

    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    most = peaks(programs.history, groups)
    assert {name: most[name] for name in caps} == caps
    assert most["free"] in {2, 3}, "the queue is full before this group is"
    assert most["all"] == 8
    nothing_is_left(raw)


def test_no_more_start_than_the_rate_allows_over_all_workers(
    programs: Programs, fleet: Fleet, raw: redis.Redis
) -> None:
    lane = fleet.context.keys.lane("default", 0).lane
    primary = info_beside(raw, lane, "replication")
    known: Any = {"token": 1, "replid": primary["master_replid"], "longest": 1}  # else tokens begin a minute ahead
    raw.hset(lane, mapping=known)
    groups = enqueue(fleet, [*naps("slow", 25), *naps("fast", 25)])
    fleet.limits.set("default", group="slow", rate="50/s", burst=3)
    fleet.limits.set("default", rate="100/s", burst=5)
    for _ in range(2):
        programs.ready(processes=2, slots=5)

    results = settle_all(fleet, groups)

    # A token is the moment of its claim, µs of Redis's clock.
    moments = {job_id: int(result.fence or 0) for job_id, result in results.items()}
    keeps(sorted(moments.values()), every=10_000, burst=5)
    keeps(sorted(moments[job_id] for job_id, group in groups.items() if group == "slow"), every=20_000, burst=3)


def keeps(moments: list[int], *, every: int, burst: int) -> None:
    """Between any two starts lie no more than the bucket held and got meanwhile."""
    for first, begun in enumerate(moments):
        for last in range(first, len(moments)):
            assert last - first + 1 <= burst + (moments[last] - begun + 50) / every


def test_a_paused_group_stands_still_and_what_runs_goes_on(programs: Programs, fleet: Fleet, raw: redis.Redis) -> None:
    gate = programs.folder / "gate"
    runs = fleet.enqueue(Job("gate", "hist.gate", (str(gate),), group="acme"))
    programs.ready()
    programs.history.await_start(runs)

    assert fleet.pause("default", group="acme", by="ann", reason="their database is down")
    waits = fleet.enqueue(naps("acme", 1)[0])
    fleet.wait(fleet.enqueue(naps("other", 1)[0]), timeout=LONG)
    gate.touch()
    fleet.wait(runs, timeout=LONG)

    assert programs.history.starts()[waits] == 0
    text = fleet.explain(waits).reasons[0].text
    assert text.startswith("Group 'acme' was paused by ann ")
    assert fleet.resume("default", group="acme")
    fleet.wait(waits, timeout=LONG)
    nothing_is_left(raw)


def test_groups_and_limits_are_explained_as_they_are(programs: Programs, fleet: Fleet) -> None:
    gate = programs.folder / "gate"
    held = [fleet.enqueue(Job("gate", "hist.gate", (str(gate),), group="acme")) for _ in range(2)]
    fleet.limits.set("default", group="acme", concurrency=2, rate="100/s")
    programs.ready(slots=5)
    for job_id in held:
        programs.history.await_start(job_id)
    waits = fleet.enqueue(naps("acme", 1)[0])

    def full() -> list[Reason]:
        return [one for one in fleet.explain(waits).reasons if one.code == "group-full"]

    reason = wait_until(full, timeout=LONG, why="the group is full")[0]
    assert reason.text == f"Group 'acme' is full: 2 of 2 run, held by {', '.join(sorted(held))}."
    assert [(row.group, row.concurrency, row.running) for row in fleet.limits("default")] == [("acme", 2, 2)]

    fleet.limits.set("default", group="acme", concurrency=3)
    assert fleet.wait(waits, timeout=LONG).status is JobStatus.COMPLETED
    gate.touch()
    settle_all(fleet, held)


def test_a_group_whose_time_has_come_needs_nobody_to_call(programs: Programs, fleet: Fleet) -> None:
    programs.ready()
    job_id = fleet.enqueue(naps("acme", 1, delay=0.5)[0])

    assert fleet.wait(job_id, timeout=LONG).status is JobStatus.COMPLETED
