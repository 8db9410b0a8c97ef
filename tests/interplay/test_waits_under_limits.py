"""Jobs with named limits and breakers that sleep, wait or are put back: what they hold, cost and count meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jobfleet import Breaker, Job, JobContext, Limit, RateLimited, Snooze
from jobfleet.functions.registry import Registry
from jobfleet.model.result import ReasonCode
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import in_place

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
RAN: list[str] = []
BREAKER = Breaker(0.5, window="1h", half_open=2, minimum=2, cooldown="10m")


async def approve(ctx: JobContext, name: str) -> Any:
    RAN.append(name)
    return await ctx.wait_for("approved", "10d")


def approve_in_a_thread(ctx: JobContext, name: str) -> Any:
    RAN.append(name)
    return ctx.wait_for_sync("approved", "10d")


def approve_in_a_process(ctx: JobContext, name: str) -> Any:
    ctx.emit_sync(name)
    return ctx.wait_for_sync("approved", "10d")


async def plain(name: str) -> None:
    RAN.append(name)


async def napper(ctx: JobContext, ends_by: str) -> None:
    RAN.append(ends_by)
    if ends_by == "sleep":
        await ctx.sleep("5m")
    if ends_by == "snooze" and RAN.count("snooze") <= 3:
        raise Snooze(300)
    if ends_by == "limited" and RAN.count("limited") <= 3:
        raise RateLimited(300)
    if ends_by == "fail":
        raise ConnectionError


@pytest.fixture
def jobs(server: RedisServer, registry: Registry) -> Iterator[Jobs]:
    RAN.clear()
    where: dict[Any, Any] = {approve: None, approve_in_a_thread: "thread", approve_in_a_process: "process"}
    for function, run_in in where.items():
        registry.register(
            function, name=f"t.{function.__name__}", queue="q", run_in=run_in, limits=["few", Limit("cost", cost=3)]
        )
    registry.register(plain, name="t.plain", queue="q", limits=["few", Limit("cost", cost=3)])
    registry.register(napper, name="t.napper", queue="q", max_retries=0, breaker=BREAKER)
    with in_place(server.url, registry) as jobs:
        yield jobs


def enqueue(jobs: Jobs, function: str, *args: object) -> str:
    return jobs.fleet.enqueue(Job("job", f"t.{function}", args))


def held(jobs: Jobs) -> tuple[int, int | None]:
    """Jobs inside the limit of places, and what is left of the rate."""
    found = {one.name: one for one in jobs.fleet.limits.all_named()}
    return found["few"].running, found["cost"].left


@pytest.mark.parametrize("function", ["approve", "approve_in_a_thread", "approve_in_a_process"])
def test_a_job_that_waits_gives_its_place_back_and_each_of_its_runs_pays_the_rate(jobs: Jobs, function: str) -> None:
    jobs.fleet.limits.named("few", concurrency=1)
    jobs.fleet.limits.named("cost", rate="100/1h")
    waiting = enqueue(jobs, function, "a")
    jobs.drain()
    assert jobs.fleet.explain(waiting).reasons[0].code is ReasonCode.AWAITING_SIGNAL
    assert held(jobs) == (0, 97)

    other = enqueue(jobs, "plain", "b")
    jobs.drain()
    assert (jobs.fleet.poll(other).status, held(jobs)) == ("completed", (0, 94))
    assert jobs.fleet.signal(waiting, "approved", "yes")
    jobs.drain()

    assert (jobs.fleet.poll(waiting).result, held(jobs)) == ("yes", (0, 91))


def test_a_signalled_job_waits_for_its_limit_like_any_other(jobs: Jobs) -> None:
    jobs.fleet.limits.named("few", concurrency=1)
    jobs.fleet.limits.named("cost", rate="3/1h")
    waiting = enqueue(jobs, "approve", "a")
    jobs.drain()
    assert jobs.fleet.signal(waiting, "approved", "yes")
    jobs.drain()
    assert (jobs.fleet.poll(waiting).status, held(jobs)) == ("queued", (0, 0))

    jobs.advance("30m")
    assert jobs.fleet.poll(waiting).status == "queued"
    jobs.advance("45m")

    assert jobs.fleet.poll(waiting).result == "yes"


def test_a_closed_limit_opens_with_the_time_of_the_test_and_a_rate_lets_jobs_pass_by_and_by(jobs: Jobs) -> None:
    jobs.fleet.limits.named("cost", rate="3/1h")
    jobs.fleet.limits.named("few", concurrency=2)
    jobs.fleet.limits.close("few", 7200)
    for name in "abc":
        enqueue(jobs, "plain", name)
    jobs.advance("1h")
    assert RAN == []

    jobs.advance("90m")
    assert RAN == ["a"]
    jobs.advance("5h")
    assert RAN == ["a", "b", "c"]


@pytest.mark.parametrize("ends_by", ["sleep", "snooze", "limited"])
def test_a_breaker_counts_no_run_that_will_continue(jobs: Jobs, ends_by: str) -> None:
    for _ in range(3):
        enqueue(jobs, "napper", ends_by)
    jobs.drain()
    assert [ends_by] * 3 == RAN
    assert not jobs.fleet.breakers()

    jobs.advance("6m")

    assert [ends_by] * 6 == RAN
    (breaker,) = jobs.fleet.breakers()
    assert (breaker.state, breaker.succeeded, breaker.failed) == ("closed", 3, 0)


def test_an_open_breaker_tries_again_when_the_time_of_the_test_has_come(jobs: Jobs) -> None:
    for _ in range(2):
        enqueue(jobs, "napper", "fail")
    jobs.drain()
    for name in ("sleep", "ok"):
        enqueue(jobs, "napper", name)
    jobs.drain()
    (breaker,) = jobs.fleet.breakers()
    assert (breaker.state, RAN) == ("open", ["fail", "fail"])

    jobs.advance("11m")

    assert RAN == ["fail", "fail", "sleep", "ok"]
    assert [one.state for one in jobs.fleet.breakers()] == ["half-open"]  # one of two: the sleep counts as nothing
    jobs.advance("6m")

    assert RAN == ["fail", "fail", "sleep", "ok", "sleep"]
    assert [one for one in jobs.fleet.breakers() if one.state != "closed"] == []
