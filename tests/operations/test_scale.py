"""`fleet.scale`: what is read, which workers go, and the reason in words."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import redis

from jobfleet import Fleet, UnknownQueue
from jobfleet.codec import encode
from jobfleet.errors import InvalidJob
from jobfleet.model.scale import Scale
from jobfleet.samples import COMPLETED, FIRST_GAUGE, RUN, bounds, bucket_of, queue_series
from jobfleet.store.calls.presence import beat
from tests.support.each import each
from tests.support.sampled import store_samples
from tests.support.seed import S, Seed
from tests.support.state import server_now

RUNNING = FIRST_GAUGE + 3
BUSY = {COMPLETED: 20, RUNNING: 2, RUN: {bucket_of(1_000_000): 20}}


def serves(fleet: Fleet, worker: str, *, running: int = 0, state: str = "running", **more: Any) -> None:
    """A worker of the queue beats."""
    account = {"queues": ["mail"], "slots": 4, "running": running, "state": state, **more}
    keys = fleet.context.keys
    fleet.store.run(beat(keys, worker, account=encode(account), gone_us=20 * S, functions={}))


@pytest.fixture
def seed(fleet: Fleet, raw: redis.Redis) -> Seed:
    """The queue mail, where 2 jobs of 1 s ended in each second of the last 11 minutes."""
    fleet.store.run(fleet.context.open_queue_call("mail"))
    for ago in range(10, 660, 10):
        store_samples(raw, fleet, {queue_series("mail"): BUSY}, ago=ago)
    return Seed(raw, fleet.context.keys.lane("mail", 0))


def test_a_queue_without_workers_wakes_them_for_its_first_job(fleet: Fleet, raw: redis.Redis) -> None:
    fleet.store.run(fleet.context.open_queue_call("mail"))
    assert fleet.scale("mail").workers == 0
    seed = Seed(raw, fleet.context.keys.lane("mail", 0))
    seed.waiting("later", due=100)
    assert fleet.scale("mail").workers == 0
    seed.waiting("now", due=-10)

    found = fleet.scale("mail")

    assert (found.workers, found.current, found.waiting, found.remove) == (1, 0, 1, ())
    assert (found.mean_duration, found.backlog) == (None, None)


def test_backlog_rate_and_duration_give_the_number_and_the_reason(fleet: Fleet, raw: redis.Redis, seed: Seed) -> None:
    for number in range(60):
        seed.waiting(str(number), due=-10)
    raw.hset(seed.lane.totals, mapping={"completed": 100, "run_us": 100 * S})
    serves(fleet, "w1", running=4)

    found = fleet.scale("mail", most=2)

    low, high = bounds(bucket_of(1_000_000))
    assert found.mean_duration == timedelta(microseconds=(low + high) // 2)
    assert (found.workers, found.current, found.slots, found.waiting, found.running) == (2, 1, 4, 60, 0)
    assert found.arrival_rate == 2.0
    assert found.backlog == timedelta(seconds=round(15 * found.mean_duration.total_seconds(), 3))
    assert found.reason.startswith("2 jobs per second of ")
    assert "60 waiting jobs need" in found.reason
    assert "With 4 slots per worker this takes " in found.reason


def test_the_idlest_worker_goes_first_and_of_idle_ones_the_oldest_code(
    fleet: Fleet, raw: redis.Redis, seed: Seed
) -> None:
    now = server_now(raw)
    raw.zadd(fleet.context.keys.versions, {"old": now - 900 * S, "new": now - 100 * S})
    serves(fleet, "busy", running=3, label="old")
    serves(fleet, "new-code", label="new", started=now - 100 * S)
    serves(fleet, "old-code", label="old", started=now - 50 * S)
    serves(fleet, "older-process", label="old", started=now - 800 * S)
    serves(fleet, "quiet", state="quiet")
    serves(fleet, "other-queue", queues=["other"])
    serves(fleet, "gone")
    raw.zadd(fleet.context.keys.workers, {"gone": now - 60 * S})

    found = fleet.scale("mail")

    assert (found.current, found.workers) == (4, 1)
    assert found.remove == ("older-process", "old-code", "new-code")
    assert fleet.scale("mail", least=3).remove == ("older-process",)
    assert fleet.scale("mail", least=4).remove == ()


def test_jobs_that_limits_hold_back_are_told_in_the_reason(fleet: Fleet, raw: redis.Redis, seed: Seed) -> None:
    for ago in range(10, 60, 10):
        store_samples(raw, fleet, {queue_series("mail"): {**BUSY, FIRST_GAUGE: 900}}, ago=ago)
    for number in range(9):
        seed.waiting(str(number), due=-10)
    serves(fleet, "w1")

    assert "9 jobs wait although 4 slots are free" in fleet.scale("mail").reason

    fleet.pause("mail")
    assert "The queue is paused, so its 9 waiting jobs count for nothing." in fleet.scale("mail").reason


def test_without_samples_workers_stay_and_the_reason_says_so(fleet: Fleet) -> None:
    fleet.store.run(fleet.context.open_queue_call("mail"))
    serves(fleet, "w1")

    found = fleet.scale("mail")

    assert (found.workers, found.remove) == (1, ())
    assert found.reason.endswith("1 worker stays, because the last 300 s have too few samples; a reaper takes them.")


@each(
    "given, text",
    [
        ({"least": -1}, "least is -1; give a whole number from 0."),
        ({"most": 0}, "most is 0; give a whole number from 1."),
        ({"least": 5, "most": 4}, "least is 5 and most is 4; give 0 <= least <= most <= 10,000."),
        ({"wait": "0s"}, "wait is '0s'; give 1 second to 1 day."),
        ({"hold": "2h"}, "hold is '2h'; give 0 seconds to 1 hour."),
        ({"hold": "soon"}, "hold is 'soon'; give seconds"),
    ],
)
def test_what_cannot_be_is_refused_by_name(fleet: Fleet, given: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidJob) as refusal:
        fleet.scale("mail", **given)

    assert text in str(refusal.value)
    assert refusal.value.field in given


def test_an_unknown_queue_is_named(fleet: Fleet) -> None:
    with pytest.raises(UnknownQueue, match="No queue 'mial'"):
        fleet.scale("mial")


def test_it_costs_two_round_trips(fleet: Fleet, raw: redis.Redis, seed: Seed) -> None:
    first: Scale = fleet.scale("mail")
    raw.config_resetstat()

    assert fleet.scale("mail").workers == first.workers

    calls = sum(row["calls"] for name, row in raw.info("commandstats").items() if "eval" in name)
    assert calls <= 6  # the fleet; the samples, the lane, and two or three chunks
