"""The clock of the test kit, on a real server and on fakeredis: everything that is due follows it, in order."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest

from jobfleet import ConfigError, Cron, InvalidJob, Job, JobContext, JobNotFound, JobStatus
from jobfleet.clock import wall_us
from jobfleet.functions.registry import Registry
from jobfleet.store.script import load, names
from jobfleet.testing import advance
from jobfleet.testing.advance import Advance
from jobfleet.testing.shifted import ShiftedClock
from tests.support.server import RedisServer
from tests.testing.kit import in_place

DAY = 86_400.0


@pytest.fixture(params=["server", "memory"])
def url(request: pytest.FixtureRequest, server: RedisServer) -> str:
    return server.url if request.param == "server" else f"memory://kit-{time.monotonic_ns()}"


def test_delays_retries_and_fires_come_in_their_order(server: RedisServer) -> None:
    registry, order = Registry(), list[str]()

    def flaky(ctx: JobContext) -> None:
        order.append(f"attempt {ctx.attempt}")
        if ctx.attempt < 3:
            raise ConnectionError("not yet")

    def each_day(ctx: JobContext) -> None:
        order.append(f"fire {ctx.nominal_time:%H:%M}")

    registry.register(flaky, name="t.flaky", queue="q", retry_delay=3600, retry_backoff=1.0, retry_jitter=False)
    registry.register(each_day, name="t.each_day", queue="q", cron="0 12 * * *", tz="UTC")
    with in_place(server.url, registry) as jobs:
        noon = (jobs.now + timedelta(days=1)).replace(hour=12, minute=0, second=0, microsecond=0)
        jobs.fleet.enqueue(Job("x", "t.flaky", scheduled_at=noon - timedelta(minutes=30)))

        jobs.advance(noon + timedelta(hours=1) - jobs.now)

    assert order[order.index("attempt 1") :] == ["attempt 1", "fire 12:00", "attempt 2"]


def test_the_time_of_a_test_moves_and_lifetimes_end(url: str) -> None:
    registry = Registry()
    registry.register(lambda: 7, name="t.seven", queue="q", unique="one", unique_for=3600)
    with in_place(url, registry, result_ttl=DAY) as jobs:
        before = jobs.now
        first = jobs.fleet.submit(Job("x", "t.seven"))
        jobs.drain()
        assert not jobs.fleet.submit(Job("x", "t.seven")).created

        jobs.advance("2h", cron=False)
        assert jobs.fleet.poll(first.id).result == 7
        assert jobs.fleet.submit(Job("x", "t.seven")).created
        jobs.advance("1d", cron=False)

        with pytest.raises(JobNotFound):
            jobs.fleet.poll(first.id)
        assert timedelta(hours=26) <= jobs.now - before < timedelta(hours=26, minutes=1)
        assert abs(wall_us() / 1e6 - time.time() - 26 * 3600) < 60
    assert abs(wall_us() / 1e6 - time.time()) < 1


@pytest.mark.parametrize(
    ("misfire", "window", "fires"), [("once", 3600, 0), ("once", DAY, 1), ("all", DAY, 3), ("skip", DAY, 0)]
)
def test_after_an_outage_the_misfire_policy_decides(
    server: RedisServer, misfire: Any, window: float, fires: int
) -> None:
    registry, seen = Registry(), list[str]()

    def report(ctx: JobContext) -> None:
        seen.append(f"{ctx.nominal_time:%H}")

    cron = Cron("0 1,2,3 * * *", tz="UTC", misfire=misfire, misfire_window=window)
    registry.register(report, name="t.report", queue="q", cron=cron)
    with in_place(server.url, registry) as jobs:
        midnight = (jobs.now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        jobs.advance(midnight - jobs.now, cron=False)
        jobs.advance("8h", outage=True)

    assert len(seen) == fires


def test_a_queue_that_is_full_of_retries_does_not_make_a_step_endless(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = Registry()
    registry.register(lambda: None, name="t.each_minute", queue="q", cron="* * * * *")
    monkeypatch.setattr(advance, "MOST_STOPS", 3)
    with (
        in_place(server.url, registry) as jobs,
        pytest.raises(InvalidJob, match=r"more than 3 due times; advance by less"),
    ):
        jobs.advance("1h")


@pytest.mark.parametrize("step", ["soon", -1, "1x"])
def test_a_step_is_a_duration(server: RedisServer, step: Any) -> None:
    with in_place(server.url, Registry()) as jobs, pytest.raises(InvalidJob):
        jobs.advance(step)


def test_the_clock_of_a_cluster_does_not_move(server: RedisServer) -> None:
    with in_place(server.url, Registry()) as jobs:
        jobs.fleet.store.at = replace(jobs.fleet.store.at, cluster=cast("Any", object()))
        with pytest.raises(ConfigError, match="cluster"):
            Advance(jobs.fleet, jobs.kit.clock, jobs.drain)


def test_only_changed_scripts_read_the_key_of_the_clock(server: RedisServer) -> None:
    clock = ShiftedClock("{ns}:kit-clock")
    clock.ahead_us = 1
    try:
        for name in names():
            script = load(name)
            assert b"kit_" not in script.source, name
            changed = clock.sent(("EVALSHA", script.sha, 0))[1]
            assert (changed == script.sha) is (b"'TIME'" not in script.plain and b"'*'" not in script.plain), name
    finally:
        clock.forget()
    registry = Registry()
    registry.register(lambda: 1, name="t.one", queue="q")
    with in_place(server.url, registry) as jobs:  # a key that somebody sets has no effect
        jobs.fleet.store.link.exchange([("SET", jobs.kit.clock.key, 10**12)])
        late = jobs.fleet.enqueue(Job("x", "t.one", delay=60))
        jobs.drain()
        assert jobs.fleet.poll(late).status is JobStatus.SCHEDULED
