"""The status of a flow in a word, and whether it is over."""

from __future__ import annotations

import pytest

from jobfleet import AsyncFleet, Flow
from jobfleet.services.duties.relay import Relay
from tests.services.duties.test_relay import DEFAULT, OTHER, Player, finish, job, player, relay

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


async def test_a_flow_is_failing_until_its_last_job_has_ended(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    flow = Flow("sides")
    flow.group(job(), job(), job())
    info = await fleet.flows.enqueue(flow)
    (first, second, third) = await player.claim(DEFAULT)
    seen = [(info.status, info.is_done)]

    for (lane, job_id, token), fails in ((first, True), (second, False), (third, False)):
        await player.end(lane, job_id, token, fails=fails)
        info = await fleet.flows.get(info.id)
        seen.append((info.status, info.is_done))

    assert seen == [("queued", False), ("failing", False), ("failing", False), ("failed", True)]


async def test_a_flow_whose_jobs_wait_for_a_replay_is_over(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    flow = Flow("held")
    top = flow.add(job())
    held = flow.add(job(), after=top, otherwise="wait")
    flow.add(job(), after=held)
    info = await fleet.flows.enqueue(flow)
    await finish(player, relay, DEFAULT, failing=(info.jobs[0].id,))
    over = await fleet.flows.get(info.id)

    assert await fleet.flows.retry(info.id) == 1
    again = await fleet.flows.get(info.id)
    await finish(player, relay, DEFAULT)
    after = await fleet.flows.get(info.id)

    assert [one.status for one in over.jobs] == ["failed", "blocked", "blocked"]
    assert [(one.status, one.is_done) for one in (over, again, after)] == [
        ("failed", True), ("queued", False), ("completed", True),
    ]  # fmt: skip


async def test_jobs_of_one_name_are_told_apart_by_their_arguments(
    fleet: AsyncFleet, player: Player, relay: Relay
) -> None:
    flow = Flow("labels")
    flow.add(job("other"))
    info = await fleet.flows.enqueue(flow)
    assert [one.label for one in info.jobs] == [""]

    flow = Flow("labels")
    flow.group(job(), job("other"))
    info = await fleet.flows.enqueue(flow)
    for lane, job_id, token in await player.claim(DEFAULT, OTHER):
        await player.end(lane, job_id, token, fails=True)
    await fleet.flows.retry(info.id)

    assert [one.label for one in (await fleet.flows.get(info.id)).jobs] == ["1, 2", "1, 2"]
