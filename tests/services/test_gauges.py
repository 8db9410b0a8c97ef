"""What scrapers are told of the fleet: whole values, from places that were seeded."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
import redis
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from jobfleet import AsyncFleet, Cron, Job, JobStatus
from jobfleet.codec import encode
from jobfleet.config import JobConfig
from jobfleet.cron import FireOutcomes
from jobfleet.cron.outcomes import End
from jobfleet.metrics.catalog import CATALOG, METRICS
from jobfleet.metrics.exporter import Exporter
from jobfleet.operations.queues import QueueInfo
from jobfleet.services.gauges import FleetGauges, MeanDuration
from jobfleet.store.aio import AsyncStore
from jobfleet.store.call import Call
from jobfleet.store.calls.enqueue import open_queue
from jobfleet.store.calls.presence import beat
from jobfleet.store.keys import Keyspace
from tests.support.seed import S, Seed
from tests.support.state import server_now

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
KEYS = Keyspace("jobfleet")
Found = dict[tuple[str, ...], float]


class Reader:
    """Fleet gauges, and what they have put into their exporter."""

    def __init__(self, store: AsyncStore, redis_url: str) -> None:
        self._exporter = Exporter(CollectorRegistry())
        self.gauges = FleetGauges(store, JobConfig(url=redis_url), self._exporter)

    async def read(self) -> dict[str, Found]:
        await self.gauges.read()
        return self.told()

    def told(self) -> dict[str, Found]:
        found: dict[str, Found] = {}
        for family in text_string_to_metric_families(self._exporter.text().decode()):
            for sample in family.samples:
                name = sample.name.removeprefix("jobfleet_")
                labels = tuple(sample.labels[label] for label in CATALOG[name].labels)
                found.setdefault(name, {})[labels] = sample.value
        return found


@pytest.fixture
async def reader(store: AsyncStore, redis_url: str) -> Reader:
    return Reader(store, redis_url)


def account(queues: Sequence[str], slots: int, running: int, state: str = "running") -> bytes:
    return encode({"queues": list(queues), "slots": slots, "running": running, "state": state, "version": "9"})


async def test_every_place_of_the_fleet_is_told(store: AsyncStore, raw: redis.Redis, reader: Reader) -> None:
    for queue, lanes in (("mail", 2), ("idle", 1)):
        await store.run(open_queue(KEYS, queue, lanes))
    first, second = Seed(raw, KEYS.lane("mail", 0)), Seed(raw, KEYS.lane("mail", 1))
    for n, due in enumerate((-40, -10, 30)):
        first.waiting(str(n), due=due)
    second.waiting("r", due=20, tries="1:0:0:0")
    second.running("x")
    second.dead("d")
    first.paused("ann")
    raw.hset(first.lane.totals, mapping={"enqueued": 9, "completed": 3, "failed": 1, "run_us": 8 * S, "replayed": 2})
    raw.hset(first.lane.totals, mapping={"suspended": 6, "signalled": 5})
    raw.hset(second.lane.totals, mapping={"suspended": 1})
    raw.hset(second.lane.totals, mapping={"journal": 70, "journal_low": 50, "journal_dropped": 4})
    raw.hset(second.lane.totals, mapping={"enqueued": 5, "cancelled": 1, "expired": 1, "retrying": 1})
    raw.zadd(first.lane.expiry, {"a": 1, "b": 2})
    raw.xadd(second.lane.outbox, {"parent": "p"}, id=f"{server_now(raw) // 1000 - 90_000}-0")
    for worker, said in (
        ("busy", account(["mail"], 8, 6)),
        ("free", account(["mail", "other"], 2, 0)),
        ("quiet", account(["mail"], 100, 0, "quiet")),
        ("gone", account(["idle"], 4, 4)),
    ):
        await store.run(beat(KEYS, worker, account=said, gone_us=20 * S, functions={}))
    raw.zadd(KEYS.workers, {"gone": server_now(raw) - 30 * S})

    found = await reader.read()

    assert found["jobs"] == {
        ("mail", "queued"): 2, ("mail", "scheduled"): 1, ("mail", "blocked"): 0, ("mail", "retrying"): 1,
        ("mail", "running"): 1, **{("idle", state): 0 for _, state in found["jobs"]},
    }  # fmt: skip
    assert found["jobs_enqueued_total"] == {("mail",): 14, ("idle",): 0}
    assert found["jobs_suspended_total"] == {("mail",): 7, ("idle",): 0}
    assert found["signals_total"] == {("mail",): 5, ("idle",): 0}
    assert found["jobs_replayed_total"] == {("mail",): 2, ("idle",): 0}
    assert {labels: value for labels, value in found["jobs_ended_total"].items() if value} == {
        ("mail", "completed"): 3, ("mail", "failed"): 1, ("mail", "cancelled"): 1, ("mail", "expired"): 1,
    }  # fmt: skip
    assert found["dead_letters"] == {("mail",): 1, ("idle",): 0}
    assert found["journal_events"] == {("mail",): 20, ("idle",): 0}
    assert found["journal_dropped_total"] == {("mail",): 4, ("idle",): 0}
    assert found["jobs_expiring"] == {("mail",): 2, ("idle",): 0}
    assert found["outbox_records"] == {("mail",): 1, ("idle",): 0}
    assert found["outbox_latency_seconds"] == {("mail",): pytest.approx(90, abs=15), ("idle",): 0}
    assert found["queue_latency_seconds"] == {("mail",): pytest.approx(40, abs=15), ("idle",): 0}
    assert found["queue_paused"] == {("mail",): 1, ("idle",): 0}
    assert found["queue_workers"] == {("mail",): 2, ("idle",): 0}
    assert found["queue_slots"] == {("mail",): 10, ("idle",): 0}
    assert found["queue_slots_used"] == {("mail",): 6, ("idle",): 0}
    assert found["queue_busy_ratio"] == {("mail",): 0.6}
    assert found["queue_backlog_seconds"] == {("mail",): 2 * (8 / 4) / 10}
    assert found["workers"] == {("running",): 2, ("quiet",): 1, ("stopping",): 0, ("gone",): 1}
    assert found["worker_up"] == {("busy", "9"): 1, ("free", "9"): 1, ("quiet", "9"): 1, ("gone", "9"): 0}
    assert found["leases_expired_total"] == {("mail",): 0, ("idle",): 0}
    assert found["redis_up"] == {(): 1}
    assert found["redis_memory_used_bytes"][()] > 500_000
    told = {metric.name for metric in METRICS if metric.where == "fleet"}
    absent = {"sql_outbox_rows", "sql_outbox_lag_seconds"}
    absent |= {name for name in told if name.startswith(("limit_", "breaker_", "cron_"))}
    assert told - found.keys() == absent  # there are no entries, no outbox and no gates


async def test_recurring_jobs_are_late_when_nobody_fires_them(
    fleet: AsyncFleet, store: AsyncStore, raw: redis.Redis, reader: Reader
) -> None:
    for name, cron in (("due", Cron("* * * * *")), ("held", Cron("* * * * *")), ("rare", Cron("0 0 1 1 *"))):
        await fleet.cron.add(name, cron, Job("report", "test.report"))
    await fleet.cron.pause("held", by="ann")
    for name in ("due", "held"):  # as if they had been added ten minutes ago
        head, _, record = cast(bytes, raw.hget(KEYS.cron, name)).partition(b"\n")
        _, fingerprint = head.split(b" ", 1)
        since = str(server_now(raw) - 600 * S).encode()
        raw.hset(KEYS.cron, name, since + b" " + fingerprint + b"\n" + record)
        times = cast(bytes, raw.hget(KEYS.cron_times, name)).partition(b"\n")[2]
        raw.hset(KEYS.cron_times, name, since + b"\n" + times)
    mark = server_now(raw) - 300 * S
    raw.hset(KEYS.lane("default", 0).fired, "due", f"{mark} default.0.x")

    success = End(mark, "default.0.x", JobStatus.COMPLETED, mark + S)
    numbers = FireOutcomes(until=mark, fires=4, completed=1, failures=2, success=success, last=success)
    raw.hset(KEYS.cron_outcomes, mapping={"due": encode(numbers.dump()), "removed": encode(numbers.dump())})

    found = await reader.read()

    assert found["cron_failures"] == {("due",): 2}
    assert found["cron_last_success_timestamp_seconds"] == {("due",): pytest.approx(mark / 1e6 + 1)}
    assert found["cron_last_fire_timestamp_seconds"] == {("due",): pytest.approx(mark / 1e6)}
    late = found["cron_lateness_seconds"]
    assert 239 < late["due",] < 330
    assert (late["held",], late["rare",]) == (0, 0)
    assert {labels for labels in found["cron_fires_total"] if labels[0] == "rare"} == {
        ("rare", outcome) for outcome in ("fired", "missed", "overlapped")
    }

    await fleet.cron.remove("due")
    assert ("due",) not in (await reader.read())["cron_lateness_seconds"]


async def test_a_read_is_three_trips_and_one_script_a_lane_however_many_wait(
    store: AsyncStore, raw: redis.Redis, reader: Reader
) -> None:
    trips: list[list[str]] = []

    class Recorder:
        def tripped(self, calls: Sequence[Call[Any]], seconds: float) -> None:
            trips.append([call.script.name for call in calls])

        def stumbled(self, error: BaseException) -> None:
            raise error

    await store.run(open_queue(KEYS, "mail", 3))
    store.recorder = Recorder()
    await reader.read()
    seed = Seed(raw, KEYS.lane("mail", 0))
    for n in range(500):
        seed.waiting(str(n), due=-n)
    found = await reader.read()

    assert found["jobs"]["mail", "queued"] == 500
    assert trips == 2 * [["fleet", "memory", "timetable", "fire_outcomes"], ["counts"] * 3, ["gates"]]


async def test_a_lane_that_is_broken_is_repaired_and_shown(store: AsyncStore, raw: redis.Redis, reader: Reader) -> None:
    for queue, lanes in (("bad", 3), ("good", 1)):
        await store.run(open_queue(KEYS, queue, lanes))
    raw.set(KEYS.lane("bad", 1).lease, "no sorted set")

    found = await reader.read()

    assert {queue for queue, _ in found["jobs"]} == {"good", "bad"}
    assert found["jobs_enqueued_total"] == {("good",): 0, ("bad",): 0}
    assert found["redis_up"] == {(): 1}
    assert raw.get(f"{KEYS.lane('bad', 1).tag}aside:lease") == b"no sorted set"


@pytest.mark.parametrize(("after", "told"), [(1_005, 1_005), (990, 1_000), (501, 1_000), (500, 500), (0, 0)])
async def test_a_count_that_falls_a_little_is_held_and_one_that_begins_anew_is_told(
    store: AsyncStore, raw: redis.Redis, reader: Reader, after: int, told: int
) -> None:
    lane = KEYS.lane("mail", 0)
    await store.run(open_queue(KEYS, "mail", 1))
    raw.hset(lane.totals, "enqueued", 1_000)
    await reader.read()
    raw.hset(lane.totals, "enqueued", after)

    assert (await reader.read())["jobs_enqueued_total"] == {("mail",): told}
    assert (await reader.read())["jobs_enqueued_total"] == {("mail",): told}


async def test_a_second_scrape_within_a_second_reads_nothing(
    store: AsyncStore, raw: redis.Redis, reader: Reader
) -> None:
    await store.run(open_queue(KEYS, "one", 1))
    await asyncio.to_thread(reader.gauges.refresh)
    assert reader.told()["redis_up"] == {(): 1}
    raw.flushall()
    await asyncio.to_thread(reader.gauges.refresh)
    assert ("one", "queued") in reader.told()["jobs"]


def queue(ended: int, seconds: float) -> QueueInfo:
    totals: Mapping[str, int] = {"completed": ended, "failed": 0}
    return QueueInfo("q", 1, 0, 0, 0, 0, 0, 0, {}, timedelta(), None, totals, timedelta(seconds=seconds))


def test_the_pace_is_of_late_then_of_ever_and_unknown_before_the_first_run() -> None:
    now = 0.0
    pace = MeanDuration(lambda: now)
    assert pace.mean(queue(0, 0)) is None
    now = 10.0
    assert pace.mean(queue(4, 8)) == 2.0
    now = 200.0
    assert pace.mean(queue(14, 108)) == pytest.approx(108 / 14)
    now = 320.0  # what was at 10 s is out of the window
    assert pace.mean(queue(24, 118)) == 1.0
    now = 10_000.0
    assert pace.mean(queue(24, 118)) == pytest.approx(118 / 24)


async def test_the_limit_of_redis_s_memory_is_told(raw: redis.Redis, reader: Reader) -> None:
    raw.config_set("maxmemory", 2**33)
    try:
        found = await reader.read()
    finally:
        raw.config_set("maxmemory", 0)

    assert found["redis_memory_max_bytes"] == {(): 2**33}
    assert 0 < found["redis_memory_used_bytes"][()] < 2**33
