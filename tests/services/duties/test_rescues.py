"""Rescues: a canary, then the rest at a rate; stopped by failures, undone, and carried on by whoever lives."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, ConfigError, InvalidJob, JobStatus, UnknownGroup, UnknownRescue
from jobfleet.codec.frames import seal_record
from jobfleet.config import JobConfig
from jobfleet.metrics.tally import Tally
from jobfleet.notify.registry import Channels
from jobfleet.operations import rescues
from jobfleet.services.duties.dead import Rescues
from jobfleet.services.duties.notify import Notify
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls import lease, settle
from tests.services.telling import KEYS, LANE, Recorder, bring, fail, failing, nonces

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
Turn = Callable[[], Awaitable[float]]


@pytest.fixture
async def tally() -> Tally:
    return Tally()


@pytest.fixture
async def duty(store: AsyncStore, redis_url: str, tally: Tally) -> Rescues:
    return Rescues(store, KEYS, JobConfig(url=redis_url), tally)


async def bury(store: AsyncStore, fleet: AsyncFleet, count: int) -> tuple[str, list[str]]:
    """Dead letters of one group; its fingerprint, and their ids."""
    ids = [job_id for at in range(0, count, 50) for job_id in await fail(store, fleet, min(50, count - at))]
    (group,) = await fleet.dead_groups()
    return group.fingerprint, ids


async def claim(store: AsyncStore, most: int = 50) -> list[tuple[str, int]]:
    """Start the waiting jobs."""
    call = lease.claim(LANE, child="w.1", nonce=next(nonces), lease_us=60_000_000, limit=most)
    return [(grant.id, grant.token) for grant in (await store.run(call)).grants]


async def end(store: AsyncStore, jobs: list[tuple[str, int]], *, well: bool = True) -> None:
    """End runs."""
    record = seal_record({"function": "mail.send", "value": 1})
    items = [
        settle.complete(*job, record=record, ttl_ms=60_000, duration_us=1) if well else failing(*job) for job in jobs
    ]
    if items:
        await store.run(settle.settle(LANE, items))


async def started(store: AsyncStore, duty: Rescues) -> list[tuple[str, int]]:
    """Turn the duty until jobs start."""
    for _ in range(9):
        await duty.turn()
        if jobs := await claim(store):
            return jobs
    raise AssertionError("no job starts")


async def run_to_the_end(turn: Turn, store: AsyncStore, seen: list[int]) -> None:
    """Turn the duty, and let every job end well, until nothing moves; the numbers of jobs that started together."""
    idle = 0
    while idle < 3:
        await turn()
        jobs = await claim(store)
        seen += [len(jobs)] if jobs else []
        idle = 0 if jobs else idle + 1
        await end(store, jobs)


async def test_a_canary_goes_first_and_the_rest_follows(
    store: AsyncStore, fleet: AsyncFleet, duty: Rescues, tally: Tally
) -> None:
    group, ids = await bury(store, fleet, 60)
    rescue = await fleet.rescue(group, canary=(1, 10), rate="1000/s", by="ann")
    begun = await rescue.status()
    seen: list[int] = []

    await run_to_the_end(duty.turn, store, seen)

    assert (begun.state, begun.stage, begun.total, begun.by, begun.rate) == (
        "running",
        "canary 1 of 2",
        60,
        "ann",
        1000,
    )
    assert seen[:3] == [1, 10, 1]
    assert sum(seen) == 60
    status = await rescue.status()
    assert (status.state, status.replayed, status.completed, status.failed, status.in_flight) == (
        "completed", 60, 60, 0, 0,
    )  # fmt: skip
    assert status.is_over
    assert await fleet.dead() == []
    assert {job.status for job in await fleet.poll_many(ids) if job} == {JobStatus.COMPLETED}
    assert {row[1]: row[2] for row in tally.take() if row[0] == "rescued_jobs_total"} == {("completed",): 60}
    assert await duty.turn() == 1.0


async def test_it_stops_by_itself_when_a_job_fails_again(store: AsyncStore, fleet: AsyncFleet, duty: Rescues) -> None:
    group, ids = await bury(store, fleet, 30)
    rescue = await fleet.rescue(group, canary=(1, 10), stop_after=2)
    await end(store, await started(store, duty))
    jobs = await started(store, duty)
    await end(store, jobs[:2], well=False)
    await end(store, jobs[2:])

    for _ in range(3):
        await duty.turn()

    status = await rescue.status()
    assert (status.state, status.why, status.completed, status.failed, status.replayed) == (
        "stopped", "failures", 9, 2, 11,
    )  # fmt: skip
    letters = {row.id: row for row in await fleet.dead(limit=100)}
    assert set(letters) == set(ids) - {job_id for job_id, _ in jobs[2:]} - {ids[0]}
    assert (await fleet.dead_group(group)).count == 21


async def test_what_has_not_started_can_be_undone(
    store: AsyncStore, fleet: AsyncFleet, duty: Rescues, raw: redis.Redis
) -> None:
    group, ids = await bury(store, fleet, 20)
    before = {job_id: await fleet.letter(job_id) for job_id in ids}
    rescue = await fleet.rescue(group, canary=(5,))
    await duty.turn()
    await duty.turn()
    started = await claim(store, 2)
    await duty.turn()
    assert len(raw.keys("*rescued:*")) == 3

    assert await rescue.undo(by="bob") == 3

    status = await rescue.status()
    assert (status.state, status.ended_by, status.undone, status.started) == ("undone", "bob", 3, 2)
    assert {row.id for row in await fleet.dead(limit=100)} == set(ids) - {job_id for job_id, _ in started}
    for job_id in set(ids) - {job_id for job_id, _ in started}:
        after = await fleet.letter(job_id)
        assert (after.history, after.reason, after.job.error, after.job.error_class) == (
            before[job_id].history, before[job_id].reason, before[job_id].job.error, before[job_id].job.error_class,
        )  # fmt: skip
    assert raw.keys("*rescued:*") == []
    assert (await fleet.dead_group(group)).count == 18
    assert await rescue.undo() == 3
    await end(store, started)
    assert await duty.turn() == 1.0


async def test_an_undone_job_is_told_to_nobody_again(
    store: AsyncStore, fleet: AsyncFleet, redis_url: str, duty: Rescues
) -> None:
    channel = Recorder()
    channels = Channels()
    channels.add_notification_channel(channel, events=("failed",), window=0)
    one = Notify(store, KEYS, JobConfig(url=redis_url), Tally(), channels, consumer="test")
    await one.turn()
    group, _ = await bury(store, fleet, 1)
    await fleet.resolve(group)
    rescue = await fleet.rescue(group)
    await duty.turn()
    await duty.turn()

    assert await rescue.undo() == 1
    await bring(one)

    assert len(channel.sent) == 1
    assert (await fleet.dead_group(group)).state == "resolved"


async def test_a_stopped_rescue_replays_nothing_more(store: AsyncStore, fleet: AsyncFleet, duty: Rescues) -> None:
    group, _ = await bury(store, fleet, 20)
    rescue = await fleet.rescue(group, canary=())
    assert await rescue.stop(by="ann") is True
    assert await rescue.stop() is False

    await duty.turn()

    status = await rescue.status()
    assert (status.state, status.why, status.ended_by, status.replayed) == ("stopped", "asked", "ann", 0)
    assert len(await fleet.dead()) == 20
    assert [row.id for row in await fleet.rescues()] == [rescue.id]
    assert (await fleet.rescue_of(group)).id == rescue.id


async def test_jobs_that_end_otherwise_are_counted_and_stop_nothing(
    store: AsyncStore, fleet: AsyncFleet, duty: Rescues
) -> None:
    group, ids = await bury(store, fleet, 3)
    rescue = await fleet.rescue(group, canary=(1,), rate="1000/s")
    for _ in range(2):
        await duty.turn()
    assert (await rescue.status()).ended_at is None
    await fleet.cancel(ids[0])

    await run_to_the_end(duty.turn, store, [])

    status = await rescue.status()
    assert (status.state, status.ended, status.completed, status.failed) == ("completed", 1, 2, 0)
    assert status.ended_at is not None


async def test_an_undo_that_finds_nothing_in_flight_leaves_the_state(
    store: AsyncStore, fleet: AsyncFleet, duty: Rescues
) -> None:
    group, _ = await bury(store, fleet, 1)
    running = await fleet.rescue(group)
    assert await running.undo(by="ann") == 0
    assert (await running.status()).state == "stopped"
    other = await fleet.rescue(group)
    await run_to_the_end(duty.turn, store, [])

    assert await other.undo() == 0

    assert (await other.status()).state == "completed"


async def test_any_number_of_reapers_replay_each_letter_once(
    store: AsyncStore, fleet: AsyncFleet, redis_url: str, raw: redis.Redis
) -> None:
    group, ids = await bury(store, fleet, 60)
    rescue = await fleet.rescue(group, canary=(1, 10), rate="1000/s")
    duties = [Rescues(store, KEYS, JobConfig(url=redis_url), Tally()) for _ in range(3)]
    seen: list[int] = []

    async def turn() -> float:
        await asyncio.gather(*(one.turn() for one in duties))
        return 0.0

    await run_to_the_end(turn, store, seen)

    assert seen[:3] == [1, 10, 1]
    status = await rescue.status()
    assert (status.state, status.replayed, status.completed) == ("completed", 60, 60)
    assert int(raw.hget(LANE.totals, "replayed") or 0) == len(ids)


@pytest.mark.parametrize("after", range(8))
async def test_a_step_that_ends_anywhere_is_carried_on(
    store: AsyncStore, fleet: AsyncFleet, duty: Rescues, after: int
) -> None:
    """The process dies after some trips of a step; another one goes on, and the canary stays one job."""
    group, ids = await bury(store, fleet, 5)
    rescue = await fleet.rescue(group, canary=(1,))
    for _ in range(2):
        step = rescues.advance(fleet.context, rescue.id)
        answers: Any = None
        for _ in range(after):
            try:
                answers = await store.run_many(step.send(answers))
            except StopIteration:
                break

    for _ in range(3):
        await duty.turn()

    assert len(await claim(store)) == 1
    assert len(await fleet.dead()) == len(ids) - 1
    assert (await rescue.status()).replayed == 1


async def test_letters_that_come_later_and_letters_that_go_are_left(
    store: AsyncStore, fleet: AsyncFleet, duty: Rescues
) -> None:
    group, ids = await bury(store, fleet, 3)
    rescue = await fleet.rescue(group, canary=(3,))
    (later,) = await fail(store, fleet)
    await duty.turn()  # planned
    await fleet.purge(ids[0])

    await run_to_the_end(duty.turn, store, [])

    status = await rescue.status()
    assert (status.state, status.total, status.replayed, status.left, status.completed) == ("completed", 3, 2, 1, 2)
    assert [row.id for row in await fleet.dead()] == [later]


async def test_a_group_has_one_rescue_at_a_time(store: AsyncStore, fleet: AsyncFleet) -> None:
    group, _ = await bury(store, fleet, 1)
    rescue = await fleet.rescue(group)

    with pytest.raises(ConfigError) as refused:
        await fleet.rescue(group)

    assert str(refused.value) == (
        f"Rescue {rescue.id} of this group is not over; 'jobfleet dead stop-rescue {rescue.id}' stops it."
    )


async def test_a_group_without_letters_needs_no_rescue(store: AsyncStore, fleet: AsyncFleet) -> None:
    group, ids = await bury(store, fleet, 1)
    await fleet.purge(ids[0])

    with pytest.raises(ConfigError, match=f"^Group {group} has no dead letters; there is nothing to rescue.$"):
        await fleet.rescue(group)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"rate": 0}, "rate is 0; give jobs per second, or a rate such as '10/s' or '5/min', at most 1,000/s."),
        ({"rate": "x"}, "rate is 'x'; give jobs per second, or a rate such as '10/s' or '5/min', at most 1,000/s."),
        ({"rate": 1001}, "rate is 1001; give jobs per second, or a rate such as '10/s' or '5/min', at most 1,000/s."),
        ({"canary": (0,)}, "canary is (0,); give at most 10 whole numbers from 1 to 200, such as (1, 10)."),
        ({"canary": 5}, "canary is 5; give at most 10 whole numbers from 1 to 200, such as (1, 10)."),
        ({"stop_after": 0}, "stop_after is 0; give a whole number from 1."),
    ],
)
async def test_wrong_plans_are_refused(fleet: AsyncFleet, options: Any, text: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        await fleet.rescue("0" * 16, **options)

    assert str(refused.value) == text


async def test_unknown_groups_and_rescues_are_refused(fleet: AsyncFleet) -> None:
    with pytest.raises(UnknownGroup):
        await fleet.rescue("0" * 16)
    for text in ("0" * 16, "x"):
        with pytest.raises(UnknownRescue, match=r"No rescue '.*'; 'jobfleet dead rescues' lists them\."):
            await fleet.rescue_of(text)
