"""`doctor`: it is quiet of a healthy fleet, and each check finds what is planted on a real server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Job
from jobfleet.codec import encode
from jobfleet.functions.callables import CLEANUP
from jobfleet.functions.registry import Registry
from jobfleet.operations.doctor.findings import Diagnosis, Level
from jobfleet.store.calls.lease import tick
from jobfleet.store.calls.presence import beat, know
from jobfleet.store.keys import Keyspace
from tests.cli.hand import Hand
from tests.client.either import Either
from tests.support.seed import Seed
from tests.support.state import server_now

Plant = Callable[[Any], Any]
Work = Callable[[], Awaitable[None]]
KEYS = Keyspace("jobfleet")
LANE = KEYS.lane("default", 0)
pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")


class Ward:
    """A small fleet in good health, and what to harm it with.

    Attributes:
        raw: Writes whatever is wanted.
        seed: Writes jobs.
        waits: A waiting job, with a unique key.
        runs: A running one, with another.
        done: One that has completed.
    """

    def __init__(self, fleet: Fleet, raw: redis.Redis) -> None:
        self.fleet, self.raw = fleet, raw
        hand = Hand(fleet)
        hand.knows("app.add", "app.steps")
        self.seed = Seed(raw, LANE)
        self.done, self.runs, self.waits = (
            fleet.enqueue(Job(name, "app.add", (1, 2), id=name, unique=name)) for name in ("done", "runs", "waits")
        )
        hand.completes(hand.claims(self.done), 3)
        hand.claims(self.runs)

    def beats(self, worker: str, **changes: Any) -> None:
        """A worker tells of itself."""
        account = {"queues": ["default"], "state": "running", "version": "0.1.0", **changes}
        self.fleet.store.run(beat(KEYS, worker, account=encode(account), gone_us=10**9, functions={}))


@pytest.fixture
def ward(fleet: Fleet, raw: redis.Redis) -> Ward:
    """The fleet to be harmed."""
    return Ward(fleet, raw)


@pytest.fixture
def settings(raw: redis.Redis) -> Iterator[None]:
    """The server's settings are put back."""
    yield
    raw.config_set("maxmemory", 0)
    raw.config_set("maxmemory-policy", "noeviction")
    raw.config_set("appendonly", "no")


def troubles(told: Diagnosis) -> dict[str, str]:
    """What is not in order; but for persistence, since the tests' server keeps nothing."""
    return {one.check: str(one.level) for one in told.findings if one.level != Level.OK and one.check != "persistence"}


async def test_of_a_healthy_fleet_nothing_is_said(client: Either, ward: Ward) -> None:
    told: Diagnosis = await client("doctor")

    assert troubles(told) == {}
    assert told.is_sound
    assert told.at is not None
    seen = {one.check: one.seen for one in told.findings}
    assert seen["runs"] == "1 run looked at; each has a lease and an envelope."
    assert seen["waiting"] == "1 waiting job looked at; each has an envelope."
    assert seen["locks"] == "2 unique keys; none is left by a job that has ended."
    assert seen["lifetimes"] == "1 result looked at; each goes with its TTL."
    assert seen["results"].startswith("1 job per hour end")
    assert all(not one.remedy for one in told.findings if one.level == Level.OK)


def test_queues_are_counted_before_no_other_one_can_be_created(redis_url: str, raw: redis.Redis) -> None:
    with Fleet(redis_url, max_queues=3) as small:
        Ward(small, raw).beats("w1", queues=["default", "bulk", "more"])
        small.enqueue(Job("x", "app.steps", (1,), queue="bulk"))
        assert troubles(small.doctor()) == {}

        small.enqueue(Job("x", "app.steps", (1,), queue="more"))

        assert troubles(small.doctor()) == {"queues": "warning"}
        (found,) = [one for one in small.doctor().findings if one.check == "queues"]
        assert found.seen == (
            "3 queues, and max_queues allows 3: no other queue can be created, and workers that serve a new one do "
            "not start."
        )
        assert "queues rm" in found.remedy


def test_of_more_queues_than_there_may_be_those_that_are_served_are_looked_at(redis_url: str, raw: redis.Redis) -> None:
    with Fleet(redis_url, max_queues=1) as small:
        ward = Ward(small, raw)
        ward.beats("w1")
        raw.hset(KEYS.queues, mapping={f"a{number}": "1:1" for number in range(5)})
        ward.seed.dead("x")

        told = small.doctor()

        assert troubles(told) == {"queues": "warning", "dead": "note"}
        (found,) = [one.seen for one in told.findings if one.check == "queues"]
        assert found.startswith("6 queues, and max_queues allows 1: ")
        assert found.endswith(" Looked at: 1 of them.")


async def test_an_empty_server_has_nothing_wrong(client: Either) -> None:
    assert troubles(await client("doctor")) == {"workers": "note"}


async def test_it_changes_nothing(client: Either, ward: Ward) -> None:
    def whole() -> dict[Any, Any]:
        keys: Any = ward.raw.keys()
        return {key: ward.raw.dump(key) for key in keys}

    before = whole()
    await client("doctor")

    assert whole() == before


async def test_after_jobs_of_all_sorts_nothing_is_left(client: Either, work: Work) -> None:
    for function, args in (("app.add", (1, 2)), ("app.fail", ("no luck",)), ("app.flaky", (2,))):
        await client("enqueue", Job("x", function, args, unique=function))
    await work()

    told: Diagnosis = await client("doctor")

    seen = {one.check: one for one in told.findings}
    assert told.is_sound
    assert seen["locks"].seen == "0 unique keys; none is left by a job that has ended."
    assert (seen["dead"].level, seen["dead"].seen) == (Level.NOTE, "1 dead letter: default (1).")


def overdue(ward: Ward) -> None:
    ward.raw.zadd(LANE.lease, {ward.runs: ward.seed.at(-120)})


def no_run(ward: Ward) -> None:
    ward.raw.hdel(LANE.runs, ward.runs)


def no_lease(ward: Ward) -> None:
    ward.raw.zrem(LANE.lease, ward.runs)


def lost_run(ward: Ward) -> None:
    ward.raw.delete(LANE.job(ward.seed.running("x", child="w1.0")))


def lone_lease(ward: Ward) -> None:
    ward.raw.zadd(LANE.lease, {ward.seed.id("nobody"): ward.seed.at(60)})


def late_ending(ward: Ward) -> None:
    ward.raw.xadd(LANE.outbox, {"id": ward.done}, id=f"{ward.seed.at(-120) // 1000}-0")


def lagging_reader(ward: Ward) -> None:
    ward.raw.hset(KEYS.consumers, "audit", 10)
    ward.raw.hset(LANE.totals, mapping={"journal": 9, "journal_low": 1})


def lossy_reader(ward: Ward) -> None:
    ward.raw.hset(KEYS.consumers, "audit", 10)
    ward.raw.hset(LANE.totals, "journal_dropped", 7)


def idle_queue(ward: Ward) -> None:
    ward.fleet.enqueue(Job("x", "app.steps", (1,), queue="bulk"))


def quiet_worker(ward: Ward) -> None:
    ward.beats("w1", state="quiet")


def unknown_function(ward: Ward) -> None:
    ward.fleet.enqueue(Job("x", "app.nobody"))


def damaged_limit(ward: Ward, where: str = "") -> None:
    ward.fleet.limits.named("x", concurrency=1)
    ward.raw.set(f"{KEYS.tag}{where}gate:limit:x", "no hash")


def left_function(ward: Ward) -> None:
    ward.beats("w1", kinds=["k1"])
    ward.fleet.store.run(know(KEYS, "w1", "k1", gone_us=60_000_000, functions={"": "default", "app.other": "default"}))


def misplaced_job(ward: Ward) -> None:
    for worker, queue, functions in (("w1", "default", ("app.add", "app.steps")), ("w2", "bulk", ("app.other",))):
        ward.beats(worker, queues=[queue], kinds=[worker])
        known = {"": queue, **dict.fromkeys(functions, queue)}
        ward.fleet.store.run(know(KEYS, worker, worker, gone_us=60_000_000, functions=known))
    ward.raw.hset(KEYS.functions, "app.other", encode({"options": {"queue": "bulk"}}))
    ward.fleet.enqueue(Job("x", "app.other", queue="default", id="lost"))


def parked_job(ward: Ward) -> None:
    ward.raw.hset(LANE.tries, ward.waits, f"0:0:0:{ward.seed.at(-60)}:0")


def paused_group(ward: Ward) -> None:
    ward.seed.group_paused("tenant-7")


def many_left(ward: Ward) -> None:
    ward.raw.hset(LANE.unique, mapping={f"k{n}": f"{ward.seed.id(f'gone{n}')} 0 1" for n in range(700)})


def many_runs(ward: Ward) -> None:
    for n in range(60):
        ward.seed.running(f"r{n}", child="w1.0")
    ward.raw.delete(LANE.job(ward.seed.id("r59")))


PLANTED: list[tuple[str, Level, Plant, str]] = [
    ("eviction", Level.FAULT, lambda ward: ward.raw.config_set("maxmemory-policy", "allkeys-lru"),
     "maxmemory-policy is allkeys-lru: when memory is full, the server deletes jobs without a word."),
    ("eviction", Level.FAULT, lambda ward: ward.raw.config_set("maxmemory-policy", "volatile-ttl"), "deletes results"),
    ("workers", Level.NOTE, lambda ward: ward.raw.zadd(KEYS.workers, {"w9": ward.seed.at(-600)}), "w9 is gone"),
    ("workers", Level.WARNING, lambda ward: ward.beats("w1", hung=1), "children hang at w1."),
    ("versions", Level.NOTE, lambda ward: ward.beats("w2", version="0.2.0"),
     "Workers run 2 versions of jobfleet: 0.1.0, 0.2.0."),
    ("service", Level.WARNING, idle_queue, "No live worker takes jobs of bulk (1 due job)."),
    ("service", Level.WARNING, quiet_worker, "No live worker takes jobs of default (1 due job; w1 is quiet)."),
    ("functions", Level.WARNING, unknown_function, "No worker has published app.nobody."),
    ("functions", Level.WARNING, left_function, "No live worker knows app.add, which one that has left did."),
    ("functions", Level.WARNING, misplaced_job,
     "No live worker both knows app.other and serves default (job default.0.lost)."),
    ("functions", Level.WARNING, parked_job, "1 job parked, such as default.0.waits."),
    ("leases", Level.WARNING, overdue, "1 lease ended over 1 min ago, and nobody took the jobs back: default.0.runs."),
    ("leases", Level.NOTE, lambda ward: ward.seed.running("x", child="w8.1"),
     "1 job of workers that are gone: default.0.x."),
    ("runs", Level.FAULT, no_run, "Runs and leases do not match: default.0.runs has no run."),
    ("runs", Level.FAULT, no_lease, "Runs and leases do not match: default.0.runs has no lease."),
    ("runs", Level.FAULT, lone_lease, "default.0.nobody has no run and no envelope."),
    ("runs", Level.FAULT, lost_run, "default.0.x has no envelope"),
    ("runs", Level.FAULT, many_runs, "default.0.r59 has no envelope."),
    ("waiting", Level.FAULT, lambda ward: ward.raw.delete(LANE.job(ward.seed.waiting("x"))),
     "2 waiting jobs looked at; the server has lost the envelopes of 1: default.0.x."),
    ("locks", Level.FAULT, lambda ward: ward.seed.holds("k", ward.done),
     "3 unique keys; 1 held by a job that is not open: k by default.0.done."),
    ("locks", Level.WARNING, lambda ward: ward.seed.holds("k", ward.done, till=-3700),
     "3 unique keys; 1 held till a time that is over for more than an hour."),
    ("locks", Level.FAULT, many_left, "500 of 702 unique keys looked at;"),
    ("lifetimes", Level.WARNING, lambda ward: ward.raw.persist(LANE.result(ward.done)),
     "1 result without a TTL: default.0.done."),
    ("long", Level.WARNING, lambda ward: ward.seed.running("x", child="w1.0", claimed=-7500),
     "1 job running for more than an hour: default.0.x (2 h 5 min)."),
    ("outbox", Level.WARNING, late_ending,
     "1 ending not reported yet to jobs that wait for them, the oldest for 2 min"),
    ("journal", Level.WARNING, lagging_reader,
     "audit lags behind in default (8 events); at most 10 events are kept per lane."),
    ("journal", Level.NOTE, lossy_reader, "audit keeps up; 7 events dropped unread in all."),
    ("paused", Level.NOTE, lambda ward: ward.fleet.pause("default"), "Paused: queue default."),
    ("paused", Level.NOTE, lambda ward: ward.fleet.pause(function="app.add"), "Paused: function app.add."),
    ("paused", Level.NOTE, lambda ward: ward.fleet.pause("default", function="app.add"),
     "Paused: function app.add in default."),
    ("paused", Level.NOTE, paused_group, "Paused: group tenant-7 of default."),
    ("damage", Level.FAULT, damaged_limit, "cannot be read: gate:limit:x is a string where a hash belongs"),
    ("damage", Level.NOTE, lambda ward: damaged_limit(ward, "aside:"), "was moved aside: aside:gate:limit:x."),
    ("dead", Level.NOTE, lambda ward: ward.seed.dead("x"), "1 dead letter: default (1)."),
]  # fmt: skip


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize(
    ("check", "level", "plant", "seen"), PLANTED, ids=[f"{n}-{case[0]}" for n, case in enumerate(PLANTED)]
)
def test_a_check_finds_what_is_planted_and_no_other_does(
    ward: Ward, check: str, level: Level, plant: Plant, seen: str
) -> None:
    assert troubles(ward.fleet.doctor()) == {}

    plant(ward)

    told = ward.fleet.doctor()
    assert troubles(told) == {check: str(level)}
    (finding,) = [one for one in told.findings if one.check == check]
    assert seen in finding.seen
    assert finding.remedy or (check, level) == ("journal", Level.NOTE)
    assert told.is_sound is (level != Level.FAULT)


def test_the_stacks_of_a_hung_child_are_named_as_explain_names_them(ward: Ward) -> None:
    rows = [["w1.0", 7, "running", 0, 1, 0, 0.0], ["w1.1", 8, "hung", 1, 1, 0, 0.0, 12.0]]
    ward.beats("w1", hung=1, processes=rows)

    (finding,) = [one for one in ward.fleet.doctor().findings if one.check == "workers"]

    assert finding.remedy == "'jobfleet workers stacks w1.1' shows where."


@pytest.mark.usefixtures("settings")
def test_memory_that_is_full_is_found_and_what_results_will_take(ward: Ward) -> None:
    ward.raw.config_set("maxmemory", 1)

    told = ward.fleet.doctor()

    assert troubles(told) == {"memory": "fault", "results": "warning"}


@pytest.mark.usefixtures("settings")
def test_a_server_that_keeps_nothing_is_found(ward: Ward) -> None:
    (before,) = [one for one in ward.fleet.doctor().findings if one.check == "persistence"]
    ward.raw.config_set("appendonly", "yes")
    (after,) = [one for one in ward.fleet.doctor().findings if one.check == "persistence"]

    assert (before.level, before.seen[:10]) == (Level.WARNING, "AOF is off")
    assert (after.level, after.seen) == (Level.OK, "AOF is on.")


def test_a_job_that_every_worker_knows_is_not_told_of(ward: Ward) -> None:
    ward.fleet.enqueue(Job("tidy", CLEANUP, cron_expression="0 2 * * *"))
    ward.fleet.cron.run("tidy")

    assert "functions" not in troubles(ward.fleet.doctor())


def test_a_job_that_is_in_a_queue_of_other_workers_can_be_moved(ward: Ward) -> None:
    misplaced_job(ward)

    (finding,) = [one for one in ward.fleet.doctor().findings if one.check == "functions"]

    assert finding.remedy == (
        "'jobfleet move default.0.lost --to bulk' moves the job; or start a worker with its module and '-Q default'."
    )


def test_a_job_of_a_module_that_a_worker_runs_undecorated_is_not_told_of(ward: Ward) -> None:
    ward.beats("w1", undecorated=["my_module"])
    ward.fleet.enqueue(Job("x", "my_module.count"))

    assert "functions" not in troubles(ward.fleet.doctor())


@pytest.mark.parametrize(("batches", "apart", "wanted"), [(250, 2, 1800), (50, 60, 50), (80, 60, 60)])
def test_the_rate_is_that_of_the_last_hour_or_of_the_batches_looked_at(
    fleet: Fleet, raw: redis.Redis, batches: int, apart: int, wanted: int
) -> None:
    fleet.enqueue(Job("x", "app.add", delay=60))
    now = server_now(raw) // 1_000_000
    for n in reversed(range(batches)):
        raw.xadd(LANE.done, {"jobs": f"j{n} co 1000"}, id=f"{(now - apart * n) * 1000}-0")

    (told,) = [one.seen for one in fleet.doctor().findings if one.check == "results"]

    number = float(told.partition(" ")[0].replace(",", ""))
    assert abs(number - wanted) <= wanted / 50 + 1


def test_every_lane_is_looked_at(redis_url: str, registry: Registry, raw: redis.Redis) -> None:
    with Fleet(redis_url, registry=registry, lanes={"wide": 3}) as fleet:
        for n in range(30):
            fleet.enqueue(Job("x", "app.add", queue="wide", delay=60, id=f"j{n}"))
        Seed(raw, KEYS.lane("wide", 2)).running("lost", deadline=50)
        raw.hdel(KEYS.lane("wide", 2).runs, "wide.2.lost")

        told = {one.check: one.seen for one in fleet.doctor().findings}

    assert told["waiting"] == "30 waiting jobs looked at; each has an envelope."
    assert told["runs"] == "Runs and leases do not match: wide.2.lost has no run."


def test_what_the_page_says_is_to_be_done_by_hand_puts_it_right(ward: Ward) -> None:
    """One job without a lease, one lease without a job, and a key that nobody holds."""
    ward.raw.zrem(LANE.lease, ward.runs)
    lone_lease(ward)
    ward.seed.holds("k", ward.done)
    before = ward.fleet.doctor()

    ward.raw.zadd(LANE.lease, {ward.runs: 1})
    ward.raw.zrem(LANE.lease, ward.seed.id("nobody"))
    ward.raw.hdel(LANE.unique, "k")
    after = ward.fleet.doctor()

    assert troubles(before) == {"runs": "fault", "locks": "fault"}
    assert troubles(after) == {"leases": "warning"}
    ward.seed.ticked()
    assert [held.id for held in ward.fleet.store.run(tick(LANE)).overdue] == [ward.runs]
