"""Replies are lost after the scripts ran: signals are repeated, and each job continues once per signal."""

from __future__ import annotations

import pytest

from jobfleet import Fleet, JobContext, JobStatus
from jobfleet.functions.registry import Registry
from tests.support.faults import Faults
from tests.worker.conftest import Working
from tests.worker.test_lost_replies import make_flaky


@pytest.mark.parametrize("kind", ["share", "unsent"])
def test_no_signal_is_lost_or_counts_twice(
    fleet: Fleet, registry: Registry, working: Working, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    async def work(ctx: JobContext, number: int) -> list[int]:
        first = await ctx.wait_for("first", "1h")
        await ctx.sleep(0.001 * number)
        return [first, await ctx.wait_for("second", "1h"), ctx.attempt]

    function = registry.register(work, name="test.work", fleet=fleet)
    faults = Faults(seed=1, share=0.15 * (kind == "share"), unsent=0.15 * (kind == "unsent"))
    make_flaky(fleet, faults, monkeypatch)

    with working(slots=5):
        handles = [function.enqueue(number) for number in range(20)]
        for name in ("second", "first"):
            for number, handle in enumerate(handles):
                assert handle.signal(name, number)
        results = [handle.wait(timeout=60) for handle in handles]

    assert faults.lost > 5
    assert [result.status for result in results] == [JobStatus.COMPLETED] * 20
    assert [result.result for result in results] == [[number, number, 1] for number in range(20)]
