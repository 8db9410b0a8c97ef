"""`forget`: an ended job is erased everywhere in Redis."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import pytest
import redis

from jobfleet import After, Fleet, InvalidJob, Job, JobContext, JobNotFound, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.store.calls.journal import register
from jobfleet.store.keys import Keyspace
from tests.client.conftest import Work
from tests.client.either import Either, finished
from tests.support.state import exact

MARK = "s3cret"
JOB = "default.0.a"
LANE = Keyspace("jobfleet").lane("default", 0)


def tells(ctx: JobContext, secret: str, ends: str) -> str:
    """Leave traces wherever a job can."""
    ctx.log.info("told %s", secret)
    ctx.progress(0.5, f"half of {secret}", {"of": secret})
    ctx.step_sync("one", lambda: secret)
    if ends == "fails":
        raise ValueError(secret)
    return secret


@pytest.fixture
def registry(registry: Registry) -> Registry:
    """The functions of the fleet, and one that leaves traces."""
    registry.register(tells, name="app.tells", max_retries=0)
    return registry


def job(ends: str = "completes", **options: Any) -> Job:
    wanted: dict[str, Any] = {
        "id": "a", "user": f"ann {MARK}", "session": MARK, "tags": [f"eu-{MARK}"], "unique": f"key {MARK}",
        "unique_for": 3600, "metadata": {"m": MARK}, "correlation_id": MARK, **options,
    }  # fmt: skip
    return Job(f"Tell {MARK}", "app.tells", (MARK, ends), **wanted)


@pytest.mark.parametrize("ends", ["completes", "fails", "is cancelled"])
async def test_nothing_that_a_job_has_left_is_left(client: Either, work: Work, raw: redis.Redis, ends: str) -> None:
    await client("enqueue", job(ends))
    if ends == "is cancelled":
        await client("cancel", JOB)
    await work()
    assert (await client("poll", JOB)).status.is_final
    assert MARK in str(exact(raw, 0))

    assert await client("forget", JOB, by="bob") is True

    assert MARK not in str(exact(raw, 0))
    assert [name for name in exact(raw, 0) if JOB in name and "answer:" not in name] == []
    with pytest.raises(JobNotFound):
        await client("poll", JOB)
    assert (await client("jobs", user=f"ann {MARK}")).jobs == []
    assert await client("dead") == []
    assert await client("forget", JOB) is False


async def test_its_id_and_its_key_are_free_again(client: Either, work: Work) -> None:
    await client("enqueue", job())
    await work()

    await client("forget", JOB)
    receipt = await client("submit", job())
    await work()

    assert (receipt.created, receipt.id) == (True, JOB)
    assert (await client("poll", JOB)).result == MARK


async def test_a_job_that_has_not_ended_is_refused_with_the_remedy(client: Either, raw: redis.Redis) -> None:
    await client("enqueue", job())
    before = exact(raw, 0)

    with pytest.raises(InvalidJob) as refused:
        await client("forget", JOB)

    assert str(refused.value) == "default.0.a is queued; cancel it first, and forget it when it has ended."
    assert exact(raw, 0) == before


async def test_an_unknown_job_is_not_known_and_what_is_no_id_is_refused(client: Either) -> None:
    assert await client("forget", "default.0.zzz") is False
    with pytest.raises(JobNotFound):
        await client("forget", "nonsense")


async def test_a_handle_forgets_its_job(client: Either, work: Work) -> None:
    handle = await client("handle_of", Job("Add", "app.add", (1, 2)))
    await work()

    assert await finished(handle.forget, by="ann") is True
    with pytest.raises(JobNotFound):
        await finished(handle.poll)


async def test_a_job_for_whose_replay_others_wait_is_refused(client: Either, work: Work) -> None:
    await client("enqueue", job("fails"))
    child = await client("enqueue", Job("Add", "app.add", (1, 2), depends_on=[After(JOB, otherwise="wait")]))
    await work()
    assert (await client("poll", child)).status is JobStatus.BLOCKED

    with pytest.raises(InvalidJob) as refused:
        await client("forget", JOB)
    await client("cancel", child)

    assert str(refused.value).startswith(f"{child} waits for {JOB}; cancel it, or wait until it has run")
    assert await client("forget", JOB) is True


async def test_what_has_run_after_it_keeps_its_own_result(client: Either, work: Work) -> None:
    await client("enqueue", Job("Add", "app.add", (1, 2), id="a"))
    child = await client("enqueue", Job("Add", "app.add", (3, 4), depends_on=[JOB]))
    await work()

    assert await client("forget", JOB) is True

    assert (await client("poll", child)).result == 7


async def test_the_journal_has_one_line_without_arguments(client: Either, work: Work, raw: redis.Redis) -> None:
    await client("enqueue", job())
    await work()
    with Fleet(client.fleet.config.url) as fleet:
        fleet.store.run(register(LANE, "g", most=9))

    await client("forget", JOB, by="Bob Müller")
    await client("forget", JOB)

    rows: Any = raw.xrange(LANE.journal)
    assert [fields[b"1"] for _, fields in rows] == [b"forgotten default.0.a 0 Bob%20M\xc3\xbcller"]
    assert MARK not in str(rows)


# Against others


def test_a_job_that_is_replayed_between_the_look_and_the_act_is_refused(fleet: Fleet) -> None:
    fleet.enqueue(job("fails"))
    fleet.run_worker(burst=True)
    run_many, rivals = fleet.store.run_many, iter([True])

    def overtaken(calls: Sequence[Any]) -> list[Any]:
        if calls[0].script.name == "forget" and next(rivals, False):
            with Fleet(fleet.config.url, registry=fleet.context.registry) as rival:
                assert rival.replay(JOB) is True
        return run_many(calls)

    with patch.object(fleet.store, "run_many", overtaken), pytest.raises(InvalidJob, match="is queued; cancel it"):
        fleet.forget(JOB)

    assert fleet.poll(JOB).status is JobStatus.QUEUED


def test_of_two_who_forget_at_once_one_did_it(fleet: Fleet) -> None:
    fleet.enqueue(job())
    fleet.run_worker(burst=True)
    answers: list[bool] = []
    start = threading.Barrier(4)

    def forgets() -> None:
        with Fleet(fleet.config.url) as rival:
            start.wait()
            answers.append(rival.forget(JOB))

    rivals = [threading.Thread(target=forgets) for _ in range(4)]
    for rival in rivals:
        rival.start()
    for rival in rivals:
        rival.join()

    assert sorted(answers) == [False, False, False, True]
