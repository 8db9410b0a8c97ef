"""Hooks and middleware: called around every run, in threads or on the loop, and never in its way."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from jobfleet import Discard, Fleet, JobContext, JobStatus, Snooze, hooks
from jobfleet.errors import InvalidJob
from jobfleet.functions.hooks import Hooks
from jobfleet.functions.registry import REGISTRY, Registry
from jobfleet.outcome import Outcome
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

Told = list[tuple[Any, ...]]
LEVEL: ContextVar[str] = ContextVar("level", default="none")


@pytest.fixture
def told(fleet: Fleet) -> Told:
    """Everything that hooks are told, in order."""
    told: Told = []

    @fleet.hooks.before
    def before(ctx: JobContext) -> None:
        told.append(("before", ctx.job.function, ctx.attempt))

    @fleet.hooks.after
    async def after(ctx: JobContext, outcome: Outcome) -> None:
        told.append(("after", type(outcome).__name__))

    @fleet.hooks.on_retry
    def on_retry(ctx: JobContext, error: BaseException, delay: float) -> None:
        told.append(("on_retry", repr(error), delay))

    @fleet.hooks.on_failure
    async def on_failure(ctx: JobContext, error: BaseException) -> None:
        told.append(("on_failure", repr(error)))

    return told


def raising(error: BaseException) -> Callable[[], None]:
    def run() -> None:
        raise error

    return run


async def fine() -> str:
    return "fine"


def in_thread() -> str:
    return "fine"


@pytest.mark.parametrize("function", [fine, in_thread])
def test_hooks_stand_around_a_run_that_completes(
    fleet: Fleet, registry: Registry, told: Told, function: Callable[[], Any]
) -> None:
    handle = registry.register(function, name="test.fine", fleet=fleet).enqueue()

    fleet.run_worker(burst=True)

    assert handle.poll().result == "fine"
    assert told == [("before", "test.fine", 1), ("after", "Succeeded")]


def test_a_retry_and_the_failure_after_it_are_told_each_in_its_hook(
    fleet: Fleet, registry: Registry, told: Told
) -> None:
    function = registry.register(
        raising(OSError("no luck")), name="test.bad", fleet=fleet, max_retries=1, retry_delay=0, retry_jitter=False
    )
    handle = function.enqueue()

    fleet.run_worker(burst=True)

    assert handle.poll().status is JobStatus.FAILED
    assert told == [
        ("before", "test.bad", 1),
        ("on_retry", "OSError('no luck')", 0.0),
        ("after", "Raised"),
        ("before", "test.bad", 2),
        ("on_failure", "OSError('no luck')"),
        ("after", "Raised"),
    ]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("bad"), [("on_failure", "ValueError('bad')"), ("after", "Raised")]),
        (Discard("enough"), [("on_failure", "Discard('enough')"), ("after", "Raised")]),
        (Snooze(60), [("after", "Raised")]),
    ],
    ids=["permanent", "discard", "snooze"],
)
def test_what_follows_from_an_error_is_told(
    fleet: Fleet, registry: Registry, told: Told, error: Exception, expected: Told
) -> None:
    registry.register(raising(error), name="test.bad", fleet=fleet).enqueue()

    fleet.run_worker(burst=True)

    assert told[1:] == expected


def test_a_result_that_cannot_travel_is_a_failure(fleet: Fleet, registry: Registry, told: Told) -> None:
    registry.register(object, name="test.odd", fleet=fleet).enqueue()

    fleet.run_worker(burst=True)

    assert [one[0] for one in told] == ["before", "on_failure", "after"]
    assert "EncodingError" in told[1][1]


def test_a_run_that_took_too_long_is_told_as_a_timeout(fleet: Fleet, registry: Registry, told: Told) -> None:
    async def endless() -> None:
        await asyncio.Event().wait()

    registry.register(endless, name="test.endless", fleet=fleet, timeout=0.1, max_retries=0).enqueue()

    fleet.run_worker(burst=True)

    assert told[1:] == [("on_failure", "TimeoutError('timed out after 0.1 s')"), ("after", "TimedOut")]


def test_a_cancelled_run_is_told_after_it_alone(fleet: Fleet, registry: Registry, told: Told, working: Working) -> None:
    async def endless() -> None:
        await asyncio.Event().wait()

    handle = registry.register(endless, name="test.endless", fleet=fleet).enqueue()
    with working():
        wait_until(lambda: handle.poll().status is JobStatus.RUNNING, timeout=30, why="it runs")
        handle.cancel(by="ann")
        assert handle.wait(timeout=30).status is JobStatus.CANCELLED

    assert told == [("before", "test.endless", 1), ("after", "Cancelled")]


def test_what_before_raises_the_job_has_raised(fleet: Fleet, registry: Registry, told: Told) -> None:
    called: list[int] = []

    @fleet.hooks.before
    async def refuse(ctx: JobContext) -> None:
        raise ValueError("not today")

    handle = registry.register(lambda: called.append(1), name="test.fine", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    result = handle.poll()
    assert (result.status, result.error, called) == (JobStatus.FAILED, "not today", [])
    assert told[1:] == [("on_failure", "ValueError('not today')"), ("after", "Raised")]


def test_what_the_others_raise_changes_nothing(fleet: Fleet, registry: Registry, caplog: Any) -> None:
    later: list[str] = []

    @fleet.hooks.after
    def bad(ctx: JobContext, outcome: Outcome) -> None:
        raise SystemExit("bad hook")

    @fleet.hooks.after
    async def worse(ctx: JobContext, outcome: Outcome) -> None:
        raise RuntimeError("worse hook")

    @fleet.hooks.after
    def good(ctx: JobContext, outcome: Outcome) -> None:
        later.append("good")

    handle = registry.register(fine, name="test.fine", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    assert (handle.poll().result, later) == ("fine", ["good"])
    said = [record.getMessage() for record in caplog.records if "hook.raised" in record.getMessage()]
    assert [line.rpartition(" ")[2] for line in said] == ["hook", "hook"]


def test_a_hook_that_blocks_does_not_block_the_loop(fleet: Fleet, registry: Registry) -> None:
    turning = threading.Event()

    async def turn() -> None:
        turning.set()

    @fleet.hooks.before(functions=["test.slow"])
    def block(ctx: JobContext) -> None:
        assert turning.wait(60), "the loop stood still"

    slow = registry.register(fine, name="test.slow", fleet=fleet).enqueue()
    registry.register(turn, name="test.turn", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    assert slow.poll().result == "fine"


def test_hooks_can_be_for_some_functions_and_queues(fleet: Fleet, registry: Registry) -> None:
    told: list[str] = []
    one = registry.register(fine, name="test.one", fleet=fleet)
    two = registry.register(in_thread, name="test.two", fleet=fleet, queue="slow")

    fleet.hooks.before(functions=[one])(lambda ctx: told.append(f"one {ctx.job.function}"))
    fleet.hooks.before(queues=["slow"])(lambda ctx: told.append(f"slow {ctx.job.function}"))
    fleet.hooks.before(functions=["test.one"], queues=["slow"])(lambda ctx: told.append("neither"))
    for function in (one, two):
        function.enqueue()
    fleet.run_worker(burst=True)

    assert sorted(told) == ["one test.one", "slow test.two"]


@pytest.mark.parametrize("function", [fine, in_thread])
def test_middleware_stands_around_runs_the_first_outermost(
    fleet: Fleet, registry: Registry, function: Callable[[], Any]
) -> None:
    told: list[str] = []

    def layer(name: str) -> Callable[[JobContext, Callable[[], Awaitable[Any]]], Awaitable[Any]]:
        async def around(ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
            told.append(f"{name} in")
            value = await call_next()
            told.append(f"{name} out")
            return f"{name}({value})"

        return around

    fleet.hooks.around(layer("a"))
    fleet.hooks.around(layer("b"))
    fleet.hooks.before(lambda ctx: told.append("before"))
    handle = registry.register(function, name="test.fine", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    assert handle.poll().result == "a(b(fine))"
    assert told == ["a in", "b in", "before", "b out", "a out"]


def test_middleware_may_answer_in_the_jobs_place(fleet: Fleet, registry: Registry) -> None:
    @fleet.hooks.around
    async def cached(ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        return "cached"

    handle = registry.register(raising(ValueError("x")), name="test.bad", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    assert handle.poll().result == "cached"


def test_a_thread_behind_middleware_is_told_to_stop(fleet: Fleet, registry: Registry, working: Working) -> None:
    fleet.hooks.before(lambda ctx: None)
    ran: list[str] = []

    def loop(ctx: JobContext) -> None:
        ran.append("in")
        while True:
            ctx.progress(0.5)
            time.sleep(0.005)

    handle = registry.register(loop, name="test.loop", fleet=fleet).enqueue()
    with working():
        wait_until(lambda: ran, timeout=30, why="it runs")
        handle.cancel()
        assert handle.wait(timeout=30).status is JobStatus.CANCELLED


def test_a_thread_behind_middleware_that_looks_at_nothing_is_interrupted(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    told: list[str] = []
    fleet.hooks.after(lambda ctx, outcome: told.append(type(outcome).__name__))

    def loop() -> None:
        told.append("in")
        while True:
            time.sleep(0.005)

    handle = registry.register(loop, name="test.loop", fleet=fleet).enqueue()
    with working():
        wait_until(lambda: told, timeout=30, why="it runs")
        handle.cancel()
        assert handle.wait(timeout=30).status is JobStatus.CANCELLED

    assert told == ["in", "Cancelled"]


def test_a_job_that_is_cancelled_before_its_function_is_called_is_not_called(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    told: list[str] = []

    @fleet.hooks.before
    async def wait(ctx: JobContext) -> None:
        told.append("before")
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    handle = registry.register(lambda: told.append("called"), name="test.late", fleet=fleet).enqueue()
    with working():
        wait_until(lambda: told, timeout=30, why="it runs")
        handle.cancel()
        assert handle.wait(timeout=30).status is JobStatus.CANCELLED

    assert told == ["before"]


def test_what_a_hook_logs_is_in_the_jobs_log(fleet: Fleet, registry: Registry) -> None:
    fleet.hooks.before(lambda ctx: ctx.log.info("before"))
    fleet.hooks.after(lambda ctx, outcome: ctx.log.info("after"))
    handle = registry.register(fine, name="test.fine", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    assert [line.text for line in handle.logs()] == ["before", "after"]


def test_an_outcome_decided_is_not_lost_while_its_hooks_go_on(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    """A worker that drains settles what the function came to, and does not give the job back."""
    told: list[str] = []

    @fleet.hooks.after
    async def endless(ctx: JobContext, outcome: Outcome) -> None:
        told.append("after")
        await asyncio.Event().wait()

    handle = registry.register(fine, name="test.fine", fleet=fleet).enqueue()
    object.__setattr__(fleet.config, "grace", 0.1)
    with working():
        wait_until(lambda: told, timeout=30, why="the hook is called")

    assert handle.poll().result == "fine"


def test_a_run_is_not_stopped_any_more_once_only_its_hooks_run(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    """Otherwise a cancellation would end the whole process while the hooks after the run take their time."""
    runs: list[Any] = []
    may_end = threading.Event()

    @fleet.hooks.after
    def slow(ctx: JobContext, outcome: Outcome) -> None:
        runs.append(ctx.port)
        may_end.wait(30)

    handle = registry.register(lambda: 7, name="test.seven", fleet=fleet).enqueue()
    with working():
        wait_until(lambda: runs, timeout=30, why="its hook runs")
        handle.cancel(by="ann")
        wait_until(lambda: runs[0].cancel_by == "ann", timeout=30, why="the cancellation has arrived")
        timer, stage = runs[0].stop.timer, runs[0].stop.stage
        may_end.set()

        assert handle.wait(timeout=30).result == 7
    assert (timer, stage) == (None, 0)


def test_hooks_of_the_default_fleet_are_exported() -> None:
    assert hooks is REGISTRY.hooks
    assert isinstance(hooks, Hooks)


@pytest.mark.parametrize("whose", [{"functions": "test.one"}, {"queues": "mail"}])
def test_a_name_in_place_of_a_list_is_refused(whose: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob, match="are lists of names"):
        Hooks().before(**whose)


def test_a_hook_is_handed_back_as_it_was() -> None:
    def hook(ctx: JobContext) -> None: ...

    assert Hooks().before(hook) is hook
    assert Hooks().before(queues=["mail"])(hook) is hook
    with pytest.raises(InvalidJob, match="A hook is a function, not 5"):
        Hooks().after(5)  # type: ignore[call-overload]
