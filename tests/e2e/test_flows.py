"""Flows with real processes on a server that takes keys of one slot only: each job ends, whoever is killed."""

from __future__ import annotations

import random
import signal
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from jobfleet import Fleet, Flow, Job
from jobfleet.operations.flows.record import FlowInfo
from tests.support.fleet import LONG, Program, Programs
from tests.support.server import ClusterNode
from tests.support.waiting import wait_until

pytestmark = pytest.mark.timeout(300)  # a test waits several minutes at most, on a machine that may be busy
PARTS = 25
FAST: dict[str, object] = {"lease": 2, "renew_every": 0.5, "beat": 0.2, "gone_after": 1}
QUEUES = ("default", "other", "third")
"""Each has a worker of its own."""
SLOW = [pytest.mark.slow, pytest.mark.timeout(400)]
ENDED = {"completed", "failed", "cancelled", "expired"}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[Programs, Fleet]]:
    with ClusterNode() as server, Fleet(server.cluster_url) as fleet:
        programs = Programs(server.cluster_url, tmp_path)
        try:
            yield programs, fleet
        finally:
            programs.close()
            sys.stdout.write(programs.logs())


def tangled(number: int) -> Flow:
    """Over some queues: one job adds others, one is to be moved, one fails; others wait for them."""
    flow = Flow(f"tangled {number}")
    top = flow.add(Job("spread", "family.spread", (PARTS, "")))
    moved = flow.add(Job("moved", "family.give", (1,), delay=5))
    fails = flow.add(Job("fails", "family.fail", queue="other"), after=top)
    flow.add(Job("cancelled", "family.give", (1,)), after=fails)
    sides = [
        flow.add(Job(f"side {queue}", "family.give", (1,), queue=queue), after=top) for queue in ("other", "third")
    ]
    last = flow.add(Job("look", "family.look", queue="other"), after=[moved, *sides])
    flow.link(fails, last, otherwise="run")
    return flow


def killed(dice: random.Random, programs: Programs, workers: dict[str, Program], reapers: list[Program]) -> None:
    """One of them dies at random, with all it has started; another takes its place."""
    queue = dice.choice([*QUEUES, "reaper"])
    victim = reapers.pop() if queue == "reaper" else workers[queue]
    victim.send_all(signal.SIGKILL)
    victim.exit_code()
    if queue == "reaper":
        reapers.append(programs.reaper())
    else:
        workers[queue] = programs.worker("families", queues=queue, **FAST)


@pytest.mark.parametrize(("flows", "deaths"), [(2, 2), pytest.param(12, 20, marks=SLOW)])
def test_every_flow_ends_as_it_is_to_whoever_is_killed(
    cluster: tuple[Programs, Fleet], flows: int, deaths: int
) -> None:
    programs, fleet = cluster
    dice = random.Random(flows)
    workers = {queue: programs.worker("families", queues=queue, **FAST) for queue in QUEUES}
    reapers = [programs.reaper()]
    infos = []
    for number in range(flows):
        info = fleet.flows.enqueue(tangled(number))
        infos.append(info)
        to_move = next(job.id for job in info.jobs if job.name == "moved")
        fleet.reschedule(fleet.move(fleet.move(to_move, "third"), "other"), delay=0)
    for _ in range(deaths):
        before = ended(fleet, infos)
        wait_until(partial(has_moved_on, fleet, infos, before), timeout=LONG, why="something happens")
        killed(dice, programs, workers, reapers)

    for info in infos:
        wait_until(partial(seen, fleet, info), timeout=2 * LONG, why=f"{info.name} ends")
        names: dict[str, Any] = seen(fleet, info)
        statuses = {name: row.status for name, row in names.items()}
        assert statuses.pop("fails") == "failed"
        assert statuses.pop("cancelled") == "cancelled"
        assert set(statuses.values()) == {"completed"}
        looked = names["look"].result.result
        assert sorted(status for _, status, *_ in looked) == ["completed"] * 3 + ["failed"]
        jobs = fleet.flows.get(info.id).jobs
        assert len(jobs) == 7 + PARTS
        assert len({job.id for job in jobs}) == len(jobs)


def ended(fleet: Fleet, infos: Sequence[FlowInfo]) -> int:
    return sum(job.status in ENDED for info in infos for job in fleet.flows.get(info.id).jobs)


def has_moved_on(fleet: Fleet, infos: Sequence[FlowInfo], before: int) -> bool:
    now = ended(fleet, infos)
    return now > before or all(seen(fleet, info) for info in infos)


def seen(fleet: Fleet, info: FlowInfo) -> dict[str, Any]:
    """A flow's jobs by name, once all have ended."""
    jobs = fleet.flows.get(info.id).jobs
    return {job.name: job for job in jobs} if all(job.status in ENDED for job in jobs) else {}
