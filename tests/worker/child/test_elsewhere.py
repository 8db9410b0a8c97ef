"""Jobs whose function this worker does not know, and another live worker does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobResult, JobStatus, Priority
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from jobfleet.worker.ipc.protocol import kind_of
from tests.support.fleet import LONG, settle_all
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

Strangers = Callable[..., Fleet]

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


@pytest.fixture
def stranger(redis_url: str) -> Iterator[Strangers]:
    """Makes fleets on the test's server that know one function each."""
    with ExitStack() as stack:

        def make(name: str, function: Callable[[int], int] = abs, **settings: float) -> Fleet:
            registry = Registry()
            registry.register(function, name=name)
            chosen: Any = {"beat": 0.2, **settings}
            return stack.enter_context(Fleet(redis_url, registry=registry, lease=6, patience=30, **chosen))

        yield make


def jobs_of(name: str, count: int) -> list[Job]:
    """Jobs that answer their number."""
    return [Job(f"{name}-{number}", name, (-number,)) for number in range(count)]


def answers(results: dict[str, JobResult[object]]) -> tuple[set[JobStatus], list[int], set[int | None]]:
    """Statuses, values in order, and how often something was counted."""
    return (
        {one.status for one in results.values()},
        sorted(one.result for one in results.values() if isinstance(one.result, int)),
        {one.retry_count for one in results.values()},
    )


def test_two_workers_of_one_queue_leave_each_other_what_they_do_not_know(
    fleet: Fleet, stranger: Strangers, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = stranger("one.run"), stranger("other.run")
    with working(of=one), working(of=other):
        wait_until(lambda: len(fleet.workers()) == 2, timeout=LONG, why="both are there")
        ids = [one.id for one in fleet.enqueue_many([*jobs_of("one.run", 60), *jobs_of("other.run", 60)])]

        results = settle_all(fleet, ids)

    assert answers(results) == ({JobStatus.COMPLETED}, sorted([*range(60)] * 2), {0})
    assert "no worker knows" not in caplog.text


def test_jobs_behind_a_thousand_that_others_know_are_found(fleet: Fleet, stranger: Strangers, working: Working) -> None:
    busy, free = stranger("busy.run"), stranger("free.run")
    with working(of=busy), working(of=free):
        wait_until(lambda: len(fleet.workers()) == 2, timeout=LONG, why="both are there")
        fleet.pause("default")
        list(fleet.enqueue_many(jobs_of("busy.run", 1_000)))
        ids = [one.id for one in fleet.enqueue_many(jobs_of("free.run", 50))]
        fleet.resume("default")

        results = settle_all(fleet, ids)

    assert answers(results) == ({JobStatus.COMPLETED}, [*range(50)], {0})


def test_a_function_that_others_know_since_now_is_left_to_them(
    fleet: Fleet, stranger: Strangers, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    old, late = stranger("old.run", beat=9.0), stranger("late.run")
    with working(of=old):
        wait_until(fleet.workers, timeout=LONG, why="the first is there")
        with working(of=late):
            wait_until(lambda: len(fleet.workers()) == 2, timeout=LONG, why="both are there")
            assert fleet.wait(fleet.enqueue(Job("late", "late.run", (-7,))), timeout=LONG).result == 7
    assert "no worker knows" not in caplog.text


def test_a_job_is_parked_with_the_truth_once_the_last_that_knew_it_has_left(
    fleet: Fleet, stranger: Strangers, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = stranger("one.run"), stranger("other.run")
    with working(of=one):
        with working(of=other):
            wait_until(lambda: len(fleet.workers()) == 2, timeout=LONG, why="both are there")
            assert fleet.wait(fleet.enqueue(Job("x", "other.run", (-1,))), timeout=LONG).result == 1
        job_id = fleet.enqueue(Job("x", "other.run", (-1,)))
        wait_until(lambda: fleet.poll(job_id).status is JobStatus.RETRYING, timeout=LONG, why="it is parked")
    assert "no worker knows 'other.run'" in caplog.text


def test_a_job_that_only_workers_of_other_queues_know_waits_for_one_and_does_not_die(
    fleet: Fleet, stranger: Strangers, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = stranger("one.run", unknown_grace=0.001), stranger("other.run")
    with working(of=one), working(of=other, queues=("elsewhere",)):
        wait_until(lambda: len(fleet.workers()) == 2, timeout=LONG, why="both are there")
        job_id = fleet.enqueue(Job("x", "other.run", (-1,)))
        await_left(fleet, job_id)
        assert [reason.code for reason in fleet.explain(job_id).reasons] == ["elsewhere"]

        with working(of=other):
            assert fleet.wait(job_id, timeout=LONG).result == 1
    assert "no worker knows" not in caplog.text


def test_a_job_that_is_parked_goes_to_a_worker_that_comes_and_knows_it_before_it_dies(
    fleet: Fleet, stranger: Strangers, working: Working
) -> None:
    one, other = stranger("one.run", unknown_grace=0.001), stranger("other.run")
    job_id = fleet.enqueue(Job("x", "other.run", (-1,), queue="default"))
    with working(of=other, queues=("elsewhere",)):
        wait_until(fleet.workers, timeout=LONG, why="one is there that knows it")
        with working(of=one):
            await_left(fleet, job_id)
            assert fleet.poll(job_id).status is JobStatus.QUEUED


def await_left(fleet: Fleet, job_id: str) -> None:
    """Wait until a job waits that a worker was given and has put back, or would have been given."""
    busy = fleet.enqueue_many([Job("after", "one.run", (-2,))])
    settle_all(fleet, [one.id for one in busy])
    wait_until(lambda: fleet.poll(job_id).status is JobStatus.QUEUED, timeout=LONG, why="it waits")


@pytest.mark.parametrize("key", ["kinds", "kind:{kind}", "knowers:{kind}"])
@pytest.mark.parametrize("poison", ["text", "list", "garbage"])
def test_whatever_stands_where_kinds_are_told_the_worker_works_on(
    fleet: Fleet, stranger: Strangers, working: Working, raw: redis.Redis, key: str, poison: str
) -> None:
    one, other = stranger("one.run"), stranger("other.run")
    kind = kind_of(other.context.registry.functions, ["default"]).id
    name = Keyspace("jobfleet").tag + key.format(kind=kind)
    with working(of=other):
        wait_until(fleet.workers, timeout=LONG, why="it is there")
        with raw.pipeline() as at_once:  # or the worker would write in between
            if poison != "garbage":
                at_once.delete(name)
            if poison == "text":
                at_once.set(name, "x")
            elif poison == "list":
                at_once.rpush(name, "x")
            elif key == "kind:{kind}":
                at_once.hset(
                    name, mapping={b"\xff": b"default", "a b\nc 19": "default", "": b"\xff default", "f": "default"}
                )
            else:
                members: Any = {b"\xff": 9e15, "a b\nc": 9e15, "0" * 5000: 9e15}
                at_once.zadd(name, members)
            at_once.execute()
        with working(of=one):
            assert fleet.wait(fleet.enqueue(Job("x", "one.run", (-1,))), timeout=LONG).result == 1
            assert fleet.explain(fleet.enqueue(Job("x", "one.run", (-1,)))).status is not None
            assert fleet.doctor().findings
            wait_until(lambda: len(fleet.workers()) == 2, timeout=LONG, why="both live")


def test_the_plain_functions_of_a_program_are_left_to_it(fleet: Fleet, stranger: Strangers, working: Working) -> None:
    one, program = stranger("one.run"), stranger("program.run", beat=9.0)
    with working(of=one), working(of=program):
        wait_until(lambda: len(fleet.workers()) == 2, timeout=LONG, why="both are there")
        ids = [program.enqueue(Job(f"plain{number}", sorted, ([number, 0],))) for number in range(40)]

        assert {one.status for one in settle_all(fleet, ids).values()} == {JobStatus.COMPLETED}
    assert fleet.dead() == []


def test_a_job_that_comes_before_its_worker_does_not_wait_for_long(
    fleet: Fleet, stranger: Strangers, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobfleet.worker")
    one, late = stranger("one.run", beat=60, gone_after=120), stranger("late.run")
    with working(of=one):
        job_id = fleet.enqueue(Job("x", "late.run", (-1,)))
        wait_until(lambda: "Parked" in caplog.text, timeout=LONG, why="it is parked")
        with working(of=late):
            result = fleet.wait(job_id, timeout=LONG)
    assert (result.result, result.retry_count) == (1, 0)
    assert "dead letters" not in caplog.text  # a warning waits for one heartbeat of newcomers


def test_a_job_that_no_worker_knows_after_a_heartbeat_is_warned_of_once(
    fleet: Fleet, stranger: Strangers, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    with working(of=stranger("one.run")):
        job_id = fleet.enqueue(Job("x", "late.run", (-1,)))
        wait_until(lambda: "dead letters" in caplog.text, timeout=LONG, why="it is warned of")
        settle_all(fleet, [fleet.enqueue(Job("y", "one.run", (-1,)))])

    warnings = [record.getMessage() for record in caplog.records if "dead letters" in record.getMessage()]
    assert warnings == [
        f"Parked {job_id}: no worker knows 'late.run'; did you mean 'one.run'? Goes to the dead letters in 1 h."
    ]


def test_a_worker_that_ends_warns_of_what_it_has_parked(
    fleet: Fleet, stranger: Strangers, working: Working, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobfleet.worker")
    with working(of=stranger("one.run", beat=60, gone_after=120)):
        fleet.enqueue(Job("x", "late.run", (-1,)))
        wait_until(lambda: "Parked" in caplog.text, timeout=LONG, why="it is parked")
        assert "dead letters" not in caplog.text

    assert caplog.text.count("Goes to the dead letters in 1 h.") == 1


def test_parked_jobs_run_by_priority_when_a_worker_comes_that_knows_them(
    fleet: Fleet, stranger: Strangers, working: Working
) -> None:
    """Each would come back at its own time, up to 10 s later, so that a LOW one might overtake a CRITICAL one."""
    ran: list[int] = []

    def run(priority: int) -> int:
        ran.append(priority)
        return priority

    one, late = stranger("one.run"), stranger("late.run", run)
    wanted = [priority for _ in range(5) for priority in (0, 3, 1, 2)]
    with working(of=one):
        ids = [fleet.enqueue(Job("x", "late.run", (number,), priority=Priority(number))) for number in wanted]
        wait_until(lambda: all(fleet.poll(job_id).parked_since for job_id in ids), timeout=LONG, why="all are parked")
    for at, job_id in enumerate(ids):  # as if they were parked again and again
        fleet.reschedule(job_id, delay=1 + at / 10)
    with working(of=late, slots=1):
        results = settle_all(fleet, ids)

    assert ran == sorted(wanted, reverse=True)
    assert {result.parked_since for result in results.values()} == {None}
