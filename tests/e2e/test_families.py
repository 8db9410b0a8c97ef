"""Jobs that wait for others, with a real worker: what they know of them, and who tells them."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from jobfleet import After, Fleet, Flow, Job, JobStatus
from jobfleet.operations.flows.record import FlowInfo
from tests.support.fleet import LONG, Programs, settle_all
from tests.support.waiting import wait_until


@pytest.mark.parametrize("function", ["family.look", "family.look_in_thread", "family.look_apart"])
def test_a_job_sees_how_those_ended_that_it_has_waited_for(programs: Programs, fleet: Fleet, function: str) -> None:
    programs.ready("families")
    small = fleet.enqueue(Job("give", "family.give", (3,)))
    large = fleet.enqueue(Job("give", "family.give", (100_000,), queue="default"))
    failed = fleet.enqueue(Job("fail", "family.fail"))

    child = fleet.enqueue(Job("look", function, depends_on=[large, After(failed, "run"), small]))

    assert fleet.wait(child, timeout=LONG).result == [
        [large, "completed", 100_000, None], [failed, "failed", 0, "no luck"], [small, "completed", 3, None],
    ]  # fmt: skip


def test_without_a_reaper_children_are_told_at_once(programs: Programs, fleet: Fleet) -> None:
    programs.ready("families")
    flow = Flow("line")
    flow.chain(*[Job("give", "family.give", (1,)) for _ in range(20)])

    info = fleet.flows.enqueue(flow)

    settle_all(fleet, [job.id for job in info.jobs])
    assert fleet.flows.get(info.id).status == "completed"


def test_a_reaper_tells_what_a_killed_worker_has_not(programs: Programs, fleet: Fleet) -> None:
    worker = programs.ready("families", lease=2, renew_every=0.5, beat=0.2, gone_after=1)
    programs.reaper()
    flow = Flow("wide")
    first = flow.add(Job("give", "family.give", (1,)))
    parts = flow.map(lambda _: Job("give", "family.give", (1,)), range(200), after=first)
    flow.add(Job("look", "family.look"), after=parts)
    info = fleet.flows.enqueue(flow)
    wait_until(lambda: fleet.poll(info.jobs[0].id).status is JobStatus.COMPLETED, timeout=LONG, why="it has begun")

    worker.send_all(signal.SIGKILL)
    programs.ready("families")

    results = settle_all(fleet, [job.id for job in info.jobs])
    assert {result.status for result in results.values()} == {JobStatus.COMPLETED}
    assert isinstance(seen := results[info.jobs[-1].id].result, list)
    assert len(seen) == 200


def growing(fleet: Fleet, function: str, *args: object) -> FlowInfo:
    flow = Flow("growing")
    flow.chain(Job("spread", function, args), Job("look", "family.look"))
    return fleet.flows.enqueue(flow)


def test_a_job_in_a_process_of_its_own_adds_to_its_flow(programs: Programs, fleet: Fleet) -> None:
    programs.ready("families")

    info = growing(fleet, "family.spread_apart", 3)

    results = settle_all(fleet, [job.id for job in info.jobs])
    added: Any = results[info.jobs[0].id].result
    looked: Any = results[info.jobs[1].id].result
    assert [parent for parent, *_ in looked] == [info.jobs[0].id, *added]
    assert {tuple(row.tags) for row in fleet.poll_many(added) if row is not None} == {("apart",)}


def test_a_job_that_dies_when_it_has_added_adds_nothing_twice(programs: Programs, fleet: Fleet, tmp_path: Path) -> None:
    worker = programs.ready("families", lease=2, renew_every=0.5, beat=0.2, gone_after=1)
    programs.reaper()
    info = growing(fleet, "family.spread", 60, str(tmp_path / "never"))
    wait_until(
        lambda: sum(job.status == "completed" for job in fleet.flows.get(info.id).jobs) == 60,
        timeout=LONG, why="all parts have run",
    )  # fmt: skip

    worker.send_all(signal.SIGKILL)
    programs.ready("families")

    results = settle_all(fleet, [job.id for job in info.jobs])
    after = fleet.flows.get(info.id)
    assert (after.status, len(after.jobs)) == ("completed", 62)
    added: Any = results[info.jobs[0].id].result
    looked: Any = results[info.jobs[1].id].result
    assert (len(added), len(looked)) == (60, 61)


def test_a_job_that_has_ended_shows_its_unique_key(programs: Programs, fleet: Fleet) -> None:
    programs.ready("families")

    done = fleet.enqueue(Job("give", "family.give", (1,), unique="one"))
    failed = fleet.enqueue(Job("fail", "family.fail", unique="two"))

    results = settle_all(fleet, [done, failed])
    assert [results[job_id].unique for job_id in (done, failed)] == ["one", "two"]
    assert fleet.submit(Job("give", "family.give", (1,), unique="one")).created, "the key is free again"
