"""What a child has claimed ahead and puts back has not started, so it costs nothing of a rate."""

from __future__ import annotations

import asyncio

import pytest

from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from jobfleet.worker.child import holding
from tests.worker.conftest import Working


def test_jobs_that_were_claimed_ahead_and_put_back_cost_nothing_of_the_rate(
    fleet: Fleet, registry: Registry, working: Working, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "SHORT", 60.0)
    ran: list[int] = []

    async def job(n: int) -> None:
        ran.append(n)
        if n >= 100:
            await asyncio.sleep(0.3)

    function = registry.register(job, name="test.job", fleet=fleet)
    fleet.limits.set("default", rate="150/h")
    ids = [function.enqueue(n).id for n in range(140)]
    with working(slots=2):
        for job_id in ids:
            fleet.wait(job_id, timeout=60)

    assert len(ran) == 140
