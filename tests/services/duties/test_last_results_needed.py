"""Functions with `keep_last`: what others still need stays, although it is none of the last results."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Flow, Job, JobStatus
from jobfleet.services.duties.relay import Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.settle import BESIDE
from jobfleet.worker.run.context import results_of
from jobfleet.worker.run.runner import Parents
from tests.services.duties.test_relay import DEFAULT, KEYS, OTHER, Player, player, relay
from tests.services.keeping import (
    LONG_AGO,
    Report,
    Run,
    Turn,
    complete,
    fleet,
    indexed,
    report,
    run,
    states,
    turn,
)
from tests.support.ageing import age_endings, make_due

__all__ = ["fleet", "player", "relay", "report", "run", "turn"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


LARGE = "x" * BESIDE


async def test_who_waits_while_the_duty_runs_is_given_the_result(
    fleet: AsyncFleet, store: AsyncStore, player: Player, raw: redis.Redis, turn: Turn, run: Run, report: Report
) -> None:
    await run(2)
    job_id = await fleet.enqueue(report.job(7))
    waits = asyncio.create_task(fleet.wait(job_id, timeout=30))
    await complete(store, player, value=7)
    await run(3)
    make_due(raw, DEFAULT)
    await turn()

    assert (await waits).result == 7


async def test_dead_letters_neither_go_nor_count_until_they_are_replayed(
    fleet: AsyncFleet, store: AsyncStore, player: Player, raw: redis.Redis, turn: Turn, run: Run, report: Report
) -> None:
    dead: list[str] = [await fleet.enqueue(report.job(number)) for number in range(3)]
    for lane, job_id, token in await player.claim(DEFAULT):
        await player.end(lane, job_id, token, fails=True)
    ids = await run(3)
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, *dead, *ids) == ["failed"] * 3 + ["gone", "completed", "completed"]
    assert {row.id for row in await fleet.dead()} == set(dead)
    assert await fleet.replay(dead[0])
    await complete(store, player)
    age_endings(raw, DEFAULT, LONG_AGO)
    await turn()
    assert await states(fleet, *dead, *ids) == ["completed", "failed", "failed", "gone", "gone", "completed"]
    for job_id in dead[1:]:
        await fleet.purge(job_id)
    await run(2)
    age_endings(raw, DEFAULT, LONG_AGO)
    await turn()
    assert await states(fleet, *dead) == ["gone"] * 3


async def test_an_id_of_the_caller_is_remembered_without_its_result(
    fleet: AsyncFleet, raw: redis.Redis, turn: Turn, run: Run, report: Report
) -> None:
    (own,) = await run(1, id="invoice-7")
    await run(2)
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    result = await fleet.poll(own)
    assert (result.status, result.result) == (JobStatus.COMPLETED, None)
    receipt = await fleet.submit(report.options(id="invoice-7").job(0))
    assert (receipt.id, receipt.created) == (own, False)
    assert 85_000 < raw.ttl(DEFAULT.result(own)) <= 86_400 - LONG_AGO
    assert own not in indexed(raw)


async def test_a_unique_key_is_held_for_its_time_although_the_result_has_gone(
    fleet: AsyncFleet, raw: redis.Redis, turn: Turn, run: Run, report: Report
) -> None:
    (holder,) = await run(1, unique="daily", unique_for=7200)
    await run(2)
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, holder) == ["gone"]
    receipt = await fleet.submit(report.options(unique="daily", unique_for=7200).job(0))
    assert (receipt.id, receipt.created) == (holder, False)


async def results_of_parents(store: AsyncStore, fleet: AsyncFleet, child: str) -> dict[str, Any]:
    """The values of its parents, as a worker passes them to a job."""
    rows = await Parents(store, KEYS)(KEYS.lane_of(child), child, {})
    return {parent: row.result for parent, row in results_of(rows, fleet.context.limits, {}).items()}


@pytest.mark.parametrize("value", ["small", LARGE], ids=["small", "large"])
@pytest.mark.parametrize("order", ["before", "after"])
async def test_a_dependant_that_still_waits_reads_the_result_of_its_parent(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay, raw: redis.Redis, turn: Turn, run: Run,
    report: Report, value: str, order: str,
) -> None:  # fmt: skip
    """The child is enqueued before or after the end of this parent, and waits for another one."""
    slow = await fleet.enqueue(Job("slow", "app.slow", queue="other"))
    parent = await fleet.enqueue(report.job(0))
    child = ""
    if order == "before":
        child = await fleet.enqueue(Job("child", "app.child", depends_on=[parent, slow]))
    await complete(store, player, value=value)
    if order == "after":
        child = await fleet.enqueue(Job("child", "app.child", depends_on=[parent, slow]))
    await relay.turn()
    await run(3)
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, parent, child) == ["gone" if value == "small" else "completed", "blocked"]
    await complete(store, player, OTHER)
    await relay.turn()
    assert await states(fleet, child) == ["queued"]
    assert (await results_of_parents(store, fleet, child))[parent] == value


async def test_a_parent_is_kept_until_its_dependants_were_notified(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay, raw: redis.Redis, turn: Turn, run: Run,
    report: Report,
) -> None:  # fmt: skip
    """While no relay runs, the dependant does not know the ending yet."""
    parent = await fleet.enqueue(report.job(0))
    child = await fleet.enqueue(Job("child", "app.child", depends_on=[parent]))
    await complete(store, player, value="small")
    await run(3)
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, parent, child) == ["completed", "blocked"]
    await relay.turn()
    assert (await results_of_parents(store, fleet, child))[parent] == "small"
    make_due(raw, DEFAULT)
    await turn()
    assert await states(fleet, parent, child) == ["gone", "queued"]


async def test_jobs_of_a_flow_keep_their_results_and_do_not_count(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay, raw: redis.Redis, turn: Turn, run: Run,
    report: Report,
) -> None:  # fmt: skip
    flow = Flow("night")
    for number in range(4):
        flow.add(report.job(number))
    flow_id = (await fleet.flows.enqueue(flow)).id
    await complete(store, player)
    ids = await run(3)
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, *ids) == ["gone", "completed", "completed"]
    info = await fleet.flows.get(flow_id)
    assert (info.status, len(info.jobs)) == ("completed", 4)


async def test_a_moved_job_counts_in_its_new_queue_and_its_old_id_leads_there(
    fleet: AsyncFleet, store: AsyncStore, player: Player, raw: redis.Redis, turn: Turn, run: Run, report: Report
) -> None:
    old = await fleet.enqueue(report.job(0))
    new = await fleet.move(old, "other")
    ids = await run(3)
    await complete(store, player, OTHER)
    for lane in (DEFAULT, OTHER):
        age_endings(raw, lane, LONG_AGO)

    await turn()

    assert indexed(raw, OTHER) == [new]
    assert (await fleet.poll(old)).moved_to == new
    assert await states(fleet, new, *ids) == ["completed", "gone", "completed", "completed"]
