"""`flows.wait` and `is_done` of both clients."""

from __future__ import annotations

import asyncio

import pytest

from jobfleet import AsyncFleet, Flow, InvalidJob, JobNotFound, WaitTimeout
from jobfleet.operations.flows.record import frontier
from jobfleet.services.duties.relay import Relay
from tests.services.duties.test_relay import DEFAULT, OTHER, Player, finish, job, player, relay

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
LONG = 60
NEVER = 3600


def tree() -> Flow:
    """One, two after it of which one may fail, and one after these."""
    flow = Flow("tree")
    top = flow.add(job())
    sides = [flow.add(job("other"), after=top), flow.add(job(), after=top, otherwise="run")]
    flow.add(job("other"), after=sides)
    return flow


async def test_a_wait_returns_when_the_last_job_has_ended(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    flow = tree()
    info = await fleet.flows.enqueue(flow)
    waits = [asyncio.create_task(fleet.flows.wait(given, timeout=LONG)) for given in (flow, info, info.id)]

    await finish(player, relay, DEFAULT, OTHER)

    infos = await asyncio.gather(*waits)
    assert [(one.status, one.is_done) for one in infos] == [("completed", True)] * 3


async def test_a_wait_returns_although_jobs_wait_for_a_replay(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    flow = Flow("held")
    top = flow.add(job())
    flow.add(job("other"), after=flow.add(job(), after=top, otherwise="wait"))
    info = await fleet.flows.enqueue(flow)
    waiting = asyncio.create_task(fleet.flows.wait(info, timeout=LONG))

    await finish(player, relay, DEFAULT, OTHER, failing=(info.jobs[0].id,))

    over = await waiting
    assert (over.status, [one.status for one in over.jobs]) == ("failed", ["failed", "blocked", "blocked"])


async def test_a_wait_of_a_flow_that_is_over_returns_at_once(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    info = await fleet.flows.enqueue(tree())
    await finish(player, relay, DEFAULT, OTHER, failing=(info.jobs[1].id,))

    assert (await fleet.flows.wait(info, timeout=0)).status == "failed"


async def test_a_wait_gives_up_in_time(fleet: AsyncFleet) -> None:
    flow = Flow("late")
    flow.add(job(delay=NEVER))
    info = await fleet.flows.enqueue(flow)

    with pytest.raises(WaitTimeout) as caught:
        await fleet.flows.wait(info, timeout=0.1)

    assert str(caught.value) == f"{info.id} did not end within 0.1 s; it is still open."


async def test_a_wait_that_gives_up_says_why_a_job_has_not_ended(
    fleet: AsyncFleet, player: Player, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobfleet.client.base.EXPLAIN_FROM", 0.1)
    flow = tree()
    info = await fleet.flows.enqueue(flow)
    first = info.jobs[0].id

    with pytest.raises(WaitTimeout) as caught:
        await fleet.flows.wait(info, timeout=0.1)

    assert str(caught.value) == (
        f"{info.id} did not end within 0.1 s; it is still open. Its job {first}: {caught.value.why} "
        f"'jobfleet explain {first}' says more."
    )
    assert (caught.value.job_id, caught.value.about) == (info.id, first)
    assert caught.value.why == (await fleet.explain(first)).reasons[0].text


async def test_a_flow_of_which_nothing_is_known_and_what_is_no_flow(fleet: AsyncFleet) -> None:
    with pytest.raises(JobNotFound):
        await fleet.flows.wait("nope", timeout=1)
    with pytest.raises(InvalidJob, match=r"^flow is 7; give a Flow, a FlowInfo or an id\.$"):
        await fleet.flows.wait(7)  # type: ignore[arg-type]


async def test_only_the_last_jobs_are_waited_for_and_those_that_decide(fleet: AsyncFleet) -> None:
    flow = tree()
    info = await fleet.flows.get(await fleet.flows.enqueue(flow))
    held = Flow("held")
    top = held.add(job())
    held.add(job(), after=top, otherwise="wait")
    other = await fleet.flows.get(await fleet.flows.enqueue(held))

    assert frontier(info) == [info.jobs[3].id]
    assert frontier(other) == [one.id for one in other.jobs]
