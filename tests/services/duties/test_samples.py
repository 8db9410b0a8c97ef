"""The samples duty: each count once, whoever samples, and a gap where nobody did."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import redis

from jobfleet import AsyncFleet, Job
from jobfleet.model.history import Deploy, HistoryPoint, Percentiles
from jobfleet.samples import COARSE, COMPLETED, FINE, RUN, STARTED, WAIT
from jobfleet.services.duties.samples import whole
from jobfleet.store.aio import AsyncStore
from jobfleet.store.calls.presence import beat
from jobfleet.store.calls.samples import hold_samples
from jobfleet.version import VERSION
from tests.services.sampling import BEGIN, Worker, at, count, history, rows, sampler


async def opened(fleet: AsyncFleet, *queues: str) -> None:
    """Open queues, without a job in them."""
    for queue in queues or ("mail",):
        await fleet.limits.set(queue, concurrency=5)


@pytest.mark.filterwarnings("ignore:No worker has published")
async def test_a_step_has_what_was_counted_in_it_and_what_is_there_at_its_end(
    store: AsyncStore, fleet: AsyncFleet
) -> None:
    await opened(fleet)
    duty = sampler(store, fleet)
    await duty.tick(at(0))
    await count(store, fleet, enqueued=5, completed=2, failed=1, retried=3, cancelled=1, expired=1)
    await fleet.enqueue(Job("later", "app.later", queue="mail", delay=3600))
    await duty.tick(at(10))
    await duty.tick(at(20))

    expected = {
        -10.0: None,
        0.0: {
            "enqueued": 6, "completed": 2, "failed": 1, "retried": 3, "cancelled": 1, "expired": 1, "scheduled": 1,
        },
        10.0: {"scheduled": 1},
    }  # fmt: skip
    assert rows(await history(store, fleet, at(20), "mail")) == expected
    assert rows(await history(store, fleet, at(20))) == expected


async def test_runs_and_their_times_come_from_the_reports_of_workers(store: AsyncStore, fleet: AsyncFleet) -> None:
    await opened(fleet)
    duty, one, two = sampler(store, fleet), Worker(store, fleet), Worker(store, fleet, "w2")
    await one.reports("app.send", {COMPLETED: 100, STARTED: 100})
    await duty.tick(at(0))
    await one.reports("app.send", {COMPLETED: 9, STARTED: 9, WAIT: {10: 9}, RUN: {20: 9}})
    await two.reports("app.send", {COMPLETED: 1, STARTED: 2, WAIT: {10: 1}, RUN: {40: 1}})
    await duty.tick(at(10))

    found = await history(store, fleet, at(10), function="app.send", since=10)

    assert [point.completed for point in found.points] == [10]
    assert [point.started for point in found.points] == [11]
    assert [point.enqueued for point in found.points] == [None]
    assert found.wait == Percentiles(*(timedelta(microseconds=us) for us in (1792, 2022, 2043)))
    assert found.run == Percentiles(*(timedelta(microseconds=us) for us in (58_254, 58_720_256, 65_431_142)))
    assert (await history(store, fleet, at(10), "mail", since=10)).run == found.run
    assert (await history(store, fleet, at(10), "mail", since=10)).points[0].started == 11


async def test_a_worker_that_reports_for_the_first_time_has_run_it_all_since(
    store: AsyncStore, fleet: AsyncFleet
) -> None:
    duty, worker = sampler(store, fleet), Worker(store, fleet)
    await duty.tick(at(0))
    await worker.reports("app.send", {COMPLETED: 1})
    await worker.reports("app.send", {COMPLETED: 2})
    await duty.tick(at(10))
    await duty.tick(at(20))

    found = await history(store, fleet, at(20), function="app.send", since=20)

    assert [point.completed for point in found.points] == [3, 0]


async def test_a_second_tick_in_a_step_changes_nothing(store: AsyncStore, fleet: AsyncFleet) -> None:
    await opened(fleet)
    duty = sampler(store, fleet)
    await duty.tick(at(0))
    await count(store, fleet, enqueued=1)
    await duty.tick(at(10))
    await count(store, fleet, enqueued=2)
    await duty.tick(at(14))
    await duty.tick(at(20))

    assert rows(await history(store, fleet, at(20), "mail", since=20)) == {0.0: {"enqueued": 1}, 10.0: {"enqueued": 2}}


async def test_while_one_process_samples_another_does_not(store: AsyncStore, fleet: AsyncFleet) -> None:
    await opened(fleet)
    one, other = sampler(store, fleet, "a"), sampler(store, fleet, "b")
    await one.tick(at(0))
    await count(store, fleet, enqueued=1)

    await other.tick(at(10))

    assert await whole(store, fleet.context.keys, FINE.place(BEGIN // 10)[0]) == {}


@pytest.mark.parametrize("died_after", ["commit", "write"])
async def test_another_process_takes_over_in_the_middle_of_a_chunk_and_counts_each_once(
    store: AsyncStore, fleet: AsyncFleet, died_after: str
) -> None:
    await opened(fleet)
    worker = Worker(store, fleet)
    one, other = sampler(store, fleet, "a"), sampler(store, fleet, "b")
    await one.tick(at(0))
    await count(store, fleet, enqueued=1)
    await worker.reports("app.send", {COMPLETED: 1})
    await one.tick(at(10))
    await count(store, fleet, enqueued=2)
    await worker.reports("app.send", {COMPLETED: 2})
    if died_after == "write":  # of a step, before its commit
        step = at(20) // 10_000_000 - 1
        assert await one._writer.write(step, 0, {"q:mail": {0: 2}, "f:app.send": {COMPLETED: 2}})
    else:
        await one.tick(at(20))
    await store.run(hold_samples(fleet.context.keys, "a", lease_us=0))
    await count(store, fleet, enqueued=4)
    await worker.reports("app.send", {COMPLETED: 4})
    await other.tick(at(30))
    await other.tick(at(60))

    counts = (1, 2, 4, None, None, 0) if died_after == "commit" else (1, None, 6, None, None, 0)
    mail = await history(store, fleet, at(60), "mail", since=60, step=10)
    send = await history(store, fleet, at(60), function="app.send", since=60, step=10)
    assert tuple(point.enqueued for point in mail.points) == counts
    assert tuple(point.completed for point in send.points) == counts
    (minute,) = (await history(store, fleet, at(60), "mail", since=60, step=60)).points
    assert minute.enqueued == 7


async def test_minutes_are_written_once_they_are_over(store: AsyncStore, fleet: AsyncFleet) -> None:
    await opened(fleet)
    duty = sampler(store, fleet)
    await duty.tick(at(0))
    for number in range(1, 14):
        await count(store, fleet, enqueued=number)
        await duty.tick(at(10 * number))

    minutes = await history(store, fleet, at(130), "mail", since=130, step=60)
    stored = await whole(store, fleet.context.keys, COARSE.place(BEGIN // 60)[0])

    assert {point.at.timestamp() - BEGIN: point.enqueued for point in minutes.points} == {0: 21, 60: 57, 120: 13}
    assert stored.keys() == {"", "q:mail", "t"}
    assert minutes.total("enqueued") == 91


async def test_without_a_reaper_there_is_a_gap_and_no_peak_after_it(store: AsyncStore, fleet: AsyncFleet) -> None:
    await opened(fleet)
    duty = sampler(store, fleet)
    await duty.tick(at(0))
    await duty.tick(at(10))
    await count(store, fleet, enqueued=1000)
    await duty.tick(at(200))
    await count(store, fleet, enqueued=1)
    await duty.tick(at(210))

    found = await history(store, fleet, at(210), "mail", since=210, step=10)

    assert [point.enqueued for point in found.points] == [0, *[None] * 19, 1]
    assert found.points[1] == HistoryPoint(datetime.fromtimestamp(BEGIN + 10, UTC))


async def test_counters_that_begin_again_are_not_counted_backwards(store: AsyncStore, fleet: AsyncFleet) -> None:
    await opened(fleet)
    duty = sampler(store, fleet)
    await count(store, fleet, enqueued=1000, completed=100)
    await duty.tick(at(0))
    await count(store, fleet, enqueued=-998, completed=-1)  # one began again, and one has lost its last write
    await duty.tick(at(10))

    assert rows(await history(store, fleet, at(10), "mail", since=10)) == {0.0: {"enqueued": 2}}


@pytest.mark.filterwarnings("ignore:No worker has published")
async def test_after_the_loss_of_all_data_the_history_begins_again(
    store: AsyncStore, fleet: AsyncFleet, raw: redis.Redis
) -> None:
    await opened(fleet)
    duty, worker = sampler(store, fleet), Worker(store, fleet)
    await count(store, fleet, enqueued=1000)
    await worker.reports("app.send", {COMPLETED: 100})
    await duty.tick(at(0))
    await duty.tick(at(10))
    raw.flushall()
    fleet.context.queues.clear()
    await fleet.enqueue(Job("later", "app.later", queue="mail", delay=3600))
    await worker.reports("app.send", {COMPLETED: 1})
    await duty.tick(at(20))
    await worker.reports("app.send", {COMPLETED: 2})
    await duty.tick(at(30))

    found = await history(store, fleet, at(30), "mail", since=30)
    send = await history(store, fleet, at(30), function="app.send", since=30)

    assert rows(found) == {0.0: None, 10.0: None, 20.0: {"scheduled": 1}}
    assert [point.completed for point in send.points] == [None, None, 2]


async def test_a_clock_that_is_set_back_overwrites_what_was_written(store: AsyncStore, fleet: AsyncFleet) -> None:
    await opened(fleet)
    duty = sampler(store, fleet)
    for number in range(40):
        await count(store, fleet, enqueued=1)
        await duty.tick(at(10 * number))
    await duty.tick(at(100))
    await count(store, fleet, enqueued=5)
    await duty.tick(at(110))
    await duty.tick(at(120))

    found = await history(store, fleet, at(120), "mail", since=50, step=10)

    assert [point.enqueued for point in found.points] == [1, 1, 1, 5, 0]


async def test_a_clock_that_is_set_back_a_little_only_makes_a_sample_late(store: AsyncStore, fleet: AsyncFleet) -> None:
    await opened(fleet)
    duty = sampler(store, fleet)
    await duty.tick(at(0))
    await duty.tick(at(40))
    await count(store, fleet, enqueued=5)
    await duty.tick(at(20))
    await duty.tick(at(50))

    found = await history(store, fleet, at(50), "mail", since=20, step=10)

    assert [point.enqueued for point in found.points] == [0, 5]


async def test_series_beyond_the_maximum_are_left_out_and_said_once(
    store: AsyncStore, fleet: AsyncFleet, caplog: pytest.LogCaptureFixture
) -> None:
    queues = ("a", "b", "c", "d")
    await opened(fleet, *queues)
    duty = sampler(store, fleet, most=3)
    await duty.tick(at(0))
    for number in (1, 2):
        for queue in queues:
            await count(store, fleet, queue, enqueued=1)
        await duty.tick(at(10 * number))

    stored = await whole(store, fleet.context.keys, FINE.place(BEGIN // 10)[0])

    assert len(stored) == 1 + 3
    assert (await history(store, fleet, at(20), since=20)).total("enqueued") == 8
    assert [record.message for record in caplog.records if "samples.full" in record.message] == [
        "samples.full series=3: further queues and functions have no history"
    ]


async def test_a_version_is_marked_when_it_is_new(store: AsyncStore, fleet: AsyncFleet) -> None:
    from jobfleet.codec import encode

    keys, now = fleet.context.keys, 0
    duty = sampler(store, fleet)
    for worker, account in (("w1", {"version": VERSION}), ("w2", {"version": VERSION, "label": "a1b2c3"})):
        present = await store.run(beat(keys, worker, account=encode(account), gone_us=20_000_000))
        now = present.now
    await duty.tick(now)
    await duty.tick(now + 10_000_000)

    found = await history(store, fleet, now + 10_000_000, since=3600)

    assert sorted(deploy.version for deploy in found.deploys) == sorted([VERSION, "a1b2c3"])
    assert all(isinstance(deploy, Deploy) and deploy.at.timestamp() * 1e6 >= now - 1 for deploy in found.deploys)


async def test_a_process_that_stops_gives_the_duty_to_the_next(store: AsyncStore, fleet: AsyncFleet) -> None:
    await opened(fleet)
    one, other = sampler(store, fleet, "a"), sampler(store, fleet, "b")
    await one.tick(at(0))
    await one.stop()
    await count(store, fleet, enqueued=1)
    await other.tick(at(10))

    assert rows(await history(store, fleet, at(10), "mail", since=10)) == {0.0: {"enqueued": 1}}
