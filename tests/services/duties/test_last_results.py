"""Functions with `keep_last`: the retention duty removes all results but the last ones."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
import redis

from jobfleet import AsyncFleet, Job, JobNotFound
from jobfleet.codec import encode
from jobfleet.codec.frames import seal_record
from jobfleet.functions.registry import JobDecorator, Registry
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import settle
from tests.services.duties.test_relay import DEFAULT, KEYS, OTHER, Player, player
from tests.services.keeping import (
    LONG_AGO,
    Report,
    Run,
    Turn,
    complete,
    fleet,
    indexed,
    keys_of,
    report,
    run,
    states,
    turn,
)
from tests.support.ageing import age_endings, make_due

__all__ = ["fleet", "player", "report", "run", "turn"]
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


async def test_the_last_results_stay_and_all_earlier_ones_leave_nothing(
    fleet: AsyncFleet, raw: redis.Redis, turn: Turn, run: Run, report: Report
) -> None:
    ids = await run(5)
    waiting = await fleet.enqueue(report.job(5))
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, *ids, waiting) == ["gone", "gone", "gone", "completed", "completed", "queued"]
    assert [(await fleet.poll(job_id)).result for job_id in ids[3:]] == [3, 4]
    assert [keys_of(raw, job_id) for job_id in ids[:3]] == [[], [], []]
    with pytest.raises(JobNotFound):
        await fleet.poll(ids[0])
    assert indexed(raw) == [*ids[3:], waiting]


async def test_the_last_are_those_that_ended_last_not_those_that_were_enqueued_last(
    fleet: AsyncFleet, store: AsyncStore, player: Player, raw: redis.Redis, turn: Turn, run: Run, report: Report
) -> None:
    patient = await fleet.enqueue(report.options(delay=3600).job(0))
    ids = await run(3)
    await fleet.reschedule(patient, delay=0)
    await complete(store, player)
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, patient, *ids) == ["completed", "gone", "gone", "completed"]


async def test_a_result_stays_for_ten_minutes_whatever_came_after_it(
    fleet: AsyncFleet, raw: redis.Redis, turn: Turn, run: Run
) -> None:
    early = await run(3)
    age_endings(raw, DEFAULT, LONG_AGO)
    late = await run(4)
    make_due(raw, DEFAULT)

    await turn()

    assert await states(fleet, *early, *late) == ["gone"] * 3 + ["completed"] * 4


@pytest.mark.parametrize("ends", ["cancelled", "expired"])
async def test_jobs_that_did_not_run_count_and_go_like_others(
    fleet: AsyncFleet, raw: redis.Redis, turn: Turn, player: Player, store: AsyncStore, report: Report, ends: str
) -> None:
    ids: list[str] = [await fleet.enqueue(report.job(number)) for number in range(3)]
    if ends == "cancelled":
        for job_id in ids:
            await fleet.cancel(job_id)
    else:
        for lane, job_id, token in await player.claim(DEFAULT):
            await store.run(settle.settle(lane, [settle.expire(job_id, token, ttl_ms=86_400_000)]))
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, *ids) == ["gone", ends, ends]


@pytest.mark.parametrize("published", ["nothing", "all", "no number"])
async def test_without_a_published_number_nothing_goes(
    fleet: AsyncFleet, raw: redis.Redis, turn: Turn, run: Run, registry: Registry, published: str
) -> None:
    ids = await run(4)
    raw.hdel(KEYS.functions, "app.report")
    if published != "nothing":
        number = {} if published == "all" else {"keep_last": True}
        raw.hset(KEYS.functions, "app.report", encode({"options": number}))
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, *ids) == ["completed"] * 4


async def test_another_number_holds_for_all_jobs_at_once(
    fleet: AsyncFleet, raw: redis.Redis, turn: Turn, run: Run
) -> None:
    ids = await run(4)
    raw.hset(KEYS.functions, "app.report", encode({"options": {"keep_last": 3}}))
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, *ids) == ["gone", "completed", "completed", "completed"]


async def test_each_lane_keeps_as_many(
    redis_url: str, registry: Registry, store: AsyncStore, player: Player, raw: redis.Redis, turn: Turn, report: Report
) -> None:
    lanes = [KEYS.lane("wide", index) for index in range(2)]
    async with AsyncFleet(redis_url, registry=registry, lanes={"wide": 2}) as fleet:
        ids = [await fleet.enqueue(report.options(queue="wide").job(number)) for number in range(40)]
        await complete(store, player, *lanes)
        for lane in lanes:
            age_endings(raw, lane, LONG_AGO)

        await turn()

        left = [row.id for row in await fleet.poll_many(ids) if row is not None]

    assert [sum(job_id.startswith(lane.id_prefix) for job_id in left) for lane in lanes] == [2, 2]


async def test_of_jobs_that_ended_in_the_same_moment_no_more_are_kept(
    fleet: AsyncFleet, store: AsyncStore, player: Player, raw: redis.Redis, turn: Turn, report: Report
) -> None:
    ids = sorted([await fleet.enqueue(report.job(number)) for number in range(5)])
    items = [
        settle.complete(job_id, token, record=seal_record({}), ttl_ms=86_400_000, duration_us=1)
        for _, job_id, token in await player.claim(DEFAULT)
    ]
    await store.run(settle.settle(DEFAULT, items))
    age_endings(raw, DEFAULT, LONG_AGO)

    await turn()

    assert await states(fleet, *ids) == ["gone"] * 3 + ["completed"] * 2


async def test_an_index_of_several_pages_is_trimmed_by_two_reapers_at_once(
    fleet: AsyncFleet, raw: redis.Redis, turn: Turn, run: Run, report: Report
) -> None:
    ids = await run(130)
    waiting = [await fleet.enqueue(report.job(0)) for _ in range(60)]
    age_endings(raw, DEFAULT, LONG_AGO)

    await asyncio.gather(turn(), turn())
    make_due(raw, DEFAULT)
    await turn()

    assert await states(fleet, *ids) == ["gone"] * 128 + ["completed"] * 2
    assert indexed(raw) == [*ids[-2:], *waiting]


async def test_a_move_by_a_client_that_knows_the_function_by_name_counts_as_well(
    fleet: AsyncFleet, redis_url: str, raw: redis.Redis, report: Report
) -> None:
    old = await fleet.enqueue(report.job(0))
    plain = await fleet.enqueue(Job("x", "app.other"))
    async with AsyncFleet(redis_url, registry=Registry()) as stranger:
        new = await stranger.move(old, "other")
        await stranger.move(plain, "other")

    assert indexed(raw, OTHER) == [new]


@pytest.mark.parametrize("way", ["name", "many", "cron"])
async def test_whoever_enqueues_by_name_knows_it_from_the_published_function(
    redis_url: str, raw: redis.Redis, report: Report, way: str, store: AsyncStore
) -> None:
    ids: list[str]
    async with AsyncFleet(redis_url, registry=Registry()) as stranger:
        if way == "name":
            ids = [await stranger.enqueue(Job("x", "app.report"))]
        elif way == "many":
            ids = [row.id for row in await stranger.enqueue_many([Job("x", "app.report"), Job("y", "app.report")])]
        else:
            await stranger.cron.add("nightly", "0 2 * * *", Job("x", "app.report"))
            ids = [await stranger.cron.run("nightly")]

    assert indexed(raw) == ids


async def test_forgetting_a_job_takes_it_out_of_the_index(fleet: AsyncFleet, raw: redis.Redis, run: Run) -> None:
    first, second = await run(2)

    assert await fleet.forget(first)

    assert indexed(raw) == [second]
    assert await fleet.forget(second)
    assert b"keep:app.report" not in raw.zrange(DEFAULT.indexes, 0, -1)


async def test_no_listing_shows_the_index_and_other_functions_have_none(
    fleet: AsyncFleet, raw: redis.Redis, run: Run, registry: Registry, report: Report
) -> None:
    (job_id,) = await run(1)
    plain = JobDecorator(registry)(name="app.plain")(lambda: None)
    await fleet.enqueue(plain.job())
    tagged = await fleet.enqueue(report.options(tags=["eu"]).job(0))

    assert [row.id for row in (await fleet.jobs(tags="eu")).jobs] == [tagged]
    assert (await fleet.jobs(tags="keep:app.report")).jobs == []
    details = await fleet.details(job_id)
    assert "keep_last" not in details.options
    assert sorted(cast(list[bytes], raw.keys("*index:*"))) == [
        DEFAULT.index_of("keep:app.report").encode(), DEFAULT.index_of("tag:eu").encode(),
    ]  # fmt: skip
