"""A parent that goes on in another queue: those who wait for it wait for it there, whoever dies in between."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from jobfleet import After, AsyncFleet, Flow, JobStatus
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.model.option_types import Otherwise
from jobfleet.services.duties.relay import Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import flow, settle
from tests.services.duties.test_relay import DEFAULT, KEYS, OTHER, Player, finish, job, kill, player, relay, status

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
THIRD = KEYS.lane("third", 0)
ALL = (DEFAULT, OTHER, THIRD)


async def test_a_moved_parent_is_waited_for_where_it_went(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    parent = await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[parent]))

    moved = await fleet.move(parent, "other")
    await relay.turn()
    assert await status(fleet, parent, moved, child) == ["cancelled", "queued", "blocked"]
    await finish(player, relay, *ALL)

    assert await status(fleet, moved, child) == ["completed", "completed"]
    assert player.started == [moved, child]


@pytest.mark.parametrize("relayed", [True, False])
async def test_a_parent_may_move_again(fleet: AsyncFleet, player: Player, relay: Relay, relayed: bool) -> None:
    parent = await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[parent]))
    moved = parent
    for queue in ("other", "third", "other"):
        moved = await fleet.move(moved, queue)
        if relayed:
            await relay.turn()

    await finish(player, relay, *ALL)
    await relay.turn()
    await finish(player, relay, *ALL)

    assert await status(fleet, moved, child) == ["completed", "completed"]
    assert player.started == [moved, child]


@pytest.mark.parametrize(("otherwise", "then"), [("cancel", "cancelled"), ("run", "completed"), ("wait", "blocked")])
async def test_the_policy_of_the_edge_goes_along(
    fleet: AsyncFleet, player: Player, relay: Relay, otherwise: Otherwise, then: str
) -> None:
    parent = await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[After(parent, otherwise)]))
    moved = await fleet.move(parent, "other")

    await finish(player, relay, *ALL, failing=(moved,))
    await relay.turn()
    await finish(player, relay, *ALL, failing=(moved,))

    assert await status(fleet, moved, child) == ["failed", then]


async def test_a_run_that_goes_on_elsewhere_is_no_cancelled_parent(
    fleet: AsyncFleet, store: AsyncStore, player: Player, relay: Relay
) -> None:
    """As a job does that ran out of memory."""
    parent, child = job(), None
    parent_id = await fleet.enqueue(parent)
    child = await fleet.enqueue(job(depends_on=[parent_id]))
    [(lane, job_id, token)] = await player.claim(DEFAULT)
    target = await fleet.enqueue(job("other"))

    await store.run(settle.settle(lane, [settle.move(job_id, token, to=target, ttl_ms=60_000)]))
    await relay.turn()
    assert await status(fleet, child) == ["blocked"]
    await finish(player, relay, *ALL)

    assert await status(fleet, target, child) == ["completed", "completed"]


async def test_who_comes_after_the_move_waits_for_the_new_job(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    parent = await fleet.enqueue(job())
    moved = await fleet.move(parent, "other")
    late = job(depends_on=[parent])

    receipt = await fleet.submit(late)
    again = await fleet.submit(late)
    assert (receipt.status, again.created) == (JobStatus.BLOCKED, False)
    await finish(player, relay, *ALL)

    assert player.started == [moved, receipt.id]


async def test_who_waits_for_both_waits_once(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    parent = await fleet.enqueue(job())
    moved = await fleet.move(parent, "other")
    child = await fleet.enqueue(job(depends_on=[parent, moved]))
    assert await status(fleet, child) == ["blocked"]

    await finish(player, relay, *ALL)

    assert player.started == [moved, child]


async def test_the_run_finds_the_parent_under_its_new_id(
    fleet: AsyncFleet, player: Player, relay: Relay, store: AsyncStore
) -> None:
    first, parent = await fleet.enqueue(job()), await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[parent, first]))
    moved = await fleet.move(parent, "other")

    await finish(player, relay, *ALL)

    rows = await store.run(flow.parents(DEFAULT, child))
    assert [(row.parent, row.status) for row in rows] == [(moved, "completed"), (first, "completed")]


async def test_a_flow_shows_a_moved_job_where_it_went(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    made = Flow("line")
    made.chain(job(), job(), job("other"))
    info = await fleet.flows.enqueue(made)
    there = await fleet.move(info.jobs[0].id, "other")
    moved = await fleet.move(there, "third")

    before = await fleet.flows.get(info.id)
    await finish(player, relay, *ALL)

    after = await fleet.flows.get(info.id)
    assert [one.id for one in before.jobs] == [moved, info.jobs[1].id, info.jobs[2].id]
    assert (before.status, after.status) == ("queued", "completed")


@pytest.mark.parametrize("seed", range(4))
async def test_a_relay_may_die_between_any_two_steps_of_following(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, player: Player, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    roots = [await fleet.enqueue(job()) for _ in range(3)]
    children = [
        await fleet.enqueue(job(dice.choice(["default", "other"]), depends_on=dice.sample(roots, k=dice.randint(1, 3))))
        for _ in range(12)
    ]
    places = {root: [root] for root in roots}
    for _ in range(400):
        movable = [root for root, ids in places.items() if len(ids) < 4 and dice.random() < 0.5]
        for root in movable:
            queue = dice.choice([name for name in ("other", "third") if not places[root][-1].startswith(name)])
            places[root].append(await fleet.move(places[root][-1], queue))
        if all(len(ids) == 4 for ids in places.values()):
            for lane, job_id, token in await player.claim(*ALL):
                await player.end(lane, job_id, token)
        mortal = Relay(store, KEYS, JobConfig(url=redis_url), Tally())
        with monkeypatch.context() as patch:
            kill(patch, mortal._store, dice.randint(1, 40))  # as a user, a duty has a store of its own
            with suppress(asyncio.CancelledError):
                while True:
                    await mortal.turn()
        if all(row.status.is_final for row in await fleet.poll_many(children) if row is not None):
            break

    assert set(await status(fleet, *children)) == {"completed"}
    assert sorted(player.started) == sorted([ids[-1] for ids in places.values()] + children)
