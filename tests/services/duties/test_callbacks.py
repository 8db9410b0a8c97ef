"""A producer dies while it enqueues a job with callbacks: all of them are cancelled, and nothing has run."""

from __future__ import annotations

from typing import Any

import pytest

from jobfleet import AsyncFleet, Job, JobStatus
from jobfleet.model import derived_suffix
from jobfleet.operations.flows import flow
from jobfleet.services.duties.relay import GUARD_US, Relay
from tests.services.duties.test_relay import DEFAULT, Player, player, relay

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


async def begun(fleet: AsyncFleet, job: Job, script: str) -> list[str]:
    """Enqueue a job up to a script, which is not run; return the ids of all that is written."""
    operation: Any = flow.submit_with_callbacks(fleet.context, job)
    answers = None
    while (calls := operation.send(answers))[0].script.name != script:
        answers = await fleet.store.run_many(list(calls))
    operation.close()
    job_id = DEFAULT.id_prefix + job.suffix
    return [job_id, *(DEFAULT.id_prefix + derived_suffix(job_id, option) for option in ("on_success", "on_failure"))]


@pytest.mark.parametrize("own", [None, "own"])
@pytest.mark.parametrize("script", ["watch", "unblock"])
async def test_a_job_whose_producer_dies_is_cancelled_with_its_callbacks(
    fleet: AsyncFleet, relay: Relay, player: Player, monkeypatch: pytest.MonkeyPatch, own: str | None, script: str
) -> None:
    callback = Job("told", "test.told")
    ids = await begun(fleet, Job("x", "test.add", id=own, on_success=callback, on_failure=callback), script)
    await relay.turn()
    before = [(await fleet.poll(one)).status for one in ids]
    claimed = await player.claim(DEFAULT)
    monkeypatch.setattr("jobfleet.services.duties.relay.GUARD_US", -GUARD_US)  # much later
    for _ in range(4):
        relay._swept = 0
        await relay.turn()

    assert (before, claimed) == ([JobStatus.BLOCKED] * 3, [])
    assert {(await fleet.poll(one)).status for one in ids} == {JobStatus.CANCELLED}
