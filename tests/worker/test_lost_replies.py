"""Replies are lost after the scripts ran: every call is repeated, nothing counts twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from jobfleet import Fleet, JobContext, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import inspect
from jobfleet.store.keys import Keyspace
from jobfleet.store.sync import Store
from jobfleet.worker import in_process
from tests.support.faults import AsyncFlakyLink, Faults, FlakyLink
from tests.worker.conftest import Working

LANE = Keyspace("jobfleet").lane("default", 0)


def make_flaky(fleet: Fleet, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the fleet's own store, and those of its workers, lose replies."""
    fleet.store.link = FlakyLink(fleet.store.link, faults)

    def flaky_store(at: Any, **options: Any) -> AsyncStore:
        store = AsyncStore(at, connect_timeout=5.0, socket_timeout=options.get("socket_timeout", 5.0), patience=None)
        store.link = AsyncFlakyLink(store.link, faults)
        return store

    monkeypatch.setattr(in_process, "AsyncStore", flaky_store)


@pytest.mark.parametrize("kind", ["share", "unsent"])
def test_every_job_runs_once_and_counts_once(
    fleet: Fleet,
    registry: Registry,
    working: Working,
    raw: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    runs: list[str] = []

    async def work(ctx: JobContext, number: int) -> int:
        runs.append(ctx.job_id)
        ctx.progress(0.5, "half", {"number": number})
        await asyncio.sleep(0.001)
        if number % 5 == 0 and ctx.attempt == 1:
            raise ConnectionError("once")
        return number

    function = registry.register(work, name="test.work", fleet=fleet, retry_delay=0.01)
    faults = Faults(seed=1, share=0.15 * (kind == "share"), unsent=0.15 * (kind == "unsent"))
    make_flaky(fleet, faults, monkeypatch)

    with working(slots=5):
        handles = [function.enqueue(number) for number in range(60)]
        results = [handle.wait(timeout=60) for handle in handles]

    assert faults.lost > 10
    assert [result.result for result in results] == list(range(60))
    assert [result.status for result in results] == [JobStatus.COMPLETED] * 60
    assert len(runs) == 60 + 12
    assert len({handle.id for handle in handles}) == 60
    statistics = fleet.statistics()
    assert (statistics["completed"], statistics["failed"]) == (60, 0)
    totals = {name: int(count) for name, count in raw.hgetall(LANE.totals).items()}
    assert (totals[b"enqueued"], totals[b"completed"], totals[b"retried"]) == (60, 60, 12)
    assert totals.get(b"lost", 0) == 0
    assert totals.get(b"retrying", 0) == 0
    assert raw.zcard(LANE.lease) == raw.hlen(LANE.runs) == raw.hlen(LANE.tries) == 0


@pytest.mark.not_on("cluster", reason="the pool of a link to one server")
def test_a_restart_is_one_failure_however_many_connections_were_idle(fleet: Fleet, raw: redis.Redis) -> None:
    stumbles: list[BaseException] = []

    class Recorder:
        def tripped(self, calls: Any, seconds: float) -> None:
            return

        def stumbled(self, error: BaseException) -> None:
            stumbles.append(error)

    store = Store(fleet.store.at, patience=10, recorder=Recorder())
    link: Any = store.link
    link.pool.idle = [link.pool.take() for _ in range(8)]
    raw.client_kill_filter(_type="normal", skipme=True)

    store.run(inspect.fleet(Keyspace("jobfleet")))

    store.close()
    assert len(stumbles) == 1
