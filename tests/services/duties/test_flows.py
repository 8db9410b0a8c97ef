"""Flows on a real server: enqueued as one, cancelled, retried."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Flow, InvalidJob, JobNotFound
from jobfleet.functions.port import FlowAddition
from jobfleet.operations.flows import flow as flows_retry
from jobfleet.operations.flows import flow as verbs
from jobfleet.operations.flows.extend import extend_flow
from jobfleet.operations.flows.record import FlowInfo
from jobfleet.services.duties.relay import GUARD_US, Relay
from jobfleet.store.aio import AsyncStore
from tests.services.duties.test_relay import DEFAULT, OTHER, Player, finish, job, player, relay
from tests.support.trips import calls_of

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def diamond() -> Flow:
    flow = Flow("diamond")
    top = flow.add(job())
    sides = [flow.add(job("other"), after=top), flow.add(job(), after=top, otherwise="run")]
    flow.add(job("other"), after=sides)
    return flow


def statuses(info: FlowInfo) -> list[str]:
    return [one.status for one in info.jobs]


async def test_a_flow_runs_in_order(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    info = await fleet.flows.enqueue(diamond())
    before = await fleet.flows.get(info.id)

    await finish(player, relay, DEFAULT, OTHER)

    after = await fleet.flows.get(info.id)
    assert (statuses(before), before.status) == (["queued", "blocked", "blocked", "blocked"], "queued")
    assert (statuses(after), after.status) == (["completed"] * 4, "completed")
    assert [one.id for one in after.jobs] == [one.id for one in info.jobs]
    assert (player.started[0], player.started[-1]) == (info.jobs[0].id, info.jobs[-1].id)
    assert [flow_id for flow_id, _ in await fleet.flows()] == [info.id]


async def test_enqueueing_it_again_changes_nothing(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    flow = diamond()
    await fleet.flows.enqueue(flow)
    await fleet.flows.enqueue(flow)
    await finish(player, relay, DEFAULT, OTHER)
    await fleet.flows.enqueue(flow)
    await finish(player, relay, DEFAULT, OTHER)

    assert len(player.started) == len(set(player.started)) == 4
    assert (await fleet.flows.get(flow.id)).status == "completed"


async def test_a_flow_that_goes_in_a_circle_writes_nothing(fleet: AsyncFleet, raw: redis.Redis) -> None:
    flow = Flow("round")
    first, second = flow.add(job()), flow.add(job())
    flow.link(first, second)
    flow.link(second, first)

    with pytest.raises(InvalidJob, match="has a cycle"):
        await fleet.flows.enqueue(flow)

    assert raw.keys() == []


@pytest.mark.parametrize("after", range(1, 12))
async def test_a_producer_that_dies_half_way_has_begun_nothing(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow = diamond()
    verb = verbs.enqueue(fleet.context, flow)
    answers: Any = None
    for _ in range(after):
        try:
            calls = calls_of(verb.send(answers))
        except StopIteration:
            break  # it has come to its end by then
        answers = await store.run_many(calls)
    verb.close()
    monkeypatch.setattr("jobfleet.services.duties.relay.GUARD_US", -GUARD_US)  # much later
    await relay.turn()
    await finish(player, relay, DEFAULT, OTHER)

    rows = (await fleet.jobs(limit=100)).jobs
    assert [row.status for row in rows if not row.status.is_final] == []
    assert len({row.status for row in rows}) <= 1  # all have run, or none


async def written(fleet: AsyncFleet, store: AsyncStore, flow: Flow) -> None:
    """Enqueue a flow, but die before its guards are lifted."""
    verb = verbs.enqueue(fleet.context, flow)
    answers: Any = None
    kept = 0
    while kept < 2:  # the record is written twice: before the jobs, and when all of them are there
        calls = calls_of(verb.send(answers))
        kept += sum(call.script.name == "keep_flow" for call in calls)
        answers = await store.run_many(calls)
    verb.close()


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_only_a_flow_that_begins_is_logged_as_begun(
    fleet: AsyncFleet, store: AsyncStore, relay: Relay, is_cancelled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "jobfleet.reaper")
    flow = diamond()
    await written(fleet, store, flow)
    if is_cancelled:  # its jobs keep their guards
        await fleet.flows.cancel(flow.id)

    await relay.turn()

    told = [record.getMessage() for record in caplog.records if "flow.begun" in record.getMessage()]
    assert told == ([] if is_cancelled else [f"flow.begun flow={flow.id} jobs=2 its producer did not"])


async def test_a_flow_that_is_written_begins_at_the_next_look_though_its_producer_died(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay
) -> None:
    flow = Flow("wide")
    for _ in range(120):
        flow.add(job())
    await written(fleet, store, flow)
    (first, _), *_ = await fleet.flows()
    jobs = [one.id for one in (await fleet.flows.get(first)).jobs]
    told = await fleet.explain(jobs[-1])

    await relay.turn()
    await finish(player, relay, DEFAULT, OTHER)

    assert "Waits until its producer has written the whole flow" in str(told)
    results = await fleet.poll_many(jobs)
    assert [result.status.value for result in results if result] == ["completed"] * 120


async def test_cancelling_a_flow_leaves_what_has_ended(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    info = await fleet.flows.enqueue(diamond())
    for lane, job_id, token in await player.claim(DEFAULT):
        await player.end(lane, job_id, token)
    await relay.turn()

    assert await fleet.flows.cancel(info.id, by="ann") == 3

    assert statuses(await fleet.flows.get(info.id)) == ["completed", "cancelled", "cancelled", "cancelled"]


async def test_a_flow_runs_on_from_what_failed(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    info = await fleet.flows.enqueue(diamond())
    await finish(player, relay, DEFAULT, OTHER, failing=(info.jobs[1].id,))
    broken = await fleet.flows.get(info.id)

    assert await fleet.flows.retry(info.id, by="ann") == 2
    await finish(player, relay, DEFAULT, OTHER)

    after = await fleet.flows.get(info.id)
    assert (statuses(broken), broken.status) == (["completed", "failed", "completed", "cancelled"], "failed")
    assert statuses(after) == ["completed"] * 4
    assert after.jobs[3].id != info.jobs[3].id
    assert player.started.count(info.jobs[2].id) == 1


async def test_a_job_that_is_added_while_the_flow_is_retried_is_not_lost(
    fleet: AsyncFleet, player: Player, relay: Relay
) -> None:
    info = await fleet.flows.enqueue(diamond())
    await finish(player, relay, DEFAULT, OTHER, failing=(info.jobs[1].id,))
    more = Flow("more")
    more.add(job())
    addition = FlowAddition(more, "more", after_this=False, joins=())
    added: list[str] = []
    retrying = flows_retry.retry(fleet.context, info.id, None)
    answers: Any = None
    with suppress(StopIteration):
        while True:
            answers = await fleet.store.run_many(retrying.send(answers))
            if not added:  # it has read the flow
                added += await fleet._do(extend_flow(fleet.context, info.jobs[0].id, info.id, addition))

    after = await fleet.flows.get(info.id)
    assert [one.id for one in after.jobs if one.added_by] == added


@pytest.mark.parametrize("width", [1000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_a_fan_in_of_thousands(fleet: AsyncFleet, player: Player, relay: Relay, width: int) -> None:
    flow = Flow("wide")
    top = flow.add(job())
    parts = flow.group(*[job() for _ in range(width)], after=top)
    flow.add(job("other"), after=parts)
    info = await fleet.flows.enqueue(flow)

    await finish(player, relay, DEFAULT, OTHER)

    assert (player.started[0], player.started[-1]) == (info.jobs[0].id, info.jobs[-1].id)
    assert len(player.started) == width + 2


async def test_a_flow_of_which_nothing_is_known(fleet: AsyncFleet) -> None:
    for verb in (fleet.flows.get, fleet.flows.cancel, fleet.flows.retry):
        with pytest.raises(JobNotFound, match="No flow 'nope': never enqueued, or deleted since"):
            await verb("nope")
    await asyncio.sleep(0)
