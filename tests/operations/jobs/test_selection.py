"""Cancelling open jobs by what they are."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pytest
import redis

from jobfleet import InvalidJob, Job, JobStatus, Priority
from jobfleet.errors import ConfigError
from jobfleet.store.calls.enqueue import CHUNK
from jobfleet.store.calls.lease import claim
from jobfleet.store.keys import Keyspace
from jobfleet.store.sync import Store
from jobfleet.store.target import target
from tests.client.either import Either
from tests.support.each import each

LANE = Keyspace("jobfleet").lane("default", 0)


async def fill(client: Either) -> dict[str, str]:
    """Jobs by a name."""
    jobs = {
        "eu": Job("x", "app.add", (1, 2), tags=("eu",)),
        "eu-ann": Job("x", "app.add", (1, 2), tags=("b", "eu"), user="ann"),
        "us-later": Job("x", "app.add", (1, 2), tags=("us",), delay=3600, group="acme"),
        "plain": Job("x", "app.add", (1, 2)),
        "mail": Job("x", "app.fail", ("no",), queue="mail", user="ann", session="s-1"),
    }
    return {name: await client("enqueue", job) for name, job in jobs.items()}


@pytest.mark.parametrize(
    ("chosen", "meant"),
    [
        ({"tags": ("eu",)}, {"eu", "eu-ann"}),
        ({"tags": "eu"}, {"eu", "eu-ann"}),
        ({"tags": ("eu", "b")}, {"eu-ann"}),
        ({"user": "ann"}, {"eu-ann", "mail"}),
        ({"user": "ann", "queue": "default"}, {"eu-ann"}),
        ({"queue": "mail"}, {"mail"}),
        ({"function": "app.fail"}, {"mail"}),
        ({"session": "s-1"}, {"mail"}),
        ({"session": "s-1", "user": "bob"}, set()),
        ({"tags": "eu", "user": "ann"}, {"eu-ann"}),
        ({"user": "ann", "function": "app.add", "status": JobStatus.QUEUED}, {"eu-ann"}),
        ({"status": JobStatus.SCHEDULED}, {"us-later"}),
        ({"status": JobStatus.QUEUED, "queue": "default"}, {"eu", "eu-ann", "plain"}),
        ({"status": JobStatus.RUNNING}, set()),
        ({"tags": ("none",)}, set()),
        ({"group": "acme"}, {"us-later"}),
        ({"group": "acme", "tags": "eu"}, set()),
        ({"since": datetime(2020, 1, 1, tzinfo=UTC), "queue": "mail"}, {"mail"}),
        ({"until": datetime(2020, 1, 1, tzinfo=UTC)}, set()),
    ],
)
async def test_those_that_are_meant_are_cancelled_and_no_others(
    client: Either, chosen: dict[str, object], meant: set[str]
) -> None:
    ids = await fill(client)

    matching = await client("count_matching", "cancel", **chosen)
    assert (matching.number, matching.is_all) == (len(meant), True)
    counted = await client("count_open", **chosen)
    cancelled = await client("cancel_many", **chosen, by="bob")

    assert (counted, cancelled) == (len(meant), len(meant))
    results = {name: await client("poll", job_id) for name, job_id in ids.items()}
    assert {name for name, result in results.items() if result.status is JobStatus.CANCELLED} == meant
    assert {results[name].error for name in meant} <= {"cancelled by bob"}
    assert await client("cancel_many", **chosen) == 0


async def test_those_that_run_are_asked_once(client: Either, raw: redis.Redis, redis_url: str) -> None:
    ids = [await client("enqueue", Job("x", "app.add", (1, 2), tags=("eu",))) for _ in range(3)]
    with closing(Store(target(redis_url))) as store:
        store.run(claim(LANE, child="w.1", nonce=1, lease_us=10**8, limit=2))

    assert await client("cancel_many", tags=("eu",), by="bob") == 3
    assert await client("count_open", tags=("eu",)) == 0
    statuses = sorted([(await client("poll", job_id)).status for job_id in ids])
    assert statuses == ["cancelled", "running", "running"]
    assert all(b"|bob@" in record for record in raw.hvals(LANE.runs))


async def test_more_than_a_page_is_cancelled(client: Either) -> None:
    jobs = [Job("x", "app.add", (1, 2), tags=("eu",) if number % 3 else ()) for number in range(330)]
    await client.all("enqueue_many", jobs)

    assert await client("count_open", tags=("eu",)) == 220
    assert await client("cancel_many", tags=("eu",)) == 220
    assert await client("count_open", queue="default") == 110


@each("chosen", [{}, {"tags": ()}, {"status": JobStatus.COMPLETED}])
async def test_what_would_mean_all_or_none_is_refused(client: Either, chosen: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        await client("cancel_many", **chosen)


@pytest.fixture
async def filled(client: Either) -> None:
    """Those jobs, and one that waits for another."""
    ids = await fill(client)
    await client("enqueue", Job("x", "app.add", (1, 2), depends_on=[ids["us-later"]], tags=("eu",)))


FILTERS: list[dict[str, object]] = [
    {"queue": "default"}, {"tags": "eu"}, {"status": JobStatus.QUEUED}, {"user": "ann"}, {"queue": "mail"},
]  # fmt: skip
CHANGES: list[tuple[str, dict[str, object]]] = [
    ("move", {"to": "mail"}), ("reschedule", {"delay": 60}), ("reschedule", {"priority": Priority.NORMAL}),
    ("reschedule", {"priority": Priority.HIGH}), ("reschedule", {"delay": 60, "priority": Priority.NORMAL}),
]  # fmt: skip


@pytest.mark.usefixtures("filled")
@each("chosen", FILTERS)
@each("act, change", CHANGES)
async def test_a_bounded_count_has_the_number_of_a_dry_run(
    client: Either, chosen: dict[str, object], act: str, change: dict[str, object]
) -> None:
    found = await client("count_matching", act, **change, **chosen)

    assert found.is_all
    assert found.number == await client(f"{act}_many", **change, **chosen, dry_run=True)


@pytest.mark.parametrize("chosen", [{"tags": "eu"}, {"queue": "default"}])
async def test_a_bounded_count_reads_few_jobs_and_says_so(client: Either, chosen: dict[str, object]) -> None:
    await client.all("enqueue_many", [Job("x", "app.add", (1, 2), tags=("eu",)) for _ in range(330)])

    few = await client("count_matching", "cancel", most=60, **chosen)
    assert 60 <= few.number == few.read <= 60 + CHUNK
    assert not few.is_all
    assert await client("count_matching", "cancel", **chosen) == (330, 330, True)


@each("act, change", [("move", {}), ("move", {"to": "no name"}), ("reschedule", {}), ("reschedule", {"delay": -1}),
     ("cancel", {"most": 0})])  # fmt: skip
async def test_a_count_of_what_cannot_be_done_is_refused(client: Either, act: str, change: dict[str, object]) -> None:
    with pytest.raises(InvalidJob):
        await client("count_matching", act, **change, tags="eu")
