"""A worker in a burst goes when nothing is left to do, and not before."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from jobfleet import Fleet, Flow, Job, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.operations.workers import WorkerInfo
from jobfleet.store.aio import AsyncStore
from tests.support.waiting import wait_until

ROUNDS = 10


@pytest.mark.parametrize("group", ["acme", None])
def test_a_limit_that_is_full_ends_no_burst(fleet: Fleet, registry: Registry, group: str | None) -> None:
    """The slot is free once the end is settled; a claim that came before it has found nothing."""
    function = registry.register(lambda: 7, name="test.seven", group="acme", fleet=fleet)
    function.enqueue()
    fleet.limits.set("default", group=group, concurrency=1)

    for _ in range(ROUNDS):
        handles = [function.enqueue() for _ in range(5)]
        fleet.run_worker(burst=True)
        assert {handle.poll().status for handle in handles} == {JobStatus.COMPLETED}


async def late(*_: Any) -> Any:
    """A marker whose reply is still on its way when somebody looks whether the burst is over."""
    await asyncio.Event().wait()


def test_who_was_told_runs_in_the_same_burst(fleet: Fleet, registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    registry.register(lambda: 7, name="test.seven", fleet=fleet)
    flow = Flow("line")
    flow.chain(*[Job(f"part {number}", "test.seven") for number in range(4)])
    info = fleet.flows.enqueue(flow)
    monkeypatch.setattr(AsyncStore, "wait_wake", late)
    monkeypatch.setattr(AsyncStore, "wait_wake_with", late)

    fleet.run_worker(burst=True)

    assert [job.status for job in fleet.flows.get(info.id).jobs] == ["completed"] * 4


def test_a_job_that_a_job_enqueues_to_another_queue_runs_in_the_same_burst(
    fleet: Fleet, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hand_on(queues: list[str]) -> None:
        if queues:
            fleet.enqueue(Job("next", "test.hand_on", (queues[1:],), queue=queues[0]))

    registry.register(hand_on, name="test.hand_on", queue="first", fleet=fleet)
    fleet.enqueue(Job("one", "test.hand_on", (["second", "first", "second"],)))
    monkeypatch.setattr(AsyncStore, "wait_wake", late)
    monkeypatch.setattr(AsyncStore, "wait_wake_with", late)

    fleet.run_worker(queues=["first", "second"], burst=True)

    assert [job.status for job in fleet.jobs().jobs] == [JobStatus.COMPLETED] * 4


def test_it_reports_the_program_as_its_only_child(redis_url: str, registry: Registry) -> None:
    seen: list[WorkerInfo] = []
    with Fleet(redis_url, registry=registry, beat=0.1) as fleet:

        def has_beaten() -> bool:
            seen.extend(fleet.workers())
            return bool(seen and seen[-1].running)

        def look() -> None:
            wait_until(has_beaten, why="it has beaten again")

        registry.register(look, name="test.look", fleet=fleet).enqueue()
        fleet.run_worker(burst=True)

    (child,) = seen[-1].processes
    assert (child.id, child.pid, child.state, child.running) == (f"{seen[-1].id}.0", os.getpid(), "running", 1)
    assert child.memory == seen[-1].memory
    assert (child.memory or 0) > 10 * 1024**2
