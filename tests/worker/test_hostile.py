"""What is written straight into Redis: one bad job harms nobody else, and no worker."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import redis

from jobfleet import Fleet, Job, JobStatus
from jobfleet.client.registry import Registry
from jobfleet.codec.envelope import seal
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.leases import Leases
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace
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


@pytest.fixture(autouse=True)
def functions(fleet: Fleet, registry: Registry) -> None:
    """Functions that take anything, look at their context, or raise."""

    def fail(*_: object) -> None:
        raise RuntimeError("as told")

    from jobfleet import JobContext

    def context(ctx: JobContext) -> str:
        return f"{ctx.job.name} {ctx.tags} {ctx.metadata} {ctx.user}"[:0]

    registry.register(lambda *_: "fine", name="test.fine", fleet=fleet)
    registry.register(context, name="test.context", fleet=fleet)
    registry.register(fail, name="test.raise", fleet=fleet, max_retries=0)


@pytest.mark.parametrize("header", HEADERS, ids=[f"{number}-{header}" for number, header in enumerate(HEADERS)])
def test_a_header_of_wrong_types_harms_no_other_job(
    fleet: Fleet, raw: redis.Redis, working: Working, header: Mapping[str, object]
) -> None:
    planted = plant(fleet, raw, seal(header))

    with working(slots=2):
        wait_until(
            lambda: fleet.poll(planted).status not in {JobStatus.SCHEDULED, JobStatus.QUEUED, JobStatus.RUNNING},
            timeout=15,
            why=f"a job of {header} is settled",
        )
        for _ in range(3):  # more than there are slots
            assert fleet.wait(fleet.enqueue(Job("fine", "test.fine")), timeout=15).result == "fine"


def test_hostile_bytes_fail_their_job_and_leave_the_worker_alive(
    fleet: Fleet, raw: redis.Redis, working: Working
) -> None:
    planted = {path.name: plant(fleet, raw, path.read_bytes()) for path in CORPUS}
    gone = fleet.enqueue(Job("gone", "test.fine", delay=0.1))
    raw.delete(LANE.job(gone))

    with working(slots=2):
        for name, job_id in planted.items():
            wait_until(lambda job_id=job_id: fleet.poll(job_id).status.value in {"failed", "retrying"}, why=name)
        assert fleet.wait(gone, timeout=20).error_class == "unreadable"
        assert fleet.wait(fleet.enqueue(Job("fine", "test.fine")), timeout=20).result == "fine"

    parked = {name for name, job_id in planted.items() if fleet.poll(job_id).status is JobStatus.RETRYING}
    assert parked == {"envelope-version-2.bin"}
    dead = {letter.id: letter.error_class for letter in fleet.dead(limit=100)}
    assert dead == dict.fromkeys([*(job_id for name, job_id in planted.items() if name not in parked), gone], "unreadable")


@pytest.mark.parametrize("header", HEADERS, ids=[f"{number}-{header}" for number, header in enumerate(HEADERS)])
async def test_a_hostile_run_that_is_overdue_does_not_end_the_duty(
    fleet: Fleet, raw: redis.Redis, redis_url: str, header: Mapping[str, object]
) -> None:
    plant(fleet, raw, seal({"function": "test.fine"}))  # so that the queue is there
    seed = Seed(raw, LANE)
    bad, good = (seed.running(name, token, deadline=-10) for name, token in (("bad", 7), ("good", 8)))
    raw.set(LANE.job(bad), seal(header))
    raw.set(LANE.job(good), seal({"function": "test.fine"}))
    seed.ticked()
    store = AsyncStore(fleet.store.at)
    duty = Leases(store, KEYS, JobConfig(url=redis_url), Tally(), spacing=lambda: 0.05)

    duty.start()

    async def left() -> bool:
        return not raw.zcard(LANE.lease)

    try:
        await await_until(left, timeout=15, why=f"both are settled beside {header}")
    finally:
        await duty.stop()
        await store.close()
    assert not raw.hexists(LANE.runs, good)


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
        import threading

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
