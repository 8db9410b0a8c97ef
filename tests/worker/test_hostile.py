"""What is written straight into Redis: one bad job harms nobody else, and no worker."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobContext, JobStatus
from jobfleet.codec.frames import seal
from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.leases import Leases
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from tests.support.seed import Seed
from tests.support.waiting import await_until, wait_until
from tests.worker.conftest import Working

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)
CORPUS = sorted((Path(__file__).parents[1] / "corpus").glob("envelope-*.bin"))

HEADERS: list[Mapping[str, object]] = [
    {},
    {"function": 5},
    {"function": None},
    {"function": ["test.fine"]},
    {"function": "no such, and no name either"},
    {"function": "test.context", "timeout": "soon"},
    {"function": "test.context", "timeout": -1},
    {"function": "test.context", "timeout": []},
    {"function": "test.context", "result_ttl": "long"},
    {"function": "test.context", "result_ttl": -5},
    {"function": "test.context", "metadata": 3},
    {"function": "test.context", "tags": 7},
    {"function": "test.context", "tags": [[1]]},
    {"function": "test.context", "name": 5},
    {"function": "test.context", "name": ""},
    {"function": "test.context", "user": 5},
    {"function": "test.context", "session": {}},
    {"function": "test.context", "max_retries": -3},
    {"function": "test.context", "correlation_id": 5},
    {"function": "test.context", "enqueued_at": "then"},
    {"function": "test.raise", "max_retries": "many"},
    {"function": "test.raise", "retry_delay": "long"},
    {"function": "test.raise", "retry_delay": -(10**12)},
    {"function": "test.raise", "retry_backoff": "x"},
    {"function": "test.raise", "retry_backoff": -5.0, "max_retries": 2},
    {"function": "test.raise", "retry_backoff": 1e308, "max_retries": 9},
    {"function": "test.raise", "retry_jitter": "x", "max_retries": None},
]


def plant(fleet: Fleet, raw: redis.Redis, envelope: bytes) -> str:
    """Enqueue a job, and put other bytes in place of its envelope."""
    job_id = fleet.enqueue(Job("planted", "test.fine", delay=0.1))
    raw.set(LANE.job(job_id), envelope)
    return job_id


def settled(fleet: Fleet, job_id: str) -> bool:
    """Whether a first run is over."""
    return fleet.poll(job_id).status not in {JobStatus.SCHEDULED, JobStatus.QUEUED, JobStatus.RUNNING}


@pytest.fixture(autouse=True)
def functions(fleet: Fleet, registry: Registry) -> None:
    """Functions that take anything, look at their context, or raise."""

    def fail(*_: object) -> None:
        raise RuntimeError("as told")

    def context(ctx: JobContext) -> str:
        return f"{ctx.job.name} {ctx.tags} {ctx.metadata} {ctx.user}"[:0]

    registry.register(lambda *_: "fine", name="test.fine", fleet=fleet)
    registry.register(context, name="test.context", fleet=fleet)
    registry.register(fail, name="test.raise", fleet=fleet, max_retries=0)


def test_headers_of_wrong_types_harm_no_other_job(fleet: Fleet, raw: redis.Redis, working: Working) -> None:
    planted = {plant(fleet, raw, seal(header)): header for header in HEADERS}

    with working(slots=2):
        assert fleet.wait(fleet.enqueue(Job("fine", "test.fine", delay=0.2)), timeout=10).result == "fine"
        for job_id, header in planted.items():
            wait_until(partial(settled, fleet, job_id), why=f"{header} is settled")
        for _ in range(3):  # more than there are slots
            assert fleet.wait(fleet.enqueue(Job("fine", "test.fine")), timeout=10).result == "fine"


@pytest.mark.parametrize("header", [{"enqueued_at": "then"}, {"tags": 7}], ids=str)
def test_a_job_with_a_header_of_wrong_types_can_be_polled(
    fleet: Fleet, raw: redis.Redis, header: Mapping[str, object]
) -> None:
    planted = plant(fleet, raw, seal({"function": "test.fine", **header}))

    assert fleet.poll(planted).id == planted
    assert [one.id for one in fleet.jobs().jobs] == [planted]


def test_hostile_bytes_fail_their_job_and_leave_the_worker_alive(
    fleet: Fleet, raw: redis.Redis, working: Working
) -> None:
    planted = {path.name: plant(fleet, raw, path.read_bytes()) for path in CORPUS}
    gone = fleet.enqueue(Job("gone", "test.fine", delay=0.1))
    raw.delete(LANE.job(gone))

    with working(slots=2):
        for name, job_id in planted.items():
            wait_until(partial(settled, fleet, job_id), why=f"{name} is settled")
        assert fleet.wait(gone, timeout=20).error_class == "unreadable"
        assert fleet.wait(fleet.enqueue(Job("fine", "test.fine")), timeout=20).result == "fine"

    parked = {name for name, job_id in planted.items() if not fleet.poll(job_id).status.is_final}
    assert parked == {"envelope-version-2.bin", "envelope-algorithm-1.bin"}  # signed: the key may be about to arrive
    dead = {letter.id: letter.error_class for letter in fleet.dead(limit=100)}
    assert dead == dict.fromkeys(
        [*(job_id for name, job_id in planted.items() if name not in parked), gone], "unreadable"
    )


async def test_hostile_runs_that_are_overdue_do_not_end_the_duty(raw: redis.Redis, redis_url: str) -> None:
    store = AsyncStore(target(redis_url))
    await store.run(open_queue(KEYS, "default", 1))
    seed = Seed(raw, LANE)
    for token, header in enumerate(HEADERS, start=1):
        raw.set(LANE.job(seed.running(f"j{token}", token, child=f"c.{token}", deadline=-10)), seal(header))
    seed.ticked()
    duty = Leases(store, KEYS, JobConfig(url=redis_url, max_crashes=2), Tally(), spacing=lambda: 0.05)

    duty.start()

    async def left() -> bool:
        return not raw.zcard(LANE.lease)

    try:
        await await_until(left, why="all are settled")
    finally:
        await duty.stop()
        await store.close()


def test_a_job_of_an_unknown_function_waits_for_a_worker_that_knows_it(
    fleet: Fleet, registry: Registry, working: Working, raw: redis.Redis
) -> None:
    with pytest.warns(UserWarning, match="No worker has published"):
        job_id = fleet.enqueue(Job("later", "test.later"))
    with working():
        wait_until(lambda: fleet.poll(job_id).status is JobStatus.RETRYING, why="it is parked")
    registry.register(lambda: "known", name="test.later", fleet=fleet)
    raw.zadd(LANE.ready[2], {job_id: 1}, xx=True)  # now, not in ten seconds

    with working():
        result = fleet.wait(job_id, timeout=30)

    assert (result.result, result.retry_count, result.attempt) == ("known", 0, 1)


def test_a_job_of_an_unknown_function_is_dead_when_its_time_is_over(redis_url: str, registry: Registry) -> None:
    with Fleet(redis_url, registry=registry, unknown_grace=0.5) as fleet:
        with pytest.warns(UserWarning, match="No worker has published"):
            job_id = fleet.enqueue(Job("never", "test.never"))
        stop = threading.Event()
        thread = threading.Thread(target=fleet.run_worker, kwargs={"stop": stop})
        thread.start()
        try:
            result = fleet.wait(job_id, timeout=30)
        finally:
            stop.set()
            thread.join(30)

        assert (result.status, result.error_class) == (JobStatus.FAILED, "unknown-function")
        assert [letter.id for letter in fleet.dead()] == [job_id]
