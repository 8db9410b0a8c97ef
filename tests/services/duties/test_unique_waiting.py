"""Unique keys of jobs that wait for others, and of recurring ones: held while they wait, free by every exit."""

from __future__ import annotations

from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Cron, DuplicateJob, InvalidJob, Job, JobStatus
from jobfleet.config import JobConfig
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.cron import Cron as CronDuty
from jobfleet.services.duties.relay import GUARD_US, Relay
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import settle
from jobfleet.store.calls.cron import entries
from jobfleet.store.calls.presence import beat
from tests.services.duties.test_cron import S, outcomes
from tests.services.duties.test_relay import DEFAULT, KEYS, OTHER, Player, finish, job, player, relay, status

__all__ = ["player", "relay"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


def keyed(**options: Any) -> Job:
    return job(unique="sum-{0}", **options)


async def waiting(fleet: AsyncFleet, **options: Any) -> tuple[str, str]:
    """A parent, and a job with a key that waits for it."""
    parent = await fleet.enqueue(job("other"))
    return parent, (await fleet.submit(keyed(depends_on=[parent], **options))).id


class Still:
    """A clock that stands, but for what a test moves it: seconds since the last entry was added."""

    def __init__(self) -> None:
        self.begin = self.ahead = 0

    def __call__(self, now: int) -> int:
        return self.begin + self.ahead if self.begin else now

    async def start(self, store: AsyncStore) -> None:
        _, rows = await store.run(entries(KEYS))
        self.begin = max(row.since for row in rows) // S * S


@pytest.fixture
def clock() -> Still:
    return Still()


def duty(store: AsyncStore, redis_url: str, clock: Still) -> CronDuty:
    return CronDuty(store, JobConfig(url=redis_url), Tally(), clock=clock)


def is_free(raw: redis.Redis) -> bool:
    return not raw.exists(DEFAULT.unique, DEFAULT.meta, DEFAULT.locks)


async def test_a_job_that_waits_holds_its_key_until_it_has_ended(
    fleet: AsyncFleet, player: Player, relay: Relay, raw: redis.Redis
) -> None:
    parent, child = await waiting(fleet)

    plain = await fleet.submit(keyed())
    other = await fleet.submit(keyed(depends_on=[parent]))
    assert [(one.created, one.id, one.status) for one in (plain, other)] == [(False, child, JobStatus.BLOCKED)] * 2
    with pytest.raises(DuplicateJob, match=child):
        await fleet.submit(keyed(depends_on=[parent], on_conflict="raise"))
    await finish(player, relay, DEFAULT, OTHER)

    assert player.started == [parent, child]
    assert is_free(raw)
    assert (await fleet.submit(keyed(depends_on=[parent]))).created


async def test_a_key_while_queued_is_held_until_it_is_claimed(
    fleet: AsyncFleet, player: Player, relay: Relay, raw: redis.Redis
) -> None:
    parent, child = await waiting(fleet, unique_for="queued")
    [(lane, job_id, token)] = await player.claim(OTHER)
    await player.end(lane, job_id, token)
    await relay.turn()
    assert not (await fleet.submit(keyed())).created

    assert [job_id for _, job_id, _ in await player.claim(DEFAULT)] == [child]

    assert (await fleet.submit(keyed())).created
    assert parent == job_id


@pytest.mark.parametrize("exit_", ["parent fails", "cancelled", "expires", "producer dies", "replaced"])
async def test_every_exit_of_one_that_waits_frees_its_key(
    fleet: AsyncFleet,
    store: AsyncStore,
    player: Player,
    relay: Relay,
    raw: redis.Redis,
    exit_: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    parent, child = await waiting(fleet, expires_in=3600)
    if exit_ == "parent fails":
        await finish(player, relay, OTHER, failing=(parent,))
    elif exit_ == "cancelled":
        await fleet.cancel(child)
    elif exit_ == "expires":
        raw.zadd(DEFAULT.expiry, {child: 1})
        item = settle.expire(child, 0, ttl_ms=1000, guard=settle.STILL_WAITING)
        await store.run(settle.settle(DEFAULT, [item]))
    elif exit_ == "producer dies":
        raw.hset(DEFAULT.parents(child), mapping={":guard": "?c 0", ":open": 2})
        monkeypatch.setattr("jobfleet.services.duties.relay.GUARD_US", -GUARD_US)  # much later
        await relay.turn()
    else:
        newer = await fleet.submit(keyed(on_conflict="replace"))
        assert newer.created
        assert (await fleet.poll(child)).error == f"replaced by {newer.id}"
        await finish(player, relay, DEFAULT)
    assert (await fleet.poll(child)).status.is_final

    assert is_free(raw)
    await finish(player, relay, DEFAULT, OTHER)
    assert player.started.count(child) == 0


async def test_a_job_that_waits_for_others_displaces_nobody_and_is_not_put_off(fleet: AsyncFleet) -> None:
    parent, child = await waiting(fleet)

    for rule in ("replace", "debounce"):
        with pytest.raises(InvalidJob, match=f"on_conflict='{rule}' is not for a job that waits for others; use"):
            await fleet.submit(keyed(depends_on=[parent], on_conflict=rule, delay=5))
    with pytest.raises(DuplicateJob, match=f"{child} holds the unique key and waits for other jobs, so it cannot be"):
        await fleet.submit(keyed(on_conflict="debounce", delay=5))

    assert await status(fleet, child) == ["blocked"]


async def test_a_repeated_enqueue_is_no_conflict_with_itself(fleet: AsyncFleet, player: Player, relay: Relay) -> None:
    parent = await fleet.enqueue(job("other"))
    child = keyed(depends_on=[parent])

    receipts = [await fleet.submit(child) for _ in range(2)]
    await finish(player, relay, DEFAULT, OTHER)
    receipts.append(await fleet.submit(child))

    assert [one.created for one in receipts] == [True, False, False]
    assert len({one.id for one in receipts}) == 1


async def test_fires_of_one_key_do_not_overlap(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Still, player: Player
) -> None:
    reaper = duty(store, redis_url, clock)
    holder = await fleet.submit(Job("sum", "test.add", (1,), unique="sum-{0}", delay=3600))
    await fleet.cron.add("tick", "* * * * * *", Job("tick", "test.add", (1,), unique="sum-{0}"))
    await clock.start(store)
    for second in (1, 2):
        clock.ahead = second * S
        await reaper.turn()
    with pytest.raises(DuplicateJob, match=f"tick was not run: {holder.id} holds its unique key; it is scheduled"):
        await fleet.cron.run("tick")
    await fleet.cancel(holder.id)
    for second in (3, 4):
        clock.ahead = second * S
        await reaper.turn()

    history = await fleet.cron.history("tick")
    assert outcomes(history) == ["overlapped", "overlapped", "fired", "overlapped"]
    fired = history[1].job_id
    assert [fire.job_id for fire in reversed(history)] == [holder.id, holder.id, fired, fired]
    assert not (await fleet.submit(Job("sum", "test.add", (1,), unique="sum-{0}"))).created


async def test_a_fire_that_queues_comes_when_the_key_is_free(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Still
) -> None:
    reaper = duty(store, redis_url, clock)
    holder = await fleet.submit(Job("sum", "test.add", (1,), unique="sum-{0}", delay=3600))
    await fleet.cron.add("tick", Cron("* * * * * *", overlap="queue"), Job("tick", "test.add", (1,), unique="sum-{0}"))
    await clock.start(store)
    clock.ahead = S
    await reaper.turn()
    assert await fleet.cron.history("tick") == []

    await fleet.cancel(holder.id)
    await reaper.turn()

    assert outcomes(await fleet.cron.history("tick")) == ["fired"]


async def test_a_decorated_function_s_key_holds_its_fires_apart(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Still
) -> None:
    def tick(n: int = 7) -> None: ...

    made = Registry().register(
        tick, name="test.tick", cron="* * * * * *", unique="tick-{n}", on_conflict="replace", result_ttl=900
    )
    record = function_record(made)
    await store.run(beat(KEYS, "w", account=b"", gone_us=60 * S, functions={"test.tick": record}))
    reaper = duty(store, redis_url, clock)
    await reaper.turn()
    await clock.start(store)
    for second in (1, 2):
        clock.ahead = second * S
        await reaper.turn()

    assert outcomes(await fleet.cron.history("test.tick")) == ["fired", "overlapped"]
    (row,) = (await fleet.jobs()).jobs
    assert row.unique == "tick-7"


async def test_a_recurring_job_displaces_nobody(fleet: AsyncFleet) -> None:
    for rule in ("replace", "debounce"):
        recurring = Job("tick", "test.add", (1,), unique="k", on_conflict=rule)
        with pytest.raises(InvalidJob, match=f"on_conflict='{rule}' is not for a recurring job; use"):
            await fleet.cron.add("tick", "* * * * *", recurring)

    assert await fleet.cron() == []


async def test_in_many_lanes_a_key_is_one_place_for_fires_and_producers(
    redis_url: str, store: AsyncStore, clock: Still, raw: redis.Redis
) -> None:
    config = JobConfig(url=redis_url, lanes={"wide": 4})
    reaper = CronDuty(store, config, Tally(), clock=clock)
    async with AsyncFleet(redis_url, lanes="wide=4") as fleet:
        for name in "abcd":
            await fleet.cron.add(name, "* * * * * *", Job("tick", "test.add", (1,), queue="wide", unique="once"))
        await clock.start(store)
        clock.ahead = S
        await reaper.turn()

        words = [outcomes(await fleet.cron.history(name)) for name in "abcd"]
        assert all(words)
        assert sum(word.count("fired") for word in words) == 1
        assert not (await fleet.submit(Job("tick", "test.add", (1,), queue="wide", unique="once"))).created


async def test_an_entry_whose_place_changes_begins_anew(fleet: AsyncFleet, store: AsyncStore) -> None:
    """Its mark stands elsewhere; what was fired from there is not to be fired again."""
    begins = []
    changes: list[dict[str, Any]] = [
        {},
        {"priority": 1},
        {"unique": "x"},
        {"unique": "x", "tags": ("t",)},
        {"group": "g"},
        {"queue": "other"},
    ]
    for options in changes:
        await fleet.cron.add("tick", "@daily", job(**{"queue": "default", **options}), replace=True)
        _, (row,) = await store.run(entries(KEYS))
        begins.append(row.since)

    assert begins[0] == begins[1] < begins[2] == begins[3] < begins[4] < begins[5]
