"""A failed parent is replayed, or its flow retried, before all its dependants were notified of the failure."""

from __future__ import annotations

import asyncio
from typing import Literal

import pytest

from jobfleet import After, AsyncFleet, Flow
from jobfleet.services.duties.relay import Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.flow import outbox, pending_ends
from tests.services.duties.test_relay import DEFAULT, OTHER, Player, finish, job, player, relay, status

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
WIDTH = 320
"""Several pages of dependants."""


def wide() -> Flow:
    """A job that fails first, many that wait for it, and one that waits for all of these."""
    flow = Flow("wide")
    top = flow.add(job())
    parts = flow.group(*[job() for _ in range(WIDTH)], after=top)
    flow.add(job("other"), after=parts)
    return flow


async def fail_first(player: Player) -> None:
    for lane, job_id, token in await player.claim(DEFAULT):
        await player.end(lane, job_id, token, fails=True)


@pytest.mark.parametrize("otherwise", ["cancel", "run", "wait"])
async def test_a_replay_is_not_undone_by_the_notices_of_the_failure(
    fleet: AsyncFleet, player: Player, relay: Relay, otherwise: Literal["cancel", "run", "wait"]
) -> None:
    parent = await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[After(parent, otherwise)]))
    await fail_first(player)

    await fleet.replay(parent)
    await relay.turn()
    assert await status(fleet, parent, child) == ["queued", "blocked"]
    await finish(player, relay, DEFAULT)

    assert await status(fleet, parent, child) == ["completed", "completed"]


async def test_a_record_of_an_ending_that_was_undone_does_not_stay(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay
) -> None:
    parent = await fleet.enqueue(job())
    await fleet.enqueue(job(depends_on=[parent]))
    await fail_first(player)
    await fleet.replay(parent)

    await relay.turn()

    assert await store.run(outbox(DEFAULT)) == []


async def test_a_flow_that_is_retried_at_the_moment_of_failure_runs_whole(
    fleet: AsyncFleet, player: Player, relay: Relay
) -> None:
    info = await fleet.flows.enqueue(wide())
    await fail_first(player)

    assert await fleet.flows.retry(info.id) == WIDTH + 2
    await finish(player, relay, DEFAULT, OTHER)

    after = await fleet.flows.get(info.id)
    assert {one.status for one in after.jobs} == {"completed"}


@pytest.mark.parametrize("pages", [1, 3])
async def test_a_flow_that_is_retried_while_the_notices_go_out_runs_whole(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay, pages: int
) -> None:
    info = await fleet.flows.enqueue(wide())
    await fail_first(player)
    records = await store.run(pending_ends(DEFAULT))
    for _ in range(pages):
        records = (await relay._tell_page(DEFAULT, records)).following
    notices = asyncio.create_task(relay.turn())

    assert await fleet.flows.retry(info.id) == WIDTH + 2
    await notices
    await finish(player, relay, DEFAULT, OTHER)

    after = await fleet.flows.get(info.id)
    assert {one.status for one in after.jobs} == {"completed"}
