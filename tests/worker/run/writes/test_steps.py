"""Resumable steps: done once, whatever happens to the run; kept under its token."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
import redis

from jobfleet import EncodingError, Fleet, JobCancelled, JobContext, JobStatus
from jobfleet.errors import InvalidJob
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)
OVERTAKEN = "9000000000000000|other|1|1|2|"
"""The record of another run, which owns the job."""
CALLS: list[str] = []


@pytest.fixture(autouse=True)
def calls() -> None:
    CALLS.clear()


async def charge(amount: int, *, currency: str = "EUR") -> str:
    CALLS.append("charge")
    return f"{amount} {currency}"


def ship(address: str) -> tuple[str, int]:
    CALLS.append("ship")
    return address, 7


async def order(ctx: JobContext, fails: int) -> list[Any]:
    paid = await ctx.step("charge", charge, 5, currency="USD")
    row = await ctx.checkpoint("row", default=0)
    await ctx.checkpoint("row", row + 1)
    sent = await ctx.step("ship", ship, "Rome")
    if ctx.attempt <= fails:
        raise ConnectionError("again")
    return [paid, sent, row]


def order_sync(ctx: JobContext, fails: int) -> list[Any]:
    paid = ctx.step_sync("charge", charge, 5, currency="USD")
    row = ctx.checkpoint_sync("row", default=0)
    ctx.checkpoint_sync("row", row + 1)
    sent = ctx.step_sync("ship", ship, "Rome")
    if ctx.attempt <= fails:
        raise ConnectionError("again")
    return [paid, sent, row]


@pytest.mark.parametrize("function", [order, order_sync])
def test_a_step_is_done_once_however_often_the_job_is_run(fleet: Fleet, registry: Registry, function: Any) -> None:
    handle = registry.register(function, name="test.order", fleet=fleet, retry_delay=0).enqueue(2)

    fleet.run_worker(burst=True)

    assert handle.poll().result == ["5 USD", ("Rome", 7), 2]
    assert CALLS == ["charge", "ship"]


def test_a_step_that_raises_is_done_again(fleet: Fleet, registry: Registry) -> None:
    async def flaky(ctx: JobContext) -> int:
        return await ctx.step("flaky", attempt, ctx.attempt)

    def attempt(number: int) -> int:
        CALLS.append(f"attempt {number}")
        if number < 3:
            raise ConnectionError("again")
        return number

    handle = registry.register(flaky, name="test.flaky", fleet=fleet, retry_delay=0).enqueue()
    fleet.run_worker(burst=True)

    assert handle.poll().result == 3
    assert CALLS == ["attempt 1", "attempt 2", "attempt 3"]


@pytest.mark.parametrize("is_sync", [False, True])
def test_one_key_is_done_once_at_a_time(fleet: Fleet, registry: Registry, is_sync: bool) -> None:
    async def slow() -> str:
        CALLS.append("slow")
        await asyncio.sleep(0.02)
        return "done"

    async def on_loop(ctx: JobContext) -> list[str]:
        return await asyncio.gather(*[ctx.step("slow", slow) for _ in range(5)])

    async def in_threads(ctx: JobContext) -> list[str]:
        return await asyncio.gather(*[asyncio.to_thread(ctx.step_sync, "slow", slow) for _ in range(5)])

    handle = registry.register(in_threads if is_sync else on_loop, name="test.many", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    assert handle.poll().result == ["done"] * 5
    assert CALLS == ["slow"]


def test_a_result_that_cannot_travel_names_its_step(fleet: Fleet, registry: Registry) -> None:
    async def odd(ctx: JobContext) -> None:
        await ctx.step("odd one", object)

    handle = registry.register(odd, name="test.odd", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    result = handle.poll()
    assert (result.status, result.error_class) == (JobStatus.FAILED, "EncodingError")
    assert "step 'odd one'" in (result.error or "")


def test_a_run_that_was_overtaken_keeps_nothing_and_its_step_says_so(
    redis_url: str, registry: Registry, raw: redis.Redis, working: Working
) -> None:
    """No renewal tells it first: the worker's first one was before the job, the next is in minutes."""
    gate, going = threading.Event(), threading.Event()

    async def late(ctx: JobContext) -> None:
        def wait() -> str:
            going.set()
            assert gate.wait(60)
            return "late"

        try:
            await ctx.step("late", wait)
        except JobCancelled as error:
            CALLS.append(str(error))
            raise

    with Fleet(redis_url, registry=registry, lease=600) as fleet, working(of=fleet):
        wait_until(fleet.workers, timeout=30, why="the worker lives, and has renewed what it held")
        handle = registry.register(late, name="test.late", fleet=fleet).enqueue()
        wait_until(going.is_set, timeout=30, why="it runs")
        raw.hset(LANE.runs, handle.id, OVERTAKEN)
        gate.set()
        wait_until(lambda: CALLS, timeout=30, why="it was told")

    assert [f"{handle.id} is to stop: another run owns it by now."] == CALLS
    assert not raw.exists(LANE.steps(handle.id), LANE.result(handle.id))


@pytest.mark.parametrize("is_sync", [False, True])
def test_where_a_renewal_tells_first_a_step_is_interrupted_and_keeps_nothing(
    redis_url: str, registry: Registry, raw: redis.Redis, working: Working, is_sync: bool
) -> None:
    gate, going = threading.Event(), threading.Event()

    def wait() -> str:
        going.set()
        while not gate.wait(0.01):
            pass
        return "late"

    async def on_loop(ctx: JobContext) -> None:
        try:
            await ctx.step("late", wait)
        except BaseException as error:
            CALLS.append(type(error).__name__)
            raise

    def in_thread(ctx: JobContext) -> None:
        try:
            ctx.step_sync("late", wait)
        except BaseException as error:
            CALLS.append(type(error).__name__)
            raise

    with Fleet(redis_url, registry=registry, lease=600, renew_every=0.1) as fleet, working(of=fleet):
        handle = registry.register(in_thread if is_sync else on_loop, name="test.late", fleet=fleet).enqueue()
        wait_until(going.is_set, timeout=30, why="it runs")
        raw.hset(LANE.runs, handle.id, OVERTAKEN)
        wait_until(lambda: CALLS, timeout=30, why="it was told")
        gate.set()

    assert ["JobCancelled" if is_sync else "CancelledError"] == CALLS
    assert not raw.exists(LANE.steps(handle.id), LANE.result(handle.id))


def test_a_cancelled_job_begins_no_step(fleet: Fleet, registry: Registry, working: Working) -> None:
    going = threading.Event()

    def stubborn(ctx: JobContext) -> None:
        going.set()
        while not ctx.cancelled:
            threading.Event().wait(0.005)
        ctx.step_sync("never", ship, "Rome")

    handle = registry.register(stubborn, name="test.stubborn", fleet=fleet).enqueue()
    with working():
        wait_until(going.is_set, timeout=30, why="it runs")
        handle.cancel()
        assert handle.wait(timeout=30).status is JobStatus.CANCELLED

    assert CALLS == []


def test_steps_go_with_the_result_of_a_completed_job(fleet: Fleet, registry: Registry, raw: Any) -> None:
    handle = registry.register(order, name="test.order", fleet=fleet, result_ttl=600).enqueue(0)
    fleet.run_worker(burst=True)

    assert 590 < raw.ttl(LANE.steps(handle.id)) <= 600


@pytest.mark.parametrize("fresh", [False, True])
def test_a_replayed_job_finds_the_steps_that_were_done_unless_it_is_fresh(
    fleet: Fleet, registry: Registry, raw: Any, fresh: bool
) -> None:
    handle = registry.register(order, name="test.order", fleet=fleet, max_retries=0).enqueue(1)
    fleet.run_worker(burst=True)
    assert handle.poll().status is JobStatus.FAILED
    assert raw.ttl(LANE.steps(handle.id)) > 29 * 86_400, "as long as its dead letter"

    fleet.replay(handle.id, fresh=fresh)
    fleet.run_worker(burst=True)

    assert ["charge", "ship"] * (2 if fresh else 1) == CALLS


def test_a_step_that_was_done_is_not_done_again_by_the_next_worker(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    """A worker that stops right after the step gives the job back, and the next does not do it again."""
    done = threading.Event()

    async def shipped(ctx: JobContext) -> str:
        value = await ctx.step("ship", ship, "Rome")
        if len(CALLS) == 1 and not done.is_set():
            done.set()
            await asyncio.Event().wait()
        return str(value[0])

    handle = registry.register(shipped, name="test.shipped", fleet=fleet).enqueue()
    object.__setattr__(fleet.config, "grace", 0.05)
    with working():
        wait_until(done.is_set, timeout=30, why="the step was done")
    fleet.run_worker(burst=True)

    assert handle.poll().result == "Rome"
    assert CALLS == ["ship"]


@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb", 5, None])
def test_a_key_is_a_short_text(key: Any) -> None:
    with pytest.raises(InvalidJob, match="A step's key is a text of 1 to 200 printable characters"):
        JobContext.for_test().step_sync(key, ship, "Rome")


def test_no_more_is_kept_than_may_be(fleet: Fleet, registry: Registry) -> None:
    def greedy(ctx: JobContext) -> None:
        for n in range(6):
            ctx.checkpoint_sync(f"part {n}", b"x" * 900_000)

    handle = registry.register(greedy, name="test.greedy", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    result = handle.poll()
    assert (result.status, result.error_class) == (JobStatus.FAILED, "InvalidJob")
    assert "keeps too much: 'part 4' is beyond" in (result.error or "")


def test_too_many_tokens_are_refused_with_the_remedy(fleet: Fleet, registry: Registry, raw: Any) -> None:
    def asks(ctx: JobContext) -> None:
        ctx.token("go")
        ctx.step_sync("mail", str)

    handle = registry.register(asks, name="test.asks", fleet=fleet).enqueue()
    steps = fleet.context.keys.lane_of(handle.id).steps(handle.id)
    raw.hset(steps, mapping={f"t:{number}": "" for number in range(1000)})
    fleet.run_worker(burst=True)

    error = handle.poll().error or ""
    assert "its token is beyond 1,000 steps, checkpoints, waits, tokens and signals" in error
    assert "enqueue a job that continues, and return." in error


def test_the_log_of_a_job_warns_before_it_keeps_too_much(fleet: Fleet, registry: Registry, raw: Any) -> None:
    def many(ctx: JobContext) -> None:
        for n in range(3):
            ctx.step_sync(f"part {n}", str)

    handle = registry.register(many, name="test.many", fleet=fleet).enqueue()
    steps = fleet.context.keys.lane_of(handle.id).steps(handle.id)
    raw.hset(steps, mapping={f"s:{number}": "" for number in range(897)})
    fleet.run_worker(burst=True)

    warnings = [line.text for line in fleet.logs(handle.id) if line.level == "WARNING"]
    assert handle.poll().status is JobStatus.COMPLETED
    (warning,) = warnings
    assert warning.startswith(f"{handle.id} keeps 900 steps, checkpoints, waits, tokens and signals;")
    assert warning.endswith("beyond 1,000. Enqueue a job that continues, and return.")


@pytest.mark.parametrize("is_awaited", [True, False])
def test_a_step_within_a_step_of_its_own_key_is_refused(fleet: Fleet, registry: Registry, is_awaited: bool) -> None:
    """It would wait for itself. Another key between the two does not hide it."""

    async def awaited(ctx: JobContext) -> Any:
        async def middle() -> Any:
            return await ctx.step("post", inner)

        async def inner() -> Any:
            return await ctx.step("pay", str)

        return await ctx.step("pay", middle)

    def blocking(ctx: JobContext) -> Any:
        def middle() -> Any:
            return ctx.step_sync("post", lambda: ctx.step_sync("pay", str))

        return ctx.step_sync("pay", middle)

    handle = registry.register(awaited if is_awaited else blocking, name="test.nested", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    result = handle.poll()
    assert (result.status, result.error_class) == (JobStatus.FAILED, "InvalidJob")
    assert "step 'pay' is called within the step 'post', which is part of the step 'pay'" in (result.error or "")


async def test_two_tasks_of_a_run_that_ask_for_one_step_share_it() -> None:
    """A task that a step has left behind may ask for that step again: it is not within it any more."""
    ctx, tasks = JobContext.for_test(), []

    async def leaves_a_task() -> int:
        tasks.append(asyncio.ensure_future(later()))
        return 5

    async def later() -> Any:
        await over.wait()
        return await ctx.step("pay", leaves_a_task)

    over = asyncio.Event()
    first, second = await asyncio.gather(ctx.step("pay", leaves_a_task), ctx.step("pay", leaves_a_task))
    assert (first, second) == (5, 5)
    over.set()
    assert [await task for task in tasks] == [5]


# Without a worker


def test_a_function_with_steps_can_be_tested_by_hand() -> None:
    ctx = JobContext.for_test()

    assert asyncio.run(order(ctx, 0)) == ["5 USD", ("Rome", 7), 0]
    assert asyncio.run(order(ctx, 0)) == ["5 USD", ("Rome", 7), 1]
    assert order_sync(ctx, 0) == ["5 USD", ("Rome", 7), 2]
    assert CALLS == ["charge", "ship"]


async def test_a_step_is_awaited_where_a_loop_runs() -> None:
    ctx = JobContext.for_test()

    with pytest.raises(TypeError, match=r"^ctx\.step_sync would block the event loop that runs here; await ctx\.step"):
        ctx.step_sync("a", ship, "Rome")
    with pytest.raises(TypeError, match=r"await ctx\.checkpoint"):
        ctx.checkpoint_sync("a")


def test_a_step_is_not_awaited_where_none_runs() -> None:
    ctx = JobContext.for_test()

    with pytest.raises(TypeError, match=r"^ctx\.step is awaited in an async def job; a def job calls ctx\.step_sync"):
        _ = ctx.step("a", ship, "Rome")
    with pytest.raises(TypeError, match=r"a def job calls ctx\.checkpoint_sync"):
        _ = ctx.checkpoint("a")


async def test_what_a_step_gives_is_what_it_will_give_next_time() -> None:
    ctx = JobContext.for_test()
    moment = datetime(2026, 3, 1, tzinfo=UTC)

    first = await ctx.step("data", lambda: {"at": moment, "of": {1, 2}, "x": (1, [2])})
    again: dict[str, object] = await ctx.step("data", dict)

    assert first == again == {"at": moment, "of": {1, 2}, "x": (1, [2])}
    with pytest.raises(EncodingError, match="checkpoint 'odd'"):
        await ctx.checkpoint("odd", object())
