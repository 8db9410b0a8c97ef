"""Steps with an undo function: they are undone in reverse order when the job does not complete, whatever ended it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobContext, JobStatus, undo
from jobfleet.functions.registry import Registry
from jobfleet.functions.steps import UNDOS
from jobfleet.model.result import ReasonCode
from jobfleet.store.aio import AsyncStore
from jobfleet.worker.run import handlers
from tests.support.waiting import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
RAN: list[str] = []
FAILS: list[str] = []


@pytest.fixture(autouse=True)
def clear() -> None:
    RAN.clear()
    FAILS.clear()


def do(what: str, *, price: int = 0) -> str:
    RAN.append(f"do {what} {price}")
    if what in FAILS:
        FAILS.remove(what)
        raise ValueError(what)
    return what


@undo
def undo_it(what: str, *, price: int = 0) -> None:
    RAN.append(f"undo {what} {price}")


@undo
def clear_nothing() -> None:
    """Take none of the arguments of a step."""


@undo
async def undo_later(what: str) -> None:
    RAN.append(f"undo {what}")
    if f"undo {what}" in FAILS:
        FAILS.remove(f"undo {what}")
        raise ConnectionError(what)


async def trip(ctx: JobContext) -> str:
    await ctx.step("hotel", do, "hotel", price=7, undo=undo_it)
    await ctx.step("plain", do, "plain")
    await ctx.step("flight", do, "flight", undo=undo_later)
    await ctx.step("car", do, "car", undo=undo_it)
    await ctx.wait_for("go")
    return "booked"


def trip_in_a_thread(ctx: JobContext) -> str:
    ctx.step_sync("hotel", do, "hotel", price=7, undo=undo_it)
    ctx.step_sync("plain", do, "plain")
    ctx.step_sync("flight", do, "flight", undo=undo_later)
    ctx.step_sync("car", do, "car", undo=undo_it)
    ctx.wait_for_sync("go")
    return "booked"


DONE = ["do hotel 7", "do plain 0", "do flight 0", "do car 0"]
UNDONE = ["undo car 0", "undo flight", "undo hotel 7"]


@pytest.fixture
def enqueue(fleet: Fleet, registry: Registry) -> Callable[..., str]:
    def enqueued(function: Any) -> str:
        registry.register(function, name="test.trip", fleet=fleet, max_retries=0)
        return fleet.enqueue(Job("trip", "test.trip"))

    return enqueued


def burst_until(fleet: Fleet, words: list[str]) -> None:
    """Run bursts until so many calls were made, and compare them."""

    def done() -> bool:
        fleet.run_worker(burst=True)
        return len(RAN) >= len(words)

    wait_until(done, timeout=30, why="the steps are done and undone")
    assert words == RAN


@pytest.mark.parametrize("function", [trip, trip_in_a_thread])
def test_a_job_that_fails_for_good_is_undone_in_reverse_order(
    fleet: Fleet, enqueue: Callable[..., str], function: Any
) -> None:
    FAILS.append("car")  # it had begun, so it may have had its effect
    job_id = enqueue(function)

    burst_until(fleet, [*DONE, *UNDONE])

    assert fleet.poll(job_id).status is JobStatus.FAILED


def test_explain_names_the_undo_and_its_state_until_nothing_is_left(fleet: Fleet, enqueue: Callable[..., str]) -> None:
    def undoing_of(job_id: str) -> dict[str, Any]:
        found = [one.facts for one in fleet.explain(job_id).reasons if one.code is ReasonCode.UNDOING]
        return dict(*found)

    job_id = enqueue(trip)
    fleet.run_worker(burst=True)
    assert undoing_of(job_id) == {}, "it is open"
    assert fleet.cancel(job_id)

    facts = undoing_of(job_id)

    assert (fleet.poll(facts["undo"]).function, facts["status"]) == ("jobfleet.undo", "blocked")
    burst_until(fleet, [*DONE, *UNDONE])
    wait_until(lambda: fleet.poll(facts["undo"]).status.is_final, timeout=30, why="the undo has ended")
    assert undoing_of(job_id) == {}


def test_a_job_that_is_cancelled_while_its_undo_is_enqueued_is_undone_at_once(
    fleet: Fleet, enqueue: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped = asyncio.Event()

    async def saga(ctx: JobContext) -> None:
        try:
            await ctx.step("hotel", do, "hotel", undo=undo_it)
        except asyncio.CancelledError:
            stopped.set()
            raise

    run_many = AsyncStore.run_many

    async def interrupted(store: AsyncStore, calls: Any, **options: Any) -> Any:
        answers = await run_many(store, calls, **options)
        if [call.script.name for call in calls] == ["block"]:
            assert await asyncio.to_thread(fleet.cancel, job_id)
            async with asyncio.timeout(20):
                await stopped.wait()
        return answers

    job_id = enqueue(saga)
    monkeypatch.setattr(AsyncStore, "run_many", interrupted)

    def undone() -> bool:
        fleet.run_worker(burst=True)
        found = [one.facts for one in fleet.explain(job_id).reasons if one.code is ReasonCode.UNDOING]
        return fleet.poll(job_id).status is JobStatus.CANCELLED and not found

    wait_until(undone, timeout=20, why="the undo has run")
    assert RAN == []


def test_a_sleeping_job_that_is_cancelled_is_undone(fleet: Fleet, enqueue: Callable[..., str]) -> None:
    job_id = enqueue(trip)
    fleet.run_worker(burst=True)
    assert RAN == DONE
    assert fleet.cancel(job_id)

    burst_until(fleet, [*DONE, *UNDONE])


def test_an_undo_that_fails_is_retried_and_the_others_are_not_repeated(
    fleet: Fleet, enqueue: Callable[..., str]
) -> None:
    FAILS.append("undo flight")
    job_id = enqueue(trip)
    fleet.run_worker(burst=True)
    assert fleet.cancel(job_id)

    burst_until(fleet, [*DONE, "undo car 0", "undo flight", "undo flight", "undo hotel 7"])


def test_an_undo_whose_function_is_not_here_waits_uncharged_for_a_worker_that_has_it(
    fleet: Fleet, registry: Registry, enqueue: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("elsewhere")
    exec("def back(what): RAN.append('undo ' + what)", vars(module))
    vars(module)["RAN"] = RAN
    monkeypatch.setitem(sys.modules, "elsewhere", module)
    monkeypatch.setattr(handlers, "ELSEWHERE", 0.05)
    monkeypatch.setitem(UNDOS, "elsewhere.back", module.back)

    async def other(ctx: JobContext) -> None:
        await ctx.step("hotel", do, "hotel", undo=module.back)
        del UNDOS["elsewhere.back"]  # as if another worker ran what follows
        raise ValueError("the job fails")

    enqueue(other)
    fleet.run_worker(burst=True)
    assert RAN == ["do hotel 0"]
    UNDOS["elsewhere.back"] = module.back

    burst_until(fleet, ["do hotel 0", "undo hotel"])

    assert fleet.queues()[0].totals["retried"] == 0


def test_a_job_that_completes_is_not_undone(fleet: Fleet, enqueue: Callable[..., str]) -> None:
    job_id = enqueue(trip)
    fleet.run_worker(burst=True)
    assert fleet.signal(job_id, "go")

    def ended() -> bool:
        fleet.run_worker(burst=True)
        return fleet.count_open(queue="default") == 0

    wait_until(ended, timeout=30, why="no job is open")
    assert (RAN, fleet.poll(job_id).result) == (DONE, "booked")


def test_a_replay_repeats_what_was_undone_and_undoes_it_again(fleet: Fleet, enqueue: Callable[..., str]) -> None:
    FAILS.extend(["car", "car"])
    job_id = enqueue(trip)
    burst_until(fleet, [*DONE, *UNDONE])

    assert fleet.replay(job_id)

    again = ["do hotel 7", "do flight 0", "do car 0"]  # a step without an undo function is kept
    burst_until(fleet, [*DONE, *UNDONE, *again, *UNDONE])


@pytest.mark.parametrize(
    ("wrong_undo", "text"),
    [
        (lambda _what: None, "undo is '<lambda>', which is not declared; put @undo (from jobfleet import undo) on a"),
        (do, f"undo is '{__name__}.do', which is not declared; put @undo"),
        (os.system, "undo is 'posix.system', which is not declared"),
        (clear_nothing, "does not accept the arguments of the step: too many positional arguments"),
        ("x", "undo is 'x', which is not declared"),
    ],
)
def test_an_undo_function_that_cannot_be_called_later_is_refused(
    fleet: Fleet, enqueue: Callable[..., str], wrong_undo: Any, text: str
) -> None:
    async def wrong(ctx: JobContext) -> None:
        await ctx.step("hotel", do, "hotel", undo=wrong_undo)

    job_id = enqueue(wrong)
    fleet.run_worker(burst=True)

    result = fleet.poll(job_id)
    assert (result.status, result.error_class, RAN) == (JobStatus.FAILED, InvalidJob.__name__, [])
    assert text in str(result.error)
