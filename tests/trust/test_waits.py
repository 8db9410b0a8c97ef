"""Signals, tokens and the arguments of undo functions are sealed like the results of steps."""

from __future__ import annotations

from typing import Any

import redis

from jobfleet import Job, JobContext, JobStatus
from jobfleet.functions.registry import Registry
from tests.trust.conftest import NEW, FleetWith, spelled

MARK = "geheim-7411"


def test_what_a_job_is_sent_and_what_undoes_it_is_not_readable(
    fleet_with: FleetWith, registry: Registry, raw: redis.Redis
) -> None:
    undone: list[Any] = []
    tokens: list[str] = []

    async def wait(ctx: JobContext) -> object:
        await ctx.step("ask", len, MARK, undo=undo)
        tokens.append(ctx.token("second"))
        first = await ctx.wait_for("first")
        return [first, await ctx.wait_for("second", only_token=True)]

    undo = registry.register(undone.append, name="app.undo")
    registry.register(wait, name="app.wait")
    fleet = fleet_with(keyring=spelled(k1=NEW), encrypt="require")
    one, two = (fleet.enqueue(Job("wait", "app.wait")) for _ in range(2))

    fleet.run_worker(burst=True)
    assert fleet.signal(one, "first", MARK)
    for token in tokens:
        assert fleet.signal_by_token(token, MARK)
    kept = [raw.hgetall(key) for key in raw.scan_iter("*steps:*")]
    assert len(kept) == 2
    assert MARK.encode() not in repr(kept).encode()
    assert fleet.cancel(two)
    while not (fleet.poll(one).status.is_final and undone):
        fleet.run_worker(burst=True)

    assert (fleet.poll(one).status, fleet.poll(one).result) == (JobStatus.COMPLETED, [MARK, MARK])
    assert undone == [MARK]
