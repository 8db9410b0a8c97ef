"""Per-job logs: what a job logs is kept with it, whoever reads it, and costs the job nothing."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from jobfleet import Fleet, JobContext, JobNotFound, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import Keyspace
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)
LOUD = logging.getLogger("shop.orders")


@pytest.fixture(autouse=True)
def levels() -> Any:
    """The shop's own logger lets INFO through."""
    LOUD.setLevel(logging.INFO)
    yield
    LOUD.setLevel(logging.NOTSET)


def told(fleet: Fleet, job_id: str, **options: Any) -> list[str]:
    return [f"{line.level} {line.text}" for line in fleet.logs(job_id, **options)]


async def on_loop(ctx: JobContext) -> None:
    ctx.log.info("from %s", "ctx")
    LOUD.info("from the standard logger")
    LOUD.debug("too quiet")
    await asyncio.sleep(0)
    await asyncio.gather(inner(), asyncio.to_thread(LOUD.error, "from a thread of its own"))


async def inner() -> None:
    LOUD.warning("from a task of its own")


def in_thread(ctx: JobContext) -> None:
    ctx.log.info("from ctx")
    LOUD.warning("from the standard logger")


@pytest.mark.parametrize(
    ("function", "lines"),
    [
        (
            on_loop,
            ["INFO from ctx", "INFO from the standard logger", "WARNING from a task of its own",
             "ERROR from a thread of its own"],
        ),
        (in_thread, ["INFO from ctx", "WARNING from the standard logger"]),
    ],
)  # fmt: skip
def test_what_a_job_logs_is_kept_in_order(
    fleet: Fleet, registry: Registry, function: Callable[..., Any], lines: list[str]
) -> None:
    handle = registry.register(function, name="test.log", fleet=fleet).enqueue()
    before = time.time()

    fleet.run_worker(burst=True)

    assert told(fleet, handle.id) == lines
    assert [line.text for line in handle.logs(tail=1)] == [lines[-1].partition(" ")[2]]
    first = next(iter(handle.logs()))
    assert before - 60 < first.at.timestamp() < time.time() + 60
    assert first.token > 0


def test_each_job_has_its_own_lines(fleet: Fleet, registry: Registry) -> None:
    async def chat(n: int) -> None:
        for turn in range(3):
            LOUD.info("%d says %d", n, turn)
            await asyncio.sleep(0)

    def talk(n: int) -> None:
        for turn in range(3):
            LOUD.info("%d says %d", n, turn)

    functions = [registry.register(function, name=function.__name__, fleet=fleet) for function in (chat, talk)]
    handles = [(n, function.enqueue(n)) for n in range(10) for function in functions]

    fleet.run_worker(burst=True)

    for n, handle in handles:
        assert told(fleet, handle.id) == [f"INFO {n} says {turn}" for turn in range(3)]


def test_what_nobody_runs_is_nobodys(fleet: Fleet, registry: Registry) -> None:
    def quiet() -> None:
        pass

    handle = registry.register(quiet, name="test.quiet", fleet=fleet).enqueue()
    LOUD.info("before")

    fleet.run_worker(burst=True)

    assert told(fleet, handle.id) == []


def test_a_traceback_is_kept_with_its_line(fleet: Fleet, registry: Registry) -> None:
    def trip() -> None:
        try:
            raise KeyError("k")
        except KeyError:
            LOUD.exception("tripped")

    handle = registry.register(trip, name="test.trip", fleet=fleet).enqueue()

    fleet.run_worker(burst=True)

    (line,) = fleet.logs(handle.id)
    assert line.text.startswith("tripped\nTraceback (most recent call last):\n")
    assert line.text.endswith("KeyError: 'k'")


@pytest.mark.parametrize("text", ["x" * 100_000, "", "a\nb", "ünïcode 🎉"], ids=["long", "none", "two", "odd"])
def test_any_text_is_kept_as_far_as_it_can_be(fleet: Fleet, registry: Registry, text: str) -> None:
    def say(ctx: JobContext) -> None:
        ctx.log.info("%s", text)
        ctx.log.info("next")

    handle = registry.register(say, name="test.say", fleet=fleet).enqueue()

    fleet.run_worker(burst=True)

    first, second = [line.text for line in handle.logs()]
    assert second == "next"
    assert len(first) <= 8200
    assert (first[:1], first[-1:]) == (text[:1], text[-1:])


def test_a_line_that_cannot_be_written_ends_no_job(
    fleet: Fleet, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)

    class Bad:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    def say(ctx: JobContext) -> str:
        ctx.log.info("%s", Bad())
        return "fine"

    handle = registry.register(say, name="test.say", fleet=fleet).enqueue()

    fleet.run_worker(burst=True)

    assert handle.poll().result == "fine"


def test_the_tail_is_kept_and_what_was_dropped_is_said(redis_url: str, registry: Registry) -> None:
    def babble(ctx: JobContext) -> None:
        for n in range(1000):
            ctx.log.info("line %d", n)

    with Fleet(redis_url, registry=registry, job_log_lines=10) as fleet:
        handle = registry.register(babble, name="test.babble", fleet=fleet).enqueue()

        fleet.run_worker(burst=True)

        assert told(fleet, handle.id) == ["WARNING … 990 lines dropped", *[f"INFO line {n}" for n in range(990, 1000)]]
        assert told(fleet, handle.id, tail=1) == ["INFO line 999"]


def test_nothing_is_kept_where_nothing_shall_be(redis_url: str, registry: Registry) -> None:
    with Fleet(redis_url, registry=registry, job_log_lines=0) as fleet:
        handle = registry.register(in_thread, name="test.log", fleet=fleet).enqueue()

        fleet.run_worker(burst=True)

        assert told(fleet, handle.id) == []


def test_a_log_goes_on_through_retries_and_shows_whose_line_it_is(fleet: Fleet, registry: Registry) -> None:
    def flaky(ctx: JobContext) -> None:
        ctx.log.info("try %d", ctx.attempt)
        if ctx.attempt < 3:
            raise ConnectionError("again")

    handle = registry.register(flaky, name="test.flaky", fleet=fleet, retry_delay=0).enqueue()

    fleet.run_worker(burst=True)

    lines = list(handle.logs())
    assert [line.text for line in lines] == ["try 1", "try 2", "try 3"]
    assert len({line.token for line in lines}) == 3


def test_a_log_is_kept_as_long_as_the_result(fleet: Fleet, registry: Registry, raw: Any) -> None:
    def fine(ctx: JobContext) -> None:
        ctx.log.info("x")

    def bad(ctx: JobContext) -> None:
        ctx.log.info("x")
        raise ValueError("bad")

    completed = registry.register(fine, name="test.fine", fleet=fleet, result_ttl=600).enqueue()
    failed = registry.register(bad, name="test.bad", fleet=fleet).enqueue()

    fleet.run_worker(burst=True)

    assert 590 < raw.ttl(LANE.log(completed.id)) <= 600
    assert 7 * 86400 - 60 < raw.ttl(LANE.log(failed.id)) <= 7 * 86400


def test_a_log_can_be_followed_to_the_jobs_end(fleet: Fleet, registry: Registry, working: Working) -> None:
    gate = threading.Event()

    def slow(ctx: JobContext) -> None:
        ctx.log.info("one")
        assert gate.wait(60)
        ctx.log.info("two")

    handle = registry.register(slow, name="test.slow", fleet=fleet).enqueue()
    seen: list[str] = []

    def follow() -> None:
        with Fleet(fleet.config.url) as other:
            seen.extend(line.text for line in other.logs(handle.id, follow=True))

    follower = threading.Thread(target=follow)
    follower.start()
    with working():
        wait_until(lambda: seen == ["one"], timeout=30, why="the first line is seen while the job runs")
        gate.set()
        follower.join(30)

    assert seen == ["one", "two"]
    assert handle.poll().status is JobStatus.COMPLETED


def test_the_log_of_an_unknown_job_is_not_found(fleet: Fleet) -> None:
    with pytest.raises(JobNotFound):
        list(fleet.logs("default.0.none"))


def test_loggers_are_left_as_they_were(fleet: Fleet, registry: Registry) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))

    registry.register(in_thread, name="test.log", fleet=fleet).enqueue()
    fleet.run_worker(burst=True)

    assert (root.level, list(root.handlers)) == before
    assert logging.getLogger("jobfleet.job").handlers == []
