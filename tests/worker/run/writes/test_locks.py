"""`ctx.lock`: a semaphore of the fleet, held for a block and at most as long as the run."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest
import redis

from jobfleet import ErrorType, Fleet, JobCancelled, JobContext, JobStatus
from jobfleet.errors import InvalidJob, LockConflict, LockTimeout
from jobfleet.functions.registry import Registry
from jobfleet.retry.decision import Policy, classify
from jobfleet.store.calls.run import Holder, acquire
from jobfleet.store.keys import Keyspace
from jobfleet.worker.run import writer
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

KEYS = Keyspace("jobfleet")
LOCK = KEYS.lock("crm")


class Seen:
    """What the jobs of a test have done."""

    def __init__(self) -> None:
        self.inside = 0
        self.most = 0
        self.fences: list[int] = []
        self.gate = threading.Event()
        self.entered = threading.Event()
        self._guard = threading.Lock()

    def enter(self, fence: int) -> None:
        with self._guard:
            self.inside += 1
            self.most = max(self.most, self.inside)
            self.fences.append(fence)
        self.entered.set()

    def leave(self) -> None:
        with self._guard:
            self.inside -= 1


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def jobs(fleet: Fleet, registry: Registry, seen: Seen) -> dict[str, Any]:
    """Jobs that hold the lock until the gate opens, in both styles."""

    async def hold(ctx: JobContext, limit: int = 1, timeout: float | None = None) -> int:
        async with ctx.lock("crm", limit=limit, timeout=timeout) as lock:
            seen.enter(lock.fence)
            while not seen.gate.is_set():
                await asyncio.sleep(0.005)
            await asyncio.sleep(0.01)
            seen.leave()
            return lock.fence

    def hold_sync(ctx: JobContext, limit: int = 1, timeout: float | None = None) -> int:
        with ctx.lock("crm", limit=limit, timeout=timeout) as lock:
            seen.enter(lock.fence)
            seen.gate.wait(30)
            threading.Event().wait(0.01)
            seen.leave()
            return lock.fence

    return {
        "async": registry.register(hold, name="test.hold", fleet=fleet, max_retries=0),
        "sync": registry.register(hold_sync, name="test.hold_sync", fleet=fleet, max_retries=0),
    }


styles = pytest.mark.parametrize("style", ["async", "sync"])


@pytest.fixture
def no_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the announcements of releases wake jobs that wait."""
    monkeypatch.setattr(writer, "POLL", 300.0)


def test_no_more_jobs_are_inside_than_the_limit_and_tokens_only_grow(
    fleet: Fleet, jobs: dict[str, Any], seen: Seen, raw: redis.Redis, no_poll: None, working: Working
) -> None:
    seen.gate.set()
    handles = [jobs[style].enqueue(2) for _ in range(6) for style in ("async", "sync")]

    with working(slots=12), working(slots=12):
        wait_until(lambda: len(fleet.workers()) == 2, timeout=60, why="both workers are there")
        results = [handle.wait(timeout=60) for handle in handles]

    assert {result.status for result in results} == {JobStatus.COMPLETED}
    assert seen.most == 2
    assert sorted(result.result or 0 for result in results) == sorted(set(seen.fences))
    assert not raw.exists(LOCK)


@styles
def test_a_job_whose_time_is_over_gets_an_error(
    fleet: Fleet, jobs: dict[str, Any], seen: Seen, style: str, working: Working
) -> None:
    with working():
        holder = jobs["async"].enqueue()
        wait_until(seen.entered.is_set, timeout=30, why="the lock is held")

        results = [jobs[style].enqueue(1, timeout).wait(timeout=30) for timeout in (0, 0.05)]
        seen.gate.set()
        assert holder.wait(timeout=30).status is JobStatus.COMPLETED

    assert [result.error_class for result in results] == ["LockTimeout"] * 2
    assert results[1].error == "Lock 'crm' (limit 1) had no free place within 0.05 s."
    assert len(seen.fences) == 1


@styles
def test_explain_and_the_log_name_the_lock_for_which_each_job_waits(
    fleet: Fleet, jobs: dict[str, Any], seen: Seen, style: str, raw: redis.Redis, working: Working,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(writer, "NOTED_AFTER", 0.05)
    with working(slots=3):
        holder = jobs["async"].enqueue()
        wait_until(seen.entered.is_set, timeout=30, why="the lock is held")
        waiting = [jobs[style].enqueue() for _ in range(2)]  # one of them waits for its turn in this process
        for handle in waiting:
            wait_until(lambda: handle.explain().reasons[0].code == "lock", timeout=30, why="it is noted")  # noqa: B023
        first = waiting[0].explain().reasons[0]
        seen.gate.set()
        for handle in (holder, *waiting):
            assert handle.wait(timeout=30).status is JobStatus.COMPLETED
        wait_until(lambda: not raw.keys(KEYS.lock_wait("*")), timeout=30, why="the notes are deleted")

    assert (first.facts["lock"], first.facts["holders"]) == ("crm", [holder.id])
    for handle in waiting:
        assert [line.text for line in fleet.logs(handle.id)] == ["waits for lock 'crm' (limit 1)"]


@styles
def test_a_job_that_waits_can_be_cancelled(
    fleet: Fleet, jobs: dict[str, Any], seen: Seen, style: str, raw: redis.Redis, working: Working
) -> None:
    with working():
        holder = jobs["async"].enqueue()
        wait_until(seen.entered.is_set, timeout=30, why="the lock is held")
        waiting = jobs[style].enqueue()
        wait_until(lambda: waiting.poll().status is JobStatus.RUNNING, timeout=30, why="it waits")

        waiting.cancel()

        assert waiting.wait(timeout=30).status is JobStatus.CANCELLED
        assert raw.zcard(LOCK) == 1
        seen.gate.set()
        assert holder.wait(timeout=30).status is JobStatus.COMPLETED
        wait_until(lambda: not raw.exists(LOCK), timeout=30, why="nobody holds the lock")
    assert len(seen.fences) == 1


@styles
def test_the_place_of_a_run_that_has_ended_is_free(
    fleet: Fleet, jobs: dict[str, Any], seen: Seen, style: str, raw: redis.Redis, working: Working
) -> None:
    fleet.store.run(acquire(KEYS, "crm", Holder(7, 1, "default.0.crashed"), 1))
    raw.zadd(LOCK, {"of no run": 1})
    seen.gate.set()

    with working():
        wait_until(fleet.workers, timeout=60, why="the worker is there")
        assert jobs[style].enqueue().result(timeout=30) == seen.fences[0]


def test_a_run_that_forgets_to_leave_its_block_frees_the_lock_with_its_end(
    fleet: Fleet, registry: Registry, jobs: dict[str, Any], seen: Seen, raw: redis.Redis
) -> None:
    async def forget(ctx: JobContext) -> None:
        await ctx.lock("crm").__aenter__()

    seen.gate.set()
    registry.register(forget, name="test.forget", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)
    assert raw.zcard(LOCK) == 1
    handle = jobs["async"].enqueue()

    fleet.run_worker(burst=True)

    assert handle.poll().status is JobStatus.COMPLETED


@styles
def test_another_limit_is_an_error_while_the_lock_is_held(
    fleet: Fleet, jobs: dict[str, Any], seen: Seen, style: str, working: Working
) -> None:
    with working():
        holder = jobs["sync"].enqueue(2)
        wait_until(seen.entered.is_set, timeout=30, why="the lock is held")

        refused = jobs[style].enqueue(3).wait(timeout=30)
        seen.gate.set()
        holder.wait(timeout=30)
        other = jobs[style].enqueue(3).wait(timeout=30)

    assert (refused.error_class, refused.error) == (
        "LockConflict", "Lock 'crm' is held with the limit 2, not 3: give all its uses the same limit.",
    )  # fmt: skip
    assert other.status is JobStatus.COMPLETED


def test_the_branches_of_a_job_hold_places_of_their_own(fleet: Fleet, registry: Registry, seen: Seen) -> None:
    async def branches(ctx: JobContext) -> int:
        async def branch() -> None:
            async with ctx.lock("crm", limit=2) as lock:
                seen.enter(lock.fence)
                await asyncio.sleep(0.01)
                seen.leave()

        await asyncio.gather(*[branch() for _ in range(5)])
        return len(set(seen.fences))

    handle = registry.register(branches, name="test.branches", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    assert (handle.poll().result, seen.most) == (5, 2)


@pytest.mark.parametrize("name", ["cell.lock", "cell.lock_async"])
def test_an_isolated_process_holds_and_awaits_locks(
    fleet: Fleet,
    cells: None,
    jobs: dict[str, Any],
    seen: Seen,
    raw: redis.Redis,
    registry: Registry,
    working: Working,
    name: str,
) -> None:
    function = fleet.job(name=name, run_in="process")(registry.functions.pop(name).function)
    with working(slots=6):
        holders = [jobs["sync"].enqueue(2) for _ in range(2)]
        wait_until(lambda: raw.zcard(LOCK) == 2, timeout=30, why="the lock is held")
        late = function.enqueue(timeout=0.05).wait(timeout=60)
        cancelled, waiting = function.enqueue(), function.enqueue()
        wait_until(lambda: cancelled.poll().status is JobStatus.RUNNING, timeout=60, why="it waits")
        cancelled.cancel()
        assert cancelled.wait(timeout=60).status is JobStatus.CANCELLED
        seen.gate.set()

        assert waiting.result(timeout=60) > max(holder.result(timeout=30) for holder in holders)
    assert (late.error_class, late.error) == ("LockTimeout", "Lock 'crm' (limit 2) had no free place within 0.05 s.")
    assert not raw.exists(LOCK)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("", {}, "The name of a lock is ''; give a text of 1 to 200 printable characters."),
        ("a\n", {}, "The name of a lock is 'a\\n'; give a text of 1 to 200 printable characters."),
        (7, {}, "The name of a lock is 7; give a text of 1 to 200 printable characters."),
        ("x", {"limit": 0}, "The limit of lock 'x' is 0; give a whole number from 1 to 1,000."),
        ("x", {"limit": True}, "The limit of lock 'x' is True; give a whole number from 1 to 1,000."),
        ("x", {"limit": 1001}, "The limit of lock 'x' is 1001; give a whole number from 1 to 1,000."),
        ("x", {"timeout": -1}, "timeout is -1; give seconds (0 or more, at most 100 years) or a timedelta."),
    ],
)
def test_wrong_arguments_are_refused_at_once(name: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        JobContext.for_test().lock(name, **options)

    assert str(refused.value) == message


def test_a_context_for_tests_has_locks() -> None:
    ctx = JobContext.for_test()

    with ctx.lock("crm", timeout=timedelta(seconds=1)) as first:
        with pytest.raises(LockTimeout, match=r"^Lock 'crm' \(limit 1\) has no free place: this context holds 1\.$"):
            ctx.lock("crm").__enter__()
        with pytest.raises(InvalidJob, match=r"call ctx\.lock"):
            first.__enter__()
        before = first.fence
    assert first.fence == 0
    with first:
        assert first.fence > before


async def test_each_style_has_its_place() -> None:
    ctx = JobContext.for_test()

    with pytest.raises(TypeError, match="write 'async with'"):
        ctx.lock("crm").__enter__()
    async with ctx.lock("crm") as lock:
        assert lock.fence == 1


def test_a_job_that_is_to_stop_takes_no_lock() -> None:
    ctx = JobContext.for_test()
    ctx.port.must_stop = "cancelled by ann"  # type: ignore[misc]

    with pytest.raises(JobCancelled, match="is to stop: cancelled by ann"):
        ctx.lock("crm").__enter__()


def test_both_errors_are_retried_unless_the_function_says_otherwise() -> None:
    for error in (LockConflict("other"), LockTimeout("late")):
        assert classify(error, Policy()) is ErrorType.TRANSIENT
