"""Finding jobs by tag, user and session, over queues and lanes and whatever became of them."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, Fleet, Job, JobResult, JobStatus
from jobfleet.config import JobConfig
from jobfleet.errors import ConfigError
from jobfleet.functions.registry import Registry
from jobfleet.metrics.tally import Tally
from jobfleet.services.duties.retention import Retention
from jobfleet.store.aio import AsyncStore
from jobfleet.store.keys import Keyspace
from jobfleet.store.target import target
from tests.client.conftest import Work
from tests.client.either import Either, finished
from tests.support.each import each

KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)


def ids(rows: Iterable[JobResult[Any]]) -> list[str]:
    return [row.id for row in rows]


async def pages(client: Either, limit: int, **chosen: Any) -> list[list[str]]:
    """All pages of a listing, as ids."""
    found, cursor = [], ""
    while True:
        page = await client("jobs", limit=limit, cursor=cursor, **chosen)
        found.append(ids(page.jobs))
        cursor = page.cursor
        if not cursor:
            return found


async def test_jobs_are_found_wherever_they_stand_the_newest_first(client: Either, work: Work) -> None:
    done = await client("enqueue", Job("x", "app.add", (1, 2), user="ann", session="s1", tags=("eu",)))
    failed = await client("enqueue", Job("x", "app.fail", ("no",), user="ann", session="s1"))
    await work()
    waits = await client("enqueue", Job("x", "app.add", (1, 2), user="ann", session="s2", tags=("eu", "big")))
    later = await client("enqueue", Job("x", "app.add", (1, 2), user="ann", delay=3600, queue="other"))
    gone = await client("enqueue", Job("x", "app.add", (1, 2), user="ann"))
    await client("cancel", gone)
    await client("enqueue", Job("x", "app.add", (1, 2), user="bob", tags=("us",)))
    await client("enqueue", Job("x", "app.add", (1, 2)))

    async def found(**chosen: Any) -> list[str]:
        return ids((await client("jobs", **chosen)).jobs)

    assert await found(user="ann") == [gone, later, waits, failed, done]
    assert await found(tags="eu") == [waits, done]
    assert await found(tags=["eu", "big"]) == [waits]
    assert await found(session="s1") == [failed, done]
    assert await found(user="ann", session="s2") == [waits]
    assert await found(user="ann", status=JobStatus.FAILED) == [failed]
    assert await found(user="ann", queue="other") == [later]
    assert await found(user="ann", function="app.fail") == [failed]
    assert await found(user="nobody") == []
    (first,) = (await client("jobs", session="s2")).jobs
    assert (first.session, first.user, first.tags) == ("s2", "ann", ("eu", "big"))
    (last, *_) = (await client("jobs", user="ann", status=JobStatus.COMPLETED)).jobs
    assert (last.id, last.session) == (done, "s1")


@pytest.mark.parametrize("limit", [1, 7, 50, 200])
async def test_pages_bring_each_job_once_over_queues_and_lanes(redis_url: str, registry: Registry, limit: int) -> None:
    async with AsyncFleet(redis_url, registry=registry, lanes={"wide": 5}) as fleet:
        client = Either(fleet)
        jobs = [Job("x", "app.add", (1, 2), tags=("eu",), queue=("wide", "slim")[n % 3 == 0]) for n in range(160)]
        sent = [receipt.id for receipt in await client.all("enqueue_many", jobs)]

        found = await pages(client, limit, tags="eu")

    assert sorted(job_id for page in found for job_id in page) == sorted(sent)
    assert [len(page) for page in found[:-1]] == [limit] * (len(found) - 1)
    assert len({job_id.rpartition(".")[0] for job_id in sent}) == 6


async def test_order_is_that_of_enqueueing_over_all_lanes(redis_url: str, registry: Registry) -> None:
    async with AsyncFleet(redis_url, registry=registry, lanes={"wide": 4}) as fleet:
        sent = [await fleet.enqueue(Job("x", "app.add", (1, 2), user="ann", queue="wide")) for _ in range(60)]

        found = await pages(Either(fleet), 13, user="ann")

    assert [job_id for page in found for job_id in page] == sent[::-1]


@pytest.fixture
def crowd(redis_url: str, registry: Registry, raw: redis.Redis) -> redis.Redis:
    """Ten jobs of ann among ten thousand of all."""
    chosen = set(random.Random(7).sample(range(10_000), 10))
    jobs = [Job("x", "app.add", (1, 2), user="ann" if n in chosen else None, tags=("all",)) for n in range(10_000)]
    with Fleet(redis_url, registry=registry) as fleet:
        assert all(receipt.created for receipt in fleet.enqueue_many(jobs))
    return raw


async def test_ten_among_ten_thousand_are_found_without_looking_at_the_others(
    client: Either, crowd: redis.Redis
) -> None:
    await client("jobs", user="ann")  # connects, loads the scripts

    before = _processed(crowd)
    page = await client("jobs", user="ann")
    taken = _processed(crowd) - before

    assert len(page.jobs) == 10
    assert {row.user for row in page.jobs} == {"ann"}
    assert page.cursor == ""
    assert taken <= 130  # ten jobs at some seven commands each, inside of three scripts; a scan takes thousands


@pytest.mark.parametrize(
    ("verb", "options"),
    [("count_open", {}), ("reschedule_many", {"delay": 60}), ("move_many", {"to": "other"}), ("cancel_many", {})],
)
async def test_ten_among_ten_thousand_are_steered_without_looking_at_the_others(
    client: Either, crowd: redis.Redis, verb: str, options: dict[str, Any]
) -> None:
    before = _processed(crowd)
    count = await client(verb, user="ann", **options)
    taken = _processed(crowd) - before

    assert count == 10
    assert taken <= 1500  # a move takes about a hundred commands a job; a scan of the others ten thousand at least


def _processed(raw: redis.Redis) -> int:
    """Commands that the server has run, those inside of scripts included."""
    stats: Any = raw.info("commandstats")
    return sum(stats[name]["calls"] for name in stats)


async def test_moved_jobs_stand_in_the_index_of_their_new_queue(client: Either) -> None:
    old = await client("enqueue", Job("x", "app.add", (1, 2), user="ann", tags=("eu",), session="s"))
    new = await client("move", old, "other")

    for chosen in ({"user": "ann"}, {"tags": "eu"}, {"session": "s"}):
        assert ids((await client("jobs", queue="other", **chosen)).jobs) == [new]
        assert ids((await client("jobs", **chosen)).jobs) == [new, old]


async def test_jobs_of_flows_and_of_cron_are_found(client: Either, raw: redis.Redis) -> None:
    parent = await client("enqueue", Job("x", "app.add", (1, 2), user="ann"))
    child = await client("enqueue", Job("x", "app.add", (1, 2), user="ann", depends_on=[parent]))
    await client("enqueue", Job("nightly", "app.add", (1, 2), user="ann", cron_expression="0 2 * * *"))
    cron = client.fleet.cron
    run = await finished(cron.run, "nightly")

    assert ids((await client("jobs", user="ann")).jobs) == [run, child, parent]


async def test_a_replayed_job_is_found_as_it_is_now(client: Either, work: Work) -> None:
    job_id = await client("enqueue", Job("x", "app.fail", ("no",), user="ann"))
    await work()
    assert [row.status for row in (await client("jobs", user="ann")).jobs] == [JobStatus.FAILED]

    await client("replay", job_id)

    assert [(row.id, row.status) for row in (await client("jobs", user="ann")).jobs] == [(job_id, JobStatus.QUEUED)]


@each("cursor", ["x", "1~", "1~no", "3~50", "~default.0.a", "99999999999999999~default.0.a"])
async def test_a_cursor_that_no_page_has_answered_is_refused(client: Either, cursor: str) -> None:
    await client("enqueue", Job("x", "app.add", (1, 2), user="ann"))

    with pytest.raises(ConfigError, match="cursor"):
        await client("jobs", user="ann", cursor=cursor)


async def test_what_has_gone_is_forgotten_by_the_retention_duty_and_all_else_stays(
    client: Either, raw: redis.Redis, redis_url: str, work: Work
) -> None:
    await client("enqueue", Job("x", "app.add", (1, 2), user="ann", session="gone"))
    await work()
    kept = await client("enqueue", Job("x", "app.add", (1, 2), user="ann"))
    for key in raw.keys("*result:*"):
        raw.delete(key)
    assert ids((await client("jobs", user="ann")).jobs) == [kept]
    raw.zadd(LANE.indexes, dict.fromkeys(("user:ann", "session:gone"), 1))

    store = AsyncStore(target(redis_url))
    await Retention(store, KEYS, JobConfig(), Tally()).turn()
    await store.close()

    assert raw.zrange(LANE.index_of("user:ann"), 0, -1) == [kept.encode()]
    assert raw.zrange(LANE.indexes, 0, -1) == [b"user:ann"]
    assert not raw.exists(LANE.index_of("session:gone"))
