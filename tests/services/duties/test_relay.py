"""Jobs that wait for others: each ends, none starts early, whoever dies in between."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
import redis

from jobfleet import After, AsyncFleet, InvalidJob, Job, JobStatus, UnknownParent
from jobfleet.codec.frames import seal_record
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.model.option_types import Otherwise
from jobfleet.operations.flows import dependencies as client_flow
from jobfleet.operations.operation import Operation
from jobfleet.services.duties.relay import GUARD_US, Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls import flow, lease, settle
from jobfleet.store.keys import Keyspace, Lane

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
KEYS = Keyspace("jobfleet")
RECORD = seal_record({"function": "test.add"})


@pytest.fixture
def relay(store: AsyncStore, redis_url: str) -> Relay:
    return Relay(store, KEYS, JobConfig(url=redis_url), Tally())


class Player:
    """Plays a worker: claims what is due, and ends it as it is told."""

    def __init__(self, store: AsyncStore) -> None:
        self._store = store
        self._nonces: Iterator[int] = iter(range(1, 1_000_000))
        self.started: list[str] = []

    async def claim(self, *lanes: Lane) -> list[tuple[Lane, str, int]]:
        found = []
        for lane in lanes:
            call = lease.claim(lane, child="w.1", nonce=next(self._nonces), lease_us=30_000_000, limit=50)
            found += [(lane, grant.id, grant.token) for grant in (await self._store.run(call)).grants]
        self.started += [job_id for _, job_id, _ in found]
        return found

    async def end(self, lane: Lane, job_id: str, token: int, *, fails: bool = False) -> None:
        if fails:
            item: settle.Item = settle.fail(
                job_id, token, record=RECORD, ttl_ms=60_000, duration_us=1, reason="error", tries="1:0:0:0:0"
            )
        else:
            item = settle.complete(job_id, token, record=RECORD, ttl_ms=60_000, duration_us=1)
        await self._store.run(settle.settle(lane, [item]))


@pytest.fixture
def player(store: AsyncStore) -> Player:
    return Player(store)


def job(queue: str = "default", **options: Any) -> Job:
    return Job("add", "test.add", (1, 2), queue=queue, **options)


async def status(fleet: AsyncFleet, *ids: str) -> list[str]:
    return [str((await fleet.poll(job_id)).status) for job_id in ids]


async def finish(player: Player, relay: Relay, *lanes: Lane, failing: tuple[str, ...] = ()) -> None:
    """Run everything that is, or becomes, due."""
    while claimed := await player.claim(*lanes):
        for lane, job_id, token in claimed:
            await player.end(lane, job_id, token, fails=job_id in failing)
        await relay.turn()


DEFAULT, OTHER = KEYS.lane("default", 0), KEYS.lane("other", 0)


async def test_a_diamond_over_two_queues_runs_in_order(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    top = await fleet.enqueue(job())
    left = await fleet.enqueue(job("other", depends_on=[top]))
    right = await fleet.enqueue(job(depends_on=[top]))
    bottom = await fleet.enqueue(job("other", depends_on=[left, right]))
    assert await status(fleet, top, left, right, bottom) == ["queued", "blocked", "blocked", "blocked"]

    await finish(player, relay, DEFAULT, OTHER)

    assert await status(fleet, top, left, right, bottom) == ["completed"] * 4
    assert (player.started[0], player.started[-1]) == (top, bottom)


@pytest.mark.parametrize(("otherwise", "then"), [("cancel", "cancelled"), ("run", "completed"), ("wait", "blocked")])
async def test_a_parent_that_fails_leads_to_what_the_edge_says(
    fleet: AsyncFleet, player: Player, relay: Relay, otherwise: Otherwise, then: str
) -> None:
    parent = await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[After(parent, otherwise)]))
    grandchild = await fleet.enqueue(job("other", depends_on=[child]))

    await finish(player, relay, DEFAULT, OTHER, failing=(parent,))

    assert await status(fleet, parent, child, grandchild) == ["failed", then, then]


async def test_who_waits_for_a_replay_runs_after_it(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    parent = await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[After(parent, "wait")]))
    await finish(player, relay, DEFAULT, failing=(parent,))
    await fleet.replay(parent)
    assert await status(fleet, parent, child) == ["queued", "blocked"]

    await finish(player, relay, DEFAULT)

    assert await status(fleet, parent, child) == ["completed", "completed"]


@pytest.mark.parametrize("how", ["completes", "fails", "is cancelled"])
async def test_a_parent_may_have_ended_before(fleet: AsyncFleet, player: Player, relay: Relay, how: str) -> None:
    parent = await fleet.enqueue(job())
    if how == "is cancelled":
        await fleet.cancel(parent)
    else:
        await finish(player, relay, DEFAULT, failing=(parent,) if how == "fails" else ())

    receipt = await fleet.submit(job(depends_on=[parent]))

    expected = JobStatus.QUEUED if how == "completes" else JobStatus.CANCELLED
    assert receipt.status is expected
    assert (await fleet.poll(receipt.id)).status is expected


async def test_a_cancelled_parent_cancels_the_whole_line(fleet: AsyncFleet, relay: Relay) -> None:
    line = [await fleet.enqueue(job())]
    for number in range(5):
        line.append(await fleet.enqueue(job("other" if number % 2 else "default", depends_on=[line[-1]])))

    await fleet.cancel(line[0], by="ann")
    await relay.turn()

    assert await status(fleet, *line) == ["cancelled"] * 6


async def test_an_unknown_parent_is_refused_before_anything_is_written(fleet: AsyncFleet, raw: redis.Redis) -> None:
    known = await fleet.enqueue(job())
    before = sorted(raw.keys())

    for parents in ([known, "default.0.nobody"], ["no id"]):
        with pytest.raises(UnknownParent, match="to wait for: never enqueued, or its result was deleted"):
            await fleet.enqueue(job(depends_on=parents))
    with pytest.raises(InvalidJob, match="depends_on holds 7; give ids, handles or After"):
        await fleet.enqueue(job(depends_on=[7]))

    assert sorted(raw.keys()) == before


async def test_a_repeated_enqueue_makes_no_second_job(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    parent = await fleet.enqueue(job())
    child = job(depends_on=[parent])

    receipts = [await fleet.submit(child) for _ in range(3)]
    await finish(player, relay, DEFAULT)
    receipts.append(await fleet.submit(child))

    assert [receipt.created for receipt in receipts] == [True, False, False, False]
    assert len({receipt.id for receipt in receipts}) == 1
    assert player.started.count(receipts[0].id) == 1


async def test_a_fan_in_of_hundreds_starts_after_the_last(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    parents = [receipt.id for receipt in await fleet.enqueue_many(job() for _ in range(333))]
    child = await fleet.enqueue(job(depends_on=parents))

    await finish(player, relay, DEFAULT)

    assert player.started[-1] == child
    assert len(player.started) == 334


async def test_a_fan_out_of_hundreds_is_told_page_by_page(
    fleet: AsyncFleet, player: Player, relay: Relay, raw: redis.Redis
) -> None:
    parent = await fleet.enqueue(job())
    children = [await fleet.enqueue(job(depends_on=[parent])) for _ in range(120)]

    await finish(player, relay, DEFAULT)

    assert set(await status(fleet, *children)) == {"completed"}
    assert raw.exists(DEFAULT.dependants(parent)) == 0
    assert raw.xlen(DEFAULT.outbox) == 0


def kill(patch: pytest.MonkeyPatch, store: AsyncStore, after: int) -> None:
    """Let whoever uses a store die after so many calls, also in the midst of a trip."""
    run_many, left = store.run_many, iter(range(after))

    async def mortal(calls: Sequence[Call[Any]], **options: Any) -> list[Any]:
        answers: list[Any] = []
        for call in calls:
            if next(left, None) is None:
                raise asyncio.CancelledError
            answers += await run_many((call,), **options)
        return answers

    patch.setattr(store, "run_many", mortal)


@pytest.mark.parametrize("seed", range(6))
async def test_a_relay_may_die_between_any_two_steps(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, player: Player, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(seed)
    roots = [await fleet.enqueue(job()) for _ in range(4)]
    known = list(roots)
    for _ in range(30):
        parents = dice.sample(known, k=min(len(known), dice.randint(1, 3)))
        edges = [After(parent, dice.choice(["cancel", "run"])) for parent in parents]
        known.append(await fleet.enqueue(job(dice.choice(["default", "other"]), depends_on=edges)))
    failing = tuple(dice.sample(known, k=6))
    for _ in range(400):
        for lane, job_id, token in await player.claim(DEFAULT, OTHER):
            await player.end(lane, job_id, token, fails=job_id in failing)
        mortal = Relay(store, KEYS, JobConfig(url=redis_url), Tally())
        with monkeypatch.context() as patch:
            kill(patch, mortal._store, dice.randint(1, 40))  # as a user, a duty has a store of its own
            with suppress(asyncio.CancelledError):
                while True:
                    await mortal.turn()
        if all(row.status.is_final for row in await fleet.poll_many(known) if row is not None):
            break

    ended = {row.id: row for row in await fleet.poll_many(known) if row is not None}
    assert all(row.status.is_final for row in ended.values())
    assert len(player.started) == len(set(player.started))
    assert set(player.started) == {job_id for job_id, row in ended.items() if row.status is not JobStatus.CANCELLED}


async def test_a_producer_that_dies_before_it_named_all_parents_leaves_nothing_stuck(
    fleet: AsyncFleet, relay: Relay, store: AsyncStore, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    parents = [receipt.id for receipt in await fleet.enqueue_many(job() for _ in range(60))]
    child = job(depends_on=parents)
    verb: Operation[Any] = client_flow.submit(fleet.context, child)
    calls = next(verb)
    while not any(call.script.name == "block" for call in calls):
        calls = verb.send(await store.run_many(calls))
    await store.run_many(calls)  # the first fifty are named; then the producer is gone
    verb.close()
    (stuck,) = (row.id for row in (await fleet.jobs(status=JobStatus.BLOCKED)).jobs)

    await relay.turn()
    assert await status(fleet, stuck) == ["blocked"]

    monkeypatch.setattr("jobfleet.services.duties.relay.GUARD_US", -GUARD_US)
    relay._swept = 0
    await relay.turn()
    assert await status(fleet, stuck) == ["cancelled"]


async def test_a_sweep_tells_what_no_relay_has_told(
    fleet: AsyncFleet, player: Player, relay: Relay, raw: redis.Redis
) -> None:
    parent = await fleet.enqueue(job())
    child = await fleet.enqueue(job(depends_on=[parent]))
    raw.delete(DEFAULT.watched, DEFAULT.dependants(parent))  # as if the producer had died before it said so
    for lane, job_id, token in await player.claim(DEFAULT):
        await player.end(lane, job_id, token)

    await relay.turn()

    assert await status(fleet, child) == ["queued"]


async def test_what_became_of_the_parents_lies_beside_the_child(
    fleet: AsyncFleet, player: Player, relay: Relay, store: AsyncStore
) -> None:
    parents = [await fleet.enqueue(job(queue)) for queue in ("other", "default")]
    child = await fleet.enqueue(job(depends_on=[After(parents[0], "run"), parents[1]]))

    await finish(player, relay, DEFAULT, OTHER, failing=(parents[0],))

    rows = await store.run(flow.parents(DEFAULT, child))
    assert [(row.parent, row.status) for row in rows] == [(parents[0], "failed"), (parents[1], "completed")]
    assert all(row.record for row in rows)
