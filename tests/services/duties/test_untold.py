"""Endings that whoever wrote them does not tell: another process does, and leaves alone those that are being told."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import redis

from jobfleet import After, AsyncFleet
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.leases import Leases
from jobfleet.services.duties.relay import Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls import flow
from tests.services.duties.test_relay import DEFAULT, KEYS, OTHER, RECORD, Player, job, player, relay, status
from tests.support.seed import Seed

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
__all__ = ["player", "relay"]


async def test_an_ending_that_nobody_told_is_told_by_the_next_tick_of_any_process(
    fleet: AsyncFleet, player: Player, store: AsyncStore, redis_url: str
) -> None:
    parent = await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[parent]))
    for lane, job_id, token in await player.claim(DEFAULT):
        await player.end(lane, job_id, token)  # and dies before it has told anybody
    leases = Leases(store, KEYS, JobConfig(url=redis_url), Tally(), spacing=lambda: 8.0)

    await leases.turn()
    await leases.teller.drained(30.0)

    assert await status(fleet, child) == ["queued"]


async def ended(fleet: AsyncFleet, player: Player, count: int) -> list[str]:
    """Jobs, each of which waits for one that has ended, which nobody has told it."""
    parents = [await fleet.enqueue(job()) for _ in range(count)]
    children: list[str] = [await fleet.enqueue(job(depends_on=[parent])) for parent in parents]
    for lane, job_id, token in await player.claim(DEFAULT):
        await player.end(lane, job_id, token)
    return children


async def test_who_stands_in_leaves_endings_to_whoever_tells_them(
    fleet: AsyncFleet, player: Player, relay: Relay, raw: redis.Redis
) -> None:
    children = await ended(fleet, player, 3)
    store = relay._store  # as a user, a duty has a store of its own
    run_many = store.run_many

    async def as_a_child_tells(calls: Sequence[Call[Any]], **options: Any) -> list[Any]:
        answers = await run_many(calls, **options)
        if any(call.script.name == "dependants" for call in calls):
            raw.xtrim(DEFAULT.outbox, raw.xlen(DEFAULT.outbox) - 1, approximate=False)
        return answers

    store.run_many = as_a_child_tells  # type: ignore[method-assign,assignment]  # a rival is at work meanwhile
    await relay.stand_in([DEFAULT])
    assert await status(fleet, *children) == ["blocked"] * 3

    store.run_many = run_many  # type: ignore[method-assign]  # by now it has died
    await relay.stand_in([DEFAULT])
    assert await status(fleet, *children) == ["blocked", "blocked", "queued"]


async def test_who_stands_in_looks_again_where_an_ending_turns_out_to_be_told(
    fleet: AsyncFleet, player: Player, store: AsyncStore, relay: Relay
) -> None:
    children = [child for count in (50, 50, 2) for child in await ended(fleet, player, count)]
    (_, first), *_ = await store.run(flow.outbox(DEFAULT))
    await store.run(flow.unblock(DEFAULT, [flow.ParentEnd(children[0], first, "completed", RECORD)], ttl_ms=60_000))
    seen: list[list[str]] = []
    store = relay._store
    run_many = store.run_many

    async def noted(calls: Sequence[Call[Any]], **options: Any) -> list[Any]:
        if any(call.script.name == "outbox" and call.args == (1,) for call in calls):
            seen.append(await status(fleet, children[0], children[99], children[101]))
        return await run_many(calls, **options)

    store.run_many = noted  # type: ignore[method-assign,assignment]  # only listened to
    await relay.stand_in([DEFAULT])

    before, after = ["queued", "blocked", "blocked"], ["queued", "queued", "blocked"]
    assert seen == [before, before, after, after]
    assert await status(fleet, *children) == ["queued"] * 102


async def test_lanes_in_which_jobs_wait_for_others_are_ticked_four_times_as_often(
    fleet: AsyncFleet, player: Player, store: AsyncStore, redis_url: str
) -> None:
    ticked: list[list[str]] = []

    async def watched(calls: Sequence[Call[Any]], **options: Any) -> list[Any]:
        if lanes := [str(call.keys[0]) for call in calls if call.script.name == "tick"]:
            ticked.append(lanes)
        return await run_each(calls, **options)

    await fleet.enqueue(job("other"))
    parent = await fleet.enqueue(job())
    leases = Leases(store, KEYS, JobConfig(url=redis_url), Tally(), spacing=lambda: 8.0)
    run_each = leases._store.run_each
    leases._store.run_each = watched  # type: ignore[method-assign]  # only listened to
    spacings = [await leases.turn()]
    await fleet.enqueue(job(depends_on=[parent]))
    leases._whole_at = 0.0
    spacings += [await leases.turn(), await leases.turn()]

    assert spacings == [8.0, 2.0, 2.0]
    assert ticked == [[DEFAULT.lane, OTHER.lane], [DEFAULT.lane, OTHER.lane], [DEFAULT.lane]]


async def test_a_reaper_that_ends_a_job_tells_those_who_wait_for_it(
    fleet: AsyncFleet, player: Player, store: AsyncStore, redis_url: str, raw: redis.Redis
) -> None:
    parent = await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[After(parent, "run")]))
    await player.claim(DEFAULT)  # and is never heard of again
    await fleet.cancel(parent, by="ann")
    raw.zadd(DEFAULT.lease, {parent: 1})
    Seed(raw, DEFAULT).ticked()
    leases = Leases(store, KEYS, JobConfig(url=redis_url), Tally(), spacing=lambda: 8.0)

    await leases.turn()
    await leases.teller.drained(30.0)

    assert await status(fleet, parent, child) == ["cancelled", "queued"]
