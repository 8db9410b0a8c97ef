"""Callbacks of a job without a flow: `on_success` and `on_failure`."""

from __future__ import annotations

from typing import Any

import pytest

from jobfleet import Fleet, Flow, Job, JobContext, JobHandle, JobResult, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.model import derived_suffix
from jobfleet.store.keys import Keyspace
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)
Calls = list[tuple[str, Any]]


def fail() -> None:
    raise ConnectionError("no answer")


def work() -> int:
    return 7


@pytest.fixture
def calls(fleet: Fleet, registry: Registry) -> Calls:
    """What the callbacks were called with."""
    seen: Calls = []

    def told(ctx: JobContext, *args: Any) -> None:
        ((parent, result),) = ctx.parents.items()
        assert isinstance(result, JobResult)
        seen.append((str(result.status), [*args, result.result or result.error, parent]))

    registry.register(told, name="test.told", fleet=fleet)
    for function in (work, fail):
        registry.register(function, name=f"test.{function.__name__}", fleet=fleet, max_retries=0)
    return seen


def callback(*args: Any) -> Job[Any]:
    return Job("told", "test.told", args)


def ids_of(job_id: str) -> dict[str, str]:
    return {option: LANE.id_prefix + derived_suffix(job_id, option) for option in ("on_success", "on_failure")}


def both(name: str) -> Job[Any]:
    return Job("x", name, on_success=callback("good"), on_failure=callback("bad"))


def settled(fleet: Fleet, job_id: str) -> dict[str, JobStatus]:
    """Wait for a job and its callbacks; return their states."""
    ids = {"job": job_id, **ids_of(job_id)}
    wait_until(lambda: all(fleet.poll(one).status.is_final for one in ids.values()), why="all have ended")
    return {name: fleet.poll(one).status for name, one in ids.items()}


@pytest.mark.parametrize(
    ("name", "states", "call"),
    [("test.work", ("completed", "completed", "cancelled"), ["good", 7]),
     ("test.fail", ("failed", "blocked", "completed"), ["bad", "no answer"])],  # one waits for a replay
)  # fmt: skip
def test_one_callback_is_called_once_with_the_ending(
    fleet: Fleet, working: Working, calls: Calls, name: str, states: tuple[str, ...], call: list[Any]
) -> None:
    job_id = fleet.enqueue(both(name))
    ids = (job_id, *ids_of(job_id).values())

    with working():
        wait_until(lambda: tuple(fleet.poll(one).status for one in ids) == states, why="all are settled")

    assert calls == [(states[0], [*call, job_id])]


def test_a_function_without_arguments_is_a_callback(fleet: Fleet, registry: Registry, working: Working) -> None:
    seen: list[Any] = []

    def told(ctx: JobContext, note: str = "none") -> None:
        seen.append((note, [result.result for result in ctx.parents.values()]))

    made = registry.register(told, name="test.later", fleet=fleet)
    registry.register(work, name="test.work", fleet=fleet, on_success=made).enqueue()

    with working():
        wait_until(lambda: seen, why="the callback has run")

    assert seen == [("none", [7])]


@pytest.mark.parametrize("where", ["decorator", "options", "job", "by name"])
def test_each_way_to_set_a_callback(
    fleet: Fleet, registry: Registry, working: Working, calls: Calls, where: str
) -> None:
    given: dict[str, Any] = {"on_failure": callback(where)}
    made = registry.register(
        fail, name="test.own", fleet=fleet, max_retries=0, **given if where in ("decorator", "by name") else {}
    )
    jobs: dict[str, Job[Any]] = {
        "decorator": made.job(), "options": made.options(**given).job(),
        "job": Job("x", "test.own", **given), "by name": Job("x", "test.own"),
    }  # fmt: skip

    job_id = fleet.enqueue(jobs[where])
    with working():
        wait_until(lambda: calls, why="the callback has run")

    assert calls == [("failed", [where, "no answer", job_id])]


def test_many_jobs_with_callbacks(fleet: Fleet, calls: Calls) -> None:
    receipts = list(fleet.enqueue_many([both("test.work"), Job("x", "test.work"), both("test.fail")]))
    assert [dict(one.callbacks) for one in receipts] == [ids_of(receipts[0].id), {}, ids_of(receipts[2].id)]

    fleet.run_worker(burst=True)

    assert [receipt.created for receipt in receipts] == [True, True, True]
    assert sorted(calls) == [
        ("completed", ["good", 7, receipts[0].id]), ("failed", ["bad", "no answer", receipts[2].id]),
    ]  # fmt: skip


def test_the_same_job_twice_has_one_callback(fleet: Fleet, working: Working, calls: Calls) -> None:
    job = both("test.work")
    assert (fleet.submit(job).created, fleet.submit(job).created) == (True, False)
    fleet.run_worker(burst=True)
    assert fleet.submit(job).created is False

    fleet.run_worker(burst=True)

    assert len(calls) == 1


def test_a_cancelled_job_calls_neither(fleet: Fleet, working: Working, calls: Calls) -> None:
    job_id = fleet.enqueue(both("test.work"))
    assert fleet.cancel(job_id, by="ann")

    with working():
        assert set(settled(fleet, job_id).values()) == {JobStatus.CANCELLED}
    assert calls == []


def test_an_expired_job_has_failed(fleet: Fleet, working: Working, calls: Calls) -> None:
    job_id = fleet.enqueue(
        Job("x", "test.work", on_success=callback("good"), on_failure=callback("bad"), expires_in=0.001)
    )
    with working():
        wait_until(lambda: calls, why="the callback has run")
        assert settled(fleet, job_id)["on_success"] is JobStatus.CANCELLED

    assert calls == [("expired", ["bad", "not started in time", job_id])]


def test_a_retry_calls_nothing(fleet: Fleet, registry: Registry, working: Working, calls: Calls) -> None:
    runs: list[int] = []

    def twice() -> int:
        runs.append(1)
        if len(runs) == 1:
            fail()
        return 8

    registry.register(twice, name="test.twice", fleet=fleet)
    with working():
        job_id = fleet.enqueue(both("test.twice"))
        wait_until(lambda: calls, why="the callback has run")

    assert calls == [("completed", ["good", 8, job_id])]


def test_a_replay_that_completes_calls_on_success(
    fleet: Fleet, registry: Registry, working: Working, calls: Calls
) -> None:
    is_broken = [True]

    def sometimes() -> int:
        if is_broken[0]:
            fail()
        return 9

    registry.register(sometimes, name="test.sometimes", fleet=fleet, max_retries=0)
    with working():
        job_id = fleet.enqueue(both("test.sometimes"))
        wait_until(lambda: len(calls) == 1, why="on_failure has run")
        fleet.replay(job_id)
        wait_until(lambda: fleet.poll(job_id).status is JobStatus.FAILED, why="it has failed again")
        is_broken[0] = False
        fleet.replay(job_id)
        wait_until(lambda: len(calls) == 2, why="on_success has run")

    assert calls == [("failed", ["bad", "no answer", job_id]), ("completed", ["good", 9, job_id])]


def test_a_job_with_callbacks_may_wait_for_others(fleet: Fleet, working: Working, calls: Calls) -> None:
    first = fleet.enqueue(Job("first", "test.work"))
    bad = fleet.enqueue(Job("bad", "test.fail"))
    good = fleet.enqueue(Job("x", "test.work", depends_on=[first], on_success=callback("good")))
    never = fleet.enqueue(Job("x", "test.work", depends_on=[bad], on_success=callback("no"), on_failure=callback("no")))

    with working():
        assert fleet.wait(never, timeout=30).status is JobStatus.CANCELLED
        assert set(settled(fleet, never).values()) == {JobStatus.CANCELLED}
        wait_until(lambda: calls, why="the callback has run")

    assert calls == [("completed", ["good", 7, good])]


def test_a_job_of_a_flow_has_callbacks(fleet: Fleet, calls: Calls) -> None:
    flow = Flow("two")
    first = flow.add(both("test.fail"))
    flow.add(both("test.work"), after=first)
    info = fleet.flows.enqueue(flow)

    fleet.run_worker(burst=True)

    assert calls == [("failed", ["bad", "no answer", info.jobs[0].id])]
    assert len(fleet.flows.get(info.id).jobs) == 2


def test_a_moved_job_keeps_its_callbacks(fleet: Fleet, working: Working, calls: Calls) -> None:
    job_id = fleet.enqueue(both("test.work"))
    there = fleet.move(job_id, "other")

    with working(queues=["default", "other"]):
        wait_until(lambda: calls, why="the callback has run")

    assert calls == [("completed", ["good", 7, there])]


def test_a_scheduled_job_stays_scheduled(fleet: Fleet, calls: Calls) -> None:
    job_id = fleet.enqueue(Job("x", "test.work", delay=3600, on_success=callback("good")))

    receipt = fleet.submit(Job("x", "test.work", delay=3600, on_success=callback("good")))

    assert (fleet.poll(job_id).status, receipt.status) == (JobStatus.SCHEDULED, JobStatus.SCHEDULED)


def test_the_holder_of_a_unique_key_gets_no_second_callback(fleet: Fleet, calls: Calls) -> None:
    one, other = (fleet.submit(Job("x", "test.work", unique="k", on_success=callback(n))) for n in (1, 2))

    fleet.run_worker(burst=True)

    assert (one.created, other.created, other.id) == (True, False, one.id)
    assert calls == [("completed", [1, 7, one.id])]


def test_details_name_callbacks_and_their_job(fleet: Fleet, calls: Calls) -> None:
    job_id = fleet.enqueue(both("test.work"))
    ids = ids_of(job_id)

    assert fleet.details(job_id).callbacks == ids
    for option, one in ids.items():
        found = fleet.details(one)
        assert (found.callback, [parent.id for parent in found.parents]) == (option, [job_id])
        assert "Waits for 1 of 1 job" in fleet.explain(one).reasons[0].text


def test_handles_of_jobs_with_callbacks(fleet: Fleet, calls: Calls, registry: Registry, working: Working) -> None:
    made = registry.functions["test.work"].options(on_success=callback("good"))
    with working():
        handle: JobHandle[Any] = made.enqueue()
        assert handle.result(timeout=30) == 7
        wait_until(lambda: calls, why="the callback has run")


@pytest.mark.parametrize("has_callbacks", [False, True])
@pytest.mark.parametrize("has_ended", [False, True])
def test_a_repeated_enqueue_of_a_job_with_a_parent_reports_whether_it_still_waits(
    fleet: Fleet, working: Working, calls: Calls, has_callbacks: bool, has_ended: bool
) -> None:
    parent = fleet.enqueue(Job("parent", "test.work"))
    options: dict[str, Any] = {"on_success": callback("good")} if has_callbacks else {}
    job = Job("x", "test.work", id="own", depends_on=[parent], queue="later", **options)
    first = fleet.submit(job)
    if has_ended:
        with working():
            wait_until(lambda: fleet.poll(first.id).status is JobStatus.QUEUED, why="its parent has ended")

    second = fleet.submit(job)

    assert (first.created, first.status) == (True, JobStatus.BLOCKED)
    assert second == first._replace(created=False, status=fleet.poll(first.id).status)


def test_a_repeated_enqueue_of_a_job_with_callbacks_reports_that_it_is_queued(fleet: Fleet, calls: Calls) -> None:
    first, second = (fleet.submit(Job("x", "test.work", id="own", on_success=callback("good"))) for _ in range(2))

    assert (first.created, first.status) == (True, JobStatus.QUEUED)
    assert second == first._replace(created=False)
