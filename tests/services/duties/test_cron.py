"""The cron duty: each fire once, whoever looks, whoever dies."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta
from typing import Any, cast

import pytest
import redis

from jobfleet import AsyncFleet, Cron, Job
from jobfleet.config import JobConfig
from jobfleet.cron import from_us, to_us
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import REGISTRY, JobFunction, Registry
from jobfleet.metrics.tally import Tally
from jobfleet.operations.fires import CronFire
from jobfleet.services.duties.cron import Cron as CronDuty
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import cron as calls
from jobfleet.store.calls.cron import timetable
from jobfleet.store.calls.presence import beat
from jobfleet.store.target import target
from tests.support.state import server_now

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
S = 1_000_000


class Shifted:
    """A clock that tests move: Redis's time, and how far it is ahead."""

    def __init__(self) -> None:
        self.ahead = 0

    def __call__(self, now: int) -> int:
        return now + self.ahead


@pytest.fixture
def clock() -> Shifted:
    return Shifted()


def duty(store: AsyncStore, redis_url: str, clock: Shifted) -> CronDuty:
    return CronDuty(store, JobConfig(url=redis_url), Tally(), clock=clock)


def job(**options: Any) -> Job:
    return Job("report", "test.report", (1,), **options)


async def ids(fleet: AsyncFleet) -> list[str]:
    return sorted(row.id for row in (await fleet.jobs(limit=1000)).jobs)


def outcomes(history: list[CronFire]) -> list[str]:
    return [fire.outcome for fire in reversed(history)]


async def test_each_fire_is_one_job_though_ten_look_and_some_die(
    fleet: AsyncFleet, redis_url: str, clock: Shifted, raw: redis.Redis
) -> None:
    """40 seconds go by in steps, ten duties look at once, and each is cancelled at random in the middle of it."""
    dice = random.Random(4)
    await fleet.cron.add("tick", "* * * * * *", job())
    since = from_us(server_now(raw))
    stores = [AsyncStore(target(redis_url)) for _ in range(10)]
    for second in range(1, 41):
        clock.ahead = second * S
        turns = [asyncio.ensure_future(duty(store, redis_url, clock).turn()) for store in stores]
        for _ in range(dice.randrange(30)):
            await asyncio.sleep(0)
        for turn in dice.sample(turns, 5):
            turn.cancel()
        await asyncio.gather(*turns, return_exceptions=True)
    await duty(stores[0], redis_url, clock).turn()
    for store in stores:
        await store.close()

    history = await fleet.cron.history("tick", limit=1000)
    fired = sorted(fire.at for fire in history)
    assert len(fired) == len(set(fired)) >= 38
    assert all(later - earlier == timedelta(seconds=1) for earlier, later in itertools.pairwise(fired))
    assert fired[0] - since <= timedelta(seconds=3)
    assert set(outcomes(history)) == {"fired"}
    assert sorted(fire.job_id or "" for fire in history) == await ids(fleet)


async def test_the_job_knows_the_time_it_stands_for(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, raw: redis.Redis
) -> None:
    from jobfleet.codec import read_header

    await fleet.cron.add("tick", "* * * * * *", job(tags=["eu"]))
    clock.ahead = 2 * S
    await duty(store, redis_url, clock).turn()

    fire = (await fleet.cron.history("tick"))[0]
    envelope = raw.get(fleet.context.keys.lane("default", 0).job(str(fire.job_id)))
    header = read_header(envelope)  # type: ignore[arg-type]
    assert (header["nominal"], header["tags"]) == (to_us(fire.at), ["eu"])


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [("once", ["skipped", "skipped", "late"]), ("skip", ["skipped"] * 3), ("all", ["late"] * 3)],
)
async def test_after_an_outage_the_misfire_policy_decides(
    fleet: AsyncFleet,
    store: AsyncStore,
    redis_url: str,
    clock: Shifted,
    raw: redis.Redis,
    misfire: str,
    expected: list[str],
) -> None:
    minute = server_now(raw) // (60 * S)
    minutes = ",".join(str((minute + later) % 60) for later in (10, 20, 30))  # none while the test begins
    await fleet.cron.add("tick", Cron(f"{minutes} * * * *", misfire=misfire), job())
    now, _ = await first_turn(store, redis_url, clock)
    clock.ahead = (minute + 31) * 60 * S - now

    await duty(store, redis_url, clock).turn()

    assert outcomes(await fleet.cron.history("tick")) == expected
    assert len(await ids(fleet)) == expected.count("late")


async def test_many_skipped_fires_are_one_line(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, caplog: pytest.LogCaptureFixture
) -> None:
    await fleet.cron.add("tick", Cron("* * * * * *", misfire="skip"), job())
    await first_turn(store, redis_url, clock)
    clock.ahead = 65 * S

    await duty(store, redis_url, clock).turn()

    skipped = outcomes(await fleet.cron.history("tick", limit=100)).count("skipped")
    (line,) = [one.getMessage() for one in caplog.records if one.getMessage().startswith("cron.skipped")]
    assert skipped > 1
    assert line.endswith(f" fires={skipped}")


@pytest.mark.parametrize("is_fresh", [False, True], ids=["the same reaper", "another reaper"])
async def test_an_entry_fires_again_when_due_after_the_clock_has_stepped_back(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, raw: redis.Redis, is_fresh: bool
) -> None:
    await fleet.cron.add("tick", Cron("* * * * * *", misfire="skip"), job())
    reapers = [duty(store, redis_url, clock) for _ in range(2)]

    async def fires() -> list[str]:
        """Let the clock go on until two more jobs are there."""
        before = len(await ids(fleet))
        for _ in range(50):
            for one in reapers:
                await one.turn()
            if len(found := await ids(fleet)) >= before + 2:
                return found
            clock.ahead += S // 5
        raise AssertionError(f"{len(found) - before} have fired")

    clock.ahead = 600 * S
    await fires()
    clock.ahead = 0
    if is_fresh:
        reapers = [duty(store, redis_url, clock) for _ in range(2)]
    await fires()
    clock.ahead = 600 * S - S
    found = await fires()

    assert int(cast("bytes", raw.hget("{jobfleet:default:0}:totals", "enqueued"))) == len(found), "none fired twice"


async def first_turn(store: AsyncStore, redis_url: str, clock: Shifted) -> tuple[int, CronDuty]:
    made = duty(store, redis_url, clock)
    await made.turn()
    from jobfleet.store.calls.cron import entries
    from jobfleet.store.keys import Keyspace

    now, _ = await store.run(entries(Keyspace("jobfleet")))
    return now, made


@pytest.mark.parametrize(
    ("overlap", "expected"), [("allow", ["fired", "fired"]), ("skip", ["fired", "overlapped"]), ("queue", ["fired"])]
)
async def test_while_the_last_job_is_open_the_overlap_policy_decides(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, overlap: str, expected: list[str]
) -> None:
    await fleet.cron.add("tick", Cron("* * * * * *", overlap=overlap), job())
    made = duty(store, redis_url, clock)
    clock.ahead = 1 * S
    while not await fleet.cron.history("tick"):
        await made.turn()
        clock.ahead += S // 10
    clock.ahead += S
    await made.turn()

    assert outcomes(await fleet.cron.history("tick"))[:2] == expected
    if overlap == "queue":
        first = (await fleet.cron.history("tick"))[0]
        await fleet.cancel(str(first.job_id))
        await made.turn()
        assert outcomes(await fleet.cron.history("tick"))[:2] == ["fired", "fired"]


async def test_a_paused_entry_does_not_fire_and_what_was_planned_is_let_go(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted
) -> None:
    await fleet.cron.add("tick", "* * * * * *", job())
    assert await fleet.cron.pause("tick", by="ann") is True
    clock.ahead = 5 * S
    made = duty(store, redis_url, clock)
    await made.turn()
    paused = (await fleet.cron())[0]

    clock.ahead = 0
    assert await fleet.cron.resume("tick") is True
    await made.turn()

    assert (paused.paused, paused.next) == ("ann", None)
    assert await ids(fleet) == []


async def test_a_reaper_calls_nothing_of_the_users_for_what_it_enqueues(
    fleet: AsyncFleet,
    store: AsyncStore,
    redis_url: str,
    clock: Shifted,
    raw: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry = Registry()
    made: JobFunction[..., Any, Any] = registry.register(nightly, name="test.nightly", cron="* * * * * *")
    published = {"test.nightly": function_record(made)}
    await store.run(beat(fleet.context.keys, "w", account=b"", gone_us=S, functions=published))
    await fleet.cron.add("tick", "* * * * * *", job())
    passed: list[Job] = []
    monkeypatch.setattr(REGISTRY.hooks, "around_enqueues", [passed.append])
    reaper = duty(store, redis_url, clock)
    await reaper.turn()
    clock.ahead = 2 * S
    await reaper.turn()

    assert {row.function for row in (await fleet.jobs(limit=10)).jobs} == {"test.nightly", "test.report"}
    assert passed == []


async def test_a_decorated_function_is_kept_paused_and_orphaned(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, raw: redis.Redis
) -> None:
    registry = Registry()
    made: JobFunction[..., Any, Any] = registry.register(
        nightly, name="test.nightly", cron="0 2 * * *", tz="Europe/Berlin", queue="night"
    )
    published = {"test.nightly": function_record(made)}
    await store.run(beat(fleet.context.keys, "w", account=b"", gone_us=S, functions=published))
    await duty(store, redis_url, clock).turn()
    kept = (await fleet.cron())[0]
    assert (kept.name, kept.queue, kept.origin, kept.cron.tz) == ("test.nightly", "night", "decorator", "Europe/Berlin")
    assert kept.is_orphaned is False

    with pytest.raises(ValueError, match="pause it, or remove the decorator"):
        await fleet.cron.remove("test.nightly")
    await fleet.cron.pause("test.nightly", by="ann")
    await duty(store, redis_url, clock).turn()
    assert (await fleet.cron())[0].paused == "ann"

    raw.delete(fleet.context.keys.functions)
    assert (await fleet.cron())[0].is_orphaned is True
    await fleet.cron.remove("test.nightly")
    assert await fleet.cron() == []


async def nightly() -> None:
    """Nothing."""


async def test_an_entry_whose_times_change_begins_anew(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted
) -> None:
    await fleet.cron.add("tick", "* * * * * *", job())
    made = duty(store, redis_url, clock)
    clock.ahead = 2 * S
    await made.turn()
    before = len(await ids(fleet))

    word = await fleet.cron.add("tick", "0 0 1 1 *", job(), replace=True)
    clock.ahead = 5 * S
    await made.turn()

    assert word == "changed"
    assert len(await ids(fleet)) == before


async def test_when_entries_fire_is_known_though_the_former_revision_has_written_them(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, raw: redis.Redis
) -> None:
    keys = fleet.context.keys
    for name in ("changed", "removed", "added"):
        await fleet.cron.add(name, "@daily", job())
    times = (await store.run(timetable(keys)))[1]
    raw.hset(keys.cron_times, "changed", "1\nof before")
    raw.hdel(keys.cron_times, "added")
    raw.hdel(keys.cron, "removed")

    await duty(store, redis_url, clock).turn()

    assert (await store.run(timetable(keys)))[1] == [one for one in times if one.name != "removed"]


async def test_a_removed_entry_leaves_nothing_but_its_jobs(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, raw: redis.Redis
) -> None:
    await fleet.cron.add("tick", "* * * * * *", job())
    clock.ahead = 2 * S
    await duty(store, redis_url, clock).turn()

    await fleet.cron.remove("tick")

    names = [str(name, "utf-8") for pattern in ("*cron*", "*fired*") for name in raw.scan_iter(pattern)]
    left = {name.partition("}:")[2].partition(":")[0] for name in names}
    assert left <= {"job"}


class Overtaken(CronDuty):
    """A duty beside which something happens after it has read the entries, and before it fires."""

    meanwhile: Callable[[], Awaitable[object]] | None = None

    async def _fire_all(self, names: Iterable[str], now: datetime) -> None:
        if self.meanwhile is not None:
            await self.meanwhile()
            self.meanwhile = None
        await super()._fire_all(names, now)


@pytest.mark.parametrize("is_known", [False, True])
async def test_a_fire_after_its_entry_was_removed_leaves_no_mark(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, raw: redis.Redis, is_known: bool
) -> None:
    """The duty may be the last one that knows the entry: another process may take over right after this turn."""
    made = Overtaken(store, JobConfig(url=redis_url), Tally(), clock=clock)
    await fleet.cron.add("tick", "* * * * * *", job())
    if is_known:
        await made.turn()
    clock.ahead = 4 * S
    made.meanwhile = lambda: fleet.cron.remove("tick")

    await made.turn()

    assert len(await ids(fleet)) == 1  # not that of each second
    assert list(raw.scan_iter("*fired*")) == []


@pytest.mark.parametrize("is_moved", [False, True])
async def test_the_mark_of_an_entry_that_was_half_removed_or_moved_goes_with_the_next_turn(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, raw: redis.Redis, is_moved: bool
) -> None:
    await fleet.cron.add("tick", "* * * * * *", job())
    made = duty(store, redis_url, clock)
    clock.ahead = 2 * S
    await made.turn()
    assert raw.hkeys(fleet.context.keys.lane("default", 0).fired) == [b"tick"]

    if is_moved:
        await fleet.cron.add("tick", "@yearly", job(queue="other"), replace=True)
    else:
        await store.run(calls.remove(fleet.context.keys, "tick"))  # its operator dies before it deletes the mark
    await made.turn()

    assert list(raw.scan_iter("*fired*")) == []


async def test_an_entry_that_cannot_be_read_stops_no_other(
    fleet: AsyncFleet, store: AsyncStore, redis_url: str, clock: Shifted, raw: redis.Redis
) -> None:
    await fleet.cron.add("tick", "* * * * * *", job())
    raw.hset(fleet.context.keys.cron, "broken", b"17 abc\n\xff")
    clock.ahead = 2 * S

    await duty(store, redis_url, clock).turn()

    assert len(await ids(fleet)) >= 1
