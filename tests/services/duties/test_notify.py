"""The notify duty: each event reaches each channel that a rule names, once for all reapers, whoever dies."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import suppress
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Job
from jobfleet.codec.frames import seal_record
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties import notify
from jobfleet.services.duties.cron import Cron as CronDuty
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import cron, settle
from jobfleet.store.calls.limits import LOOKED
from tests.services.telling import KEYS, LANE, Made, Recorder, begin, bring, fail, failing, make_due
from tests.support.state import server_now
from tests.support.waiting import await_until

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


async def test_a_failure_is_told_at_once_with_all_that_is_known(
    store: AsyncStore, fleet: AsyncFleet, duty: Made
) -> None:
    channel = Recorder()
    one = duty(channel)
    await one.turn()

    (job_id,) = await fail(store, fleet)
    await bring(one)

    (told,) = channel.sent
    assert (told.event, told.count, told.attempt, told.namespace, told.channel) == ("failed", 1, 1, "jobfleet", "ops")
    notice = told.notice
    assert (notice.job_id, notice.queue, notice.function, notice.name) == (job_id, "mail", "mail.send", "greet")
    assert (notice.user, notice.tags, notice.attempt) == ("ann", ("urgent",), 4)
    assert (notice.error_class, notice.error) == ("ConnectionError", "refused")


async def test_the_first_is_told_at_once_and_the_rest_when_the_window_ends(
    store: AsyncStore, fleet: AsyncFleet, duty: Made, raw: redis.Redis
) -> None:
    channel = Recorder()
    one = duty(channel)
    await one.turn()

    first, *_ = await fail(store, fleet, 50)
    for number in range(7):
        await fail(store, fleet, 50, error=f"refused by 10.0.0.{number} after {number} s")
        await fail(store, fleet, 1, kind="KeyError", error="'price'")
    await bring(one)
    kinds = dict(zip(("refused", "by", "key"), channel.sent, strict=True))
    assert [told.count for told in channel.sent] == [1, 1, 1]
    assert kinds["refused"].notice.job_id == first

    keys = KEYS.channel("ops")
    make_due(raw, keys.windows)
    await bring(one)

    assert sorted(told.count for told in channel.sent[3:]) == [6, 49, 349]
    assert {told.fingerprint for told in channel.sent[3:]} == {told.fingerprint for told in kinds.values()}
    assert len({told.id for told in channel.sent}) == 6


async def test_every_event_that_a_rule_names_is_told(store: AsyncStore, fleet: AsyncFleet, duty: Made) -> None:
    channel = Recorder()
    one = duty(channel, events=("retried", "completed", "cancelled", "parked", "replayed", "failed"), window=0)
    await one.turn()

    begun = await begin(store, fleet, 5)
    (a, b, c, d, e) = begun
    tries = "1:0:0:0:0\n1 1700000000000000 ConnectionError: refused"
    parked = "0:0:0:1700000000000000:0\n1 1700000000000000 no worker knows 'mail.send'"
    items: list[settle.Item] = [
        settle.retry(*a, delay_us=60_000_000, tries=tries),
        settle.complete(*b, record=seal_record({"function": "mail.send"}), ttl_ms=60_000, duration_us=1),
        settle.park(*c, delay_us=60_000_000, tries=parked),
        failing(*d),
        settle.release(*e),
    ]
    await store.run(settle.settle(LANE, items))
    await fleet.cancel(e[0], by="bob")
    await fleet.replay(d[0])
    await bring(one)

    told = {(row.event, row.notice.job_id): row.notice for row in channel.sent}
    assert set(told) == {
        ("retried", a[0]), ("completed", b[0]), ("parked", c[0]), ("failed", d[0]), ("replayed", d[0]),
        ("cancelled", e[0]),
    }  # fmt: skip
    retried, cancelled = told["retried", a[0]], told["cancelled", e[0]]
    assert (retried.error_class, retried.error, retried.attempt) == ("ConnectionError", "refused", 1)
    assert retried.retry_at_us > retried.at_us
    assert told["parked", c[0]].error == "no worker knows 'mail.send'"
    assert cancelled.error == "by bob"
    assert all(notice.user == "ann" for notice in told.values())


async def test_what_happened_first_is_told_first(store: AsyncStore, fleet: AsyncFleet, duty: Made) -> None:
    channel = Recorder()
    one = duty(channel, window=0)
    await one.turn()
    ids = await fail(store, fleet, 40)

    await bring(one)

    assert [told.notice.job_id for told in channel.sent] == ids


async def test_two_reapers_tell_each_failure_once(store: AsyncStore, fleet: AsyncFleet, duty: Made) -> None:
    channel = Recorder()
    both = [duty(channel, window=0), duty(channel, window=0)]
    for one in both:
        await one.turn()
        one.start()

    ids = [job_id for _ in range(6) for job_id in await fail(store, fleet, 20)]

    async def is_told() -> bool:
        return len(channel.sent) >= len(ids)

    await await_until(is_told, timeout=60, why="all failures are told")
    await asyncio.gather(*(one.stop() for one in both))
    assert sorted(told.notice.job_id for told in channel.sent) == sorted(ids)
    assert len({told.id for told in channel.sent}) == len(ids)


@pytest.mark.parametrize("window", [0, 300])
async def test_a_reaper_may_die_between_any_two_steps(
    window: float, store: AsyncStore, fleet: AsyncFleet, duty: Made, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = Recorder()
    await duty(channel, window=window).turn()
    ids = await fail(store, fleet, 12)
    steps = itertools.count()

    for lives in itertools.count(1):
        left = iter(range(lives))
        one = duty(channel, window=window)
        exchange = one._store.link.exchange

        async def mortal(commands: Any, left: Any = left, exchange: Any = exchange) -> Any:
            if next(left, None) is None:
                raise asyncio.CancelledError
            next(steps)
            replies = await exchange(commands)
            if next(left, None) is None:  # what was done is done, and nobody hears of it
                raise asyncio.CancelledError
            return replies

        one._journal._take_over_ms = 0
        with monkeypatch.context() as patch, suppress(asyncio.CancelledError):
            patch.setattr(one._store.link, "exchange", mortal)
            await bring(one)
            break
        make_due(raw, KEYS.channel("ops").due)  # the leases of the dead run out

    assert lives > 10
    make_due(raw, KEYS.channel("ops").windows)
    await bring(one)

    counts = {told.id: told.count for told in channel.sent}  # a repetition has the id of what it repeats
    assert sorted(counts.values()) == ([1] * len(ids) if window == 0 else [1, len(ids) - 1])
    if window == 0:
        assert {told.notice.job_id for told in channel.sent} == set(ids)
    assert raw.hlen(KEYS.channel("ops").held) == 0


async def test_what_has_been_taken_in_is_let_go_from_the_journal(
    store: AsyncStore, fleet: AsyncFleet, duty: Made, raw: redis.Redis
) -> None:
    one = duty(Recorder())
    await one.turn()
    await fail(store, fleet, 20)
    assert raw.xlen(LANE.journal) > 0

    await bring(one)
    one._trimmed = float("-inf")
    await one.turn()

    assert raw.xlen(LANE.journal) == 0


async def test_a_fire_that_was_missed_is_told_once(store: AsyncStore, duty: Made, raw: redis.Redis) -> None:
    channel = Recorder()
    one = duty(channel, events=["missed"])
    await store.run(cron.add(KEYS, "nightly", "f", b""))
    now = server_now(raw)
    notes = [
        (now - 60_000_000, "fired a.0.b 1"),
        (now - 30_000_000, "missed - 1"),
        (now - 7 * 86_400_000_000, "missed - 1"),
    ]
    await store.run(cron.ledger(KEYS, "nightly", notes))

    await bring(one)
    one._looked_at_cron = float("-inf")
    await bring(one)
    other = duty(channel, events=["missed"])
    await bring(other)

    assert channel.told == [("missed", "nightly", 1)]


async def test_what_the_cron_duty_finds_missed_after_an_outage_is_told(
    store: AsyncStore, fleet: AsyncFleet, duty: Made, redis_url: str
) -> None:
    channel = Recorder()
    one = duty(channel, events=["missed"], functions=["hourly"])
    await fleet.cron.add("hourly", "0 * * * *", Job("report", "test.report"))
    await CronDuty(store, JobConfig(url=redis_url), Tally(), clock=lambda now: now + 3 * 86_400_000_000).turn()

    await bring(one)

    assert channel.told == [("missed", "hourly", 1)]


async def test_a_breaker_that_opens_is_told_once_with_its_reason(fleet: AsyncFleet, duty: Made) -> None:
    channel = Recorder()
    one = duty(channel, events=("breaker",), window=0)
    await fleet.breakers.open("function:mail.send", reason="12 of 20 runs failed", by="ann")
    await one.turn()
    await bring(one)

    (told,) = channel.sent
    notice = told.notice
    assert (notice.event, notice.job_id, notice.function) == ("breaker", "function:mail.send", "mail.send")
    assert (notice.user, notice.error) == ("ann", "12 of 20 runs failed")
    other = duty(Recorder(), events=("breaker",), window=0)
    await other.turn()
    await bring(other)
    assert len(channel.sent) == 1


async def test_looks_at_breakers_read_one_page_of_those_that_were_used_since_the_last_look(
    fleet: AsyncFleet, duty: Made, raw: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "LOOK_AT_BREAKERS", 0.0)
    channel = Recorder()
    one = duty(channel, events=("breaker",), window=0)
    gates = fleet.context.keys.gates
    raw.zadd(gates, {f"breaker:group:mail:{number}": 1e15 + number for number in range(2 * LOOKED)})
    await fleet.breakers.open("function:first", by="ann")
    await one.turn()
    raw.zadd(gates, {f"breaker:group:mail:{number}": server_now(raw) for number in range(2 * LOOKED)})
    await fleet.breakers.open("function:then", 60, by="ann")

    before, _ = raw.info("commandstats")["cmdstat_hmget"]["calls"], await one.turn()
    read = raw.info("commandstats")["cmdstat_hmget"]["calls"] - before

    assert 0 < read <= LOOKED + 10
    await bring(one)
    assert [told.notice.job_id for told in channel.sent] == ["function:first", "function:then"]
