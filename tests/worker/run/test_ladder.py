"""Limits and cancellation of coroutines and threads, in a worker of this process."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job, JobCancelled, JobContext, JobStatus, ProgressCallback
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.support.state import server_now
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)
LONG = 60.0


class Door:
    """Where jobs wait, and what they were told there."""

    def __init__(self) -> None:
        self.is_open = threading.Event()
        self.reached = threading.Event()
        self.told: list[str] = []

    async def pass_async(self) -> str:
        """Wait on the loop."""
        self.reached.set()
        try:
            while not self.is_open.is_set():
                await asyncio.sleep(0.005)
        except asyncio.CancelledError:
            self.told.append("interrupted")
            raise
        return "passed"

    def pass_thread(self) -> str:
        """Wait in a thread."""
        try:
            self.reached.set()
            while not self.is_open.is_set():
                time.sleep(0.005)
        except JobCancelled:
            self.told.append("interrupted")
            raise
        return "passed"


@pytest.fixture
def fleet(redis_url: str, registry: Registry) -> Iterator[Fleet]:
    """A fleet whose graces suit tests."""
    with Fleet(
        redis_url,
        registry=registry,
        lease=6,
        retry_delay=0.05,
        patience=30,
        cancel_grace=0.3,
        stop_grace=0.4,
    ) as fleet:
        yield fleet


@pytest.fixture
def door() -> Iterator[Door]:
    """Opened at the end, so that no thread stays."""
    door = Door()
    yield door
    door.is_open.set()


@pytest.fixture(autouse=True)
def functions(registry: Registry, door: Door) -> None:
    """Functions that wait at the door."""
    registry.register(door.pass_async, name="wait.async")
    registry.register(door.pass_thread, name="wait.thread")
    registry.register(lambda: threading.current_thread().name, name="quick.thread")


both = pytest.mark.parametrize("where", ["async", "thread"])


@both
def test_a_soft_limit_interrupts_and_fails_with_timeout(fleet: Fleet, working: Working, door: Door, where: str) -> None:
    with working():
        job_id = fleet.enqueue(Job("wait", f"wait.{where}", timeout=1, max_retries=0))
        result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, result.error_class, result.error) == (JobStatus.FAILED, "timeout", "timed out after 1 s")
    assert result.error_type == "transient"
    assert door.told == ["interrupted"]


@both
def test_a_run_that_timed_out_is_run_again(fleet: Fleet, working: Working, door: Door, where: str) -> None:
    with working():
        job_id = fleet.enqueue(Job("wait", f"wait.{where}", timeout=1, max_retries=2))
        wait_until(lambda: len(door.told) == 1, timeout=LONG, why="it was interrupted once")
        door.is_open.set()
        result = fleet.wait(job_id, timeout=LONG)

    assert (result.result, result.retry_count) == ("passed", 1)


@both
@pytest.mark.parametrize(("lists", "runs"), [({"discard_on": (TimeoutError,)}, 1), ({"retry_on": (OSError,)}, 2)])
def test_a_function_may_say_that_its_time_outs_are_final(
    fleet: Fleet, registry: Registry, working: Working, door: Door, where: str, lists: dict[str, Any], runs: int
) -> None:
    target = door.pass_async if where == "async" else door.pass_thread
    function = registry.register(target, name="choosy", fleet=fleet, timeout=0.1, max_retries=1, **lists)
    with working():
        result = function.enqueue().wait(timeout=LONG)

    assert (result.error_class, result.retry_count) == ("timeout", runs - 1)
    assert result.error_type == ("permanent" if runs == 1 else "transient")


@both
def test_a_cancelled_run_that_cannot_look_is_interrupted_at_once(
    fleet: Fleet, working: Working, door: Door, raw: redis.Redis, where: str
) -> None:
    with working():
        job_id = fleet.enqueue(Job("wait", f"wait.{where}"))
        assert door.reached.wait(LONG)
        fleet.cancel(job_id, by="ann")
        result = fleet.wait(job_id, timeout=LONG)

    assert (result.status, result.error) == (JobStatus.CANCELLED, "cancelled by ann")
    assert (result.cancel_requested_by, result.stop_stage) == ("ann", "raised")
    assert result.cancel_requested_at is not None
    assert door.told == ["interrupted"]
    assert not raw.exists(LANE.runs, LANE.lease)


def test_a_cancelled_run_that_looks_is_asked_first(
    fleet: Fleet, registry: Registry, working: Working, door: Door
) -> None:
    def look(ctx: JobContext) -> None:
        door.reached.set()
        while not ctx.cancelled:
            time.sleep(0.005)
        door.told.append("saw it")
        raise RuntimeError("stopped half-way")

    function = registry.register(look, name="look", fleet=fleet)
    with working():
        handle = function.enqueue()
        assert door.reached.wait(LONG)
        handle.cancel(by="ann")
        result = handle.wait(timeout=LONG)

    assert (result.status, result.stop_stage, door.told) == (JobStatus.CANCELLED, "asked", ["saw it"])


def test_a_progress_report_tells_a_cancelled_run(
    fleet: Fleet, registry: Registry, working: Working, door: Door
) -> None:
    def report(progress_callback: ProgressCallback) -> None:
        door.reached.set()
        while True:
            progress_callback(0.5)
            time.sleep(0.005)

    function = registry.register(report, name="report", fleet=fleet)
    with working():
        handle = function.enqueue()
        assert door.reached.wait(LONG)
        handle.cancel(by="ann")
        result = handle.wait(timeout=LONG)

    assert (result.status, result.stop_stage) == (JobStatus.CANCELLED, "asked")


@pytest.mark.not_on("cluster", reason="messages cross the nodes: the last ones may come after the end was seen")
@both
def test_one_that_could_look_and_does_not_is_interrupted_after_a_grace(
    fleet: Fleet, registry: Registry, working: Working, door: Door, where: str
) -> None:
    async def on_loop(ctx: JobContext) -> str:
        del ctx
        return await door.pass_async()

    def in_thread(ctx: JobContext) -> str:
        del ctx
        return door.pass_thread()

    function = registry.register(on_loop if where == "async" else in_thread, name="blind", fleet=fleet)
    with working():
        handle = function.enqueue()
        assert door.reached.wait(LONG)
        handle.cancel(by="ann")
        stages = [event.stage for event in handle.events() if event.event == "stopping"]
        result = handle.wait(timeout=LONG)

    assert (result.status, result.stop_stage) == (JobStatus.CANCELLED, "raised")
    assert stages[-1:] == ["raised"]


def test_a_job_that_returns_although_it_was_asked_to_stop_is_completed(
    fleet: Fleet, registry: Registry, working: Working, door: Door
) -> None:
    async def finish() -> str:
        try:
            return await door.pass_async()
        except asyncio.CancelledError:
            return "done all the same"

    function = registry.register(finish, name="finish", fleet=fleet)
    with working():
        handle = function.enqueue()
        assert door.reached.wait(LONG)
        handle.cancel(by="ann")
        result = handle.wait(timeout=LONG)

    assert (result.status, result.result) == (JobStatus.COMPLETED, "done all the same")


@both
def test_an_interruption_that_was_swallowed_comes_once_more(
    fleet: Fleet, registry: Registry, working: Working, door: Door, where: str
) -> None:
    async def on_loop() -> str:
        try:
            return await door.pass_async()
        except asyncio.CancelledError:
            return await door.pass_async()

    def in_thread() -> str:
        try:
            return door.pass_thread()
        except JobCancelled:
            return door.pass_thread()

    function = registry.register(on_loop if where == "async" else in_thread, name="twice", fleet=fleet)
    with working():
        handle = function.enqueue()
        assert door.reached.wait(LONG)
        handle.cancel(by="ann")
        result = handle.wait(timeout=LONG)

    assert (result.status, door.told) == (JobStatus.CANCELLED, ["interrupted", "interrupted"])


@both
def test_a_job_gives_itself_more_time(
    fleet: Fleet, registry: Registry, working: Working, door: Door, where: str
) -> None:
    async def on_loop(ctx: JobContext) -> float:
        ctx.extend(30)
        await asyncio.sleep(2.2)
        return float(ctx.attempt)

    def in_thread(ctx: JobContext) -> float:
        ctx.extend(30)
        time.sleep(2.2)
        return float(ctx.attempt)

    function = registry.register(
        on_loop if where == "async" else in_thread, name="longer", fleet=fleet, timeout=1.5, hard_timeout=2
    )
    with working():
        result = function.enqueue().wait(timeout=LONG)

    assert (result.status, result.result) == (JobStatus.COMPLETED, 1.0)


def test_a_run_past_its_hard_limit_timed_out_whatever_it_returns(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    async def block() -> str:
        time.sleep(0.4)
        return "too late"

    function = registry.register(block, name="block", fleet=fleet, hard_timeout=0.2, max_retries=0)
    with working():
        result = function.enqueue().wait(timeout=LONG)

    assert (result.status, result.error_class, result.error) == (JobStatus.FAILED, "timeout", "timed out after 0.2 s")


def test_a_thread_that_cannot_be_stopped_runs_on_where_nobody_can_end_its_process(
    fleet: Fleet, registry: Registry, working: Working, door: Door
) -> None:
    def deaf() -> str:
        while True:
            try:
                return door.pass_thread()
            except JobCancelled:
                continue

    function = registry.register(deaf, name="deaf", fleet=fleet)
    with working(slots=2):
        handle = function.enqueue()
        assert door.reached.wait(LONG)
        handle.cancel(by="ann")
        wait_until(lambda: len(door.told) == 2, timeout=LONG, why="it was interrupted twice")
        assert handle.poll().status is JobStatus.RUNNING
        others = [fleet.enqueue(Job("quick", "quick.thread")) for _ in range(5)]
        assert {fleet.wait(job_id, timeout=LONG).status for job_id in others} == {JobStatus.COMPLETED}
        door.is_open.set()
        result = handle.wait(timeout=LONG)

    assert (result.status, result.result) == (JobStatus.COMPLETED, "passed")


def test_a_job_that_was_not_started_in_time_is_expired_also_when_a_busy_worker_comes_late(
    fleet: Fleet, working: Working, door: Door, raw: redis.Redis
) -> None:
    with working(slots=1):
        first = fleet.enqueue(Job("wait", "wait.async"))
        assert door.reached.wait(LONG)
        late = fleet.enqueue(Job("quick", "quick.thread", expires_in=0.1))
        due = raw.zscore(LANE.expiry, late)
        assert isinstance(due, float)
        wait_until(lambda: server_now(raw) > due, why="its time is over")
        door.is_open.set()
        result = fleet.wait(late, timeout=LONG)
        assert fleet.wait(first, timeout=LONG).status is JobStatus.COMPLETED

    assert (result.status, result.error, result.attempt) == (JobStatus.EXPIRED, "not started in time", 0)
