"""Unique keys: what a conflict brings, for each scope and wherever the holder stands."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from jobfleet import AsyncFleet, DuplicateJob, Fleet, InvalidJob, Job, JobStatus, Priority, Receipt
from jobfleet.clock import monotonic
from jobfleet.codec import encode
from jobfleet.functions.manifest import function_record
from jobfleet.functions.registry import Registry
from jobfleet.operations.jobs import enqueue
from jobfleet.operations.jobs.prepare import quick
from jobfleet.store import records
from jobfleet.store.calls.lease import claim
from jobfleet.store.calls.presence import beat
from jobfleet.store.calls.settle import release, retry, settle
from jobfleet.store.keys import Keyspace
from tests.client.either import Either, finished

Work = Callable[[], Awaitable[None]]
LANE = Keyspace("jobfleet").lane("default", 0)
MINUTE = 60_000_000

SCOPES: list[Any] = ["queued", "open", 60]
MODES = ["existing", "raise", "replace", "debounce"]


def keyed(suffix: str, *args: Any, **options: Any) -> Job:
    return Job("Sum", "app.add", args or (1, 2), **{"id": suffix, "unique": "sum", **options})


def job_id(suffix: str) -> str:
    return f"{LANE.id_prefix}{suffix}"


class Holder:
    """The job `a`, which takes the key first, brought to where a case wants it."""

    def __init__(self, fleet: Fleet, scope: Any) -> None:
        self.fleet = fleet
        self.scope = scope

    def put(self, **options: Any) -> None:
        assert self.fleet.submit(keyed("a", unique_for=self.scope, **options)).created

    def claim(self, nonce: int = 1) -> int:
        (grant,) = self.fleet.store.run(claim(LANE, child="w.1", nonce=nonce, lease_us=MINUTE, limit=5)).grants
        return grant.token

    def queued(self) -> None:
        self.put()

    def scheduled(self) -> None:
        self.put(delay=30)

    def running(self) -> None:
        self.put()
        self.claim()

    def retrying(self) -> None:
        self.put()
        self.fleet.store.run(settle(LANE, [retry(job_id("a"), self.claim(), delay_us=MINUTE, tries="1:0:0:0:0")]))

    def released(self) -> None:
        """It was given back before it started: a drain."""
        self.put()
        self.fleet.store.run(settle(LANE, [release(job_id("a"), self.claim())]))

    def completed(self) -> None:
        self.put()
        self.fleet.run_worker(burst=True)

    def failed(self) -> None:
        self.fleet.submit(Job("Bad", "app.fail", ("no",), id="a", unique="sum", unique_for=self.scope))
        self.fleet.run_worker(burst=True)

    def cancelled(self) -> None:
        self.put()
        self.fleet.cancel(job_id("a"))

    def gone(self) -> None:
        """Everything of it was lost but its lock."""
        self.put()
        with redis.Redis.from_url(self.fleet.config.url) as raw:
            raw.delete(LANE.job(job_id("a")), LANE.ready[2])


ENDED = ["completed", "failed", "cancelled", "gone"]
STARTED = ["running", "retrying"]
WAITING = ["queued", "scheduled"]


def is_free(scope: Any, state: str) -> bool:
    if scope == 60:
        return False
    return state in ENDED or (scope == "queued" and state in (*STARTED, "released"))


@pytest.mark.parametrize("state", [*WAITING, *STARTED, "released", *ENDED])
@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("mode", MODES)
async def test_every_conflict_for_every_scope_wherever_the_holder_stands(
    client: Either, fleet: Fleet, mode: str, scope: Any, state: str
) -> None:
    await asyncio.to_thread(getattr(Holder(fleet, scope), state))
    holder = await client("poll_many", [job_id("a")])

    newcomer = keyed("b", 3, 4, unique_for=scope, on_conflict=mode, delay=120)
    if not is_free(scope, state) and mode == "raise":
        with pytest.raises(DuplicateJob) as caught:
            await client("submit", newcomer)
        assert caught.value.holder == job_id("a")
        assert await client("poll_many", [job_id("a"), job_id("b")]) == [_same(holder[0]), None]
        return
    receipt = await client("submit", newcomer)

    old, new = await client("poll_many", [job_id("a"), job_id("b")])
    if is_free(scope, state):
        assert receipt == Receipt(id=job_id("b"), created=True, status=JobStatus.SCHEDULED)
        assert old is None if state == "gone" else old.error is None or "replaced" not in old.error
        assert new.unique == "sum"
    elif mode == "replace" and state in (*WAITING, "released"):
        assert receipt == Receipt(id=job_id("b"), created=True, status=JobStatus.SCHEDULED)
        assert (old.status, old.error) == (JobStatus.CANCELLED, f"replaced by {job_id('b')}")
        assert old.cancel_requested_by == f"replaced by {job_id('b')}"
        assert (new.status, new.unique) == (JobStatus.SCHEDULED, "sum")
    elif mode == "debounce" and state in (*WAITING, "released"):
        assert receipt == Receipt(id=job_id("a"), created=False, status=JobStatus.SCHEDULED)
        assert (old.status, new) == (JobStatus.SCHEDULED, None)
        assert old.scheduled_at > holder[0].scheduled_at
    else:
        assert (receipt.id, receipt.created, new) == (job_id("a"), False, None)
        assert receipt.status == (old.status if old is not None else JobStatus.COMPLETED)


class _same:  # noqa: N801 - reads as a word in an assertion
    """Equal to a result of the same status and due time: durations go on."""

    def __init__(self, result: Any) -> None:
        self.result = result

    def __eq__(self, other: object) -> bool:
        known: Any = other
        if self.result is None:
            return known is None
        return (known.status, known.scheduled_at) == (self.result.status, self.result.scheduled_at)

    __hash__ = None  # type: ignore[assignment]


async def test_the_same_job_again_is_no_conflict_with_itself(client: Either) -> None:
    job = keyed("a", on_conflict="raise")

    first, again = await client("submit", job), await client("submit", job)

    assert (first.created, again.created, again.id) == (True, False, first.id)


async def test_a_handle_tells_whose_job_it_is(client: Either) -> None:
    first = await client("handle_of", keyed("a"))
    second = await client("handle_of", keyed("b"))

    assert (second.id, second.created, second.receipt.created) == (first.id, False, False)
    assert second == first
    assert (await finished(second.poll)).unique == "sum"


async def test_a_debounced_job_is_the_latest_call_with_all_its_options(
    client: Either, raw: redis.Redis, work: Work
) -> None:
    await client("submit", keyed("a", 1, 1, delay=600, tags=["old"], timeout=5))

    receipt = await client(
        "submit", keyed("b", 20, 22, on_conflict="debounce", tags=["new"], priority=Priority.HIGH, expires_in=3600)
    )

    result = await client("poll", job_id("a"))
    assert (receipt.id, result.tags, result.status) == (job_id("a"), ("new",), JobStatus.SCHEDULED)
    assert (await client("queues"))[0].by_priority["high"] == 1
    assert raw.zrange(LANE.expiry, 0, -1) == [job_id("a").encode()]
    raw.zadd(LANE.ready[1], {job_id("a"): 1})
    await work()
    assert (await client("poll", job_id("a"))).result == 42


async def test_debounce_stops_at_its_longest(client: Either) -> None:
    first = await client("submit", keyed("a", delay=10, on_conflict="debounce"))
    enqueued = (await client("poll", first.id)).scheduled_at
    for number in range(5):
        await client("submit", keyed(f"b{number}", delay=200, on_conflict="debounce", debounce_max=60))

    put_off = ((await client("poll", first.id)).scheduled_at - enqueued).total_seconds()

    assert put_off == 50, "a minute after it was enqueued, by one clock"


async def test_a_key_held_for_a_time_throttles(client: Either, raw: redis.Redis, work: Work) -> None:
    receipts = []
    for number in range(3):
        receipts.append(await client("submit", keyed(f"n{number}", unique_for=3600)))
        await work()

    assert [(one.id, one.created) for one in receipts] == [
        (job_id("n0"), True), (job_id("n0"), False), (job_id("n0"), False),
    ]  # fmt: skip
    lock: Any = raw.hget(LANE.unique, "sum")
    holder, till, since = lock.decode().split()
    assert int(till) - int(since) == 3600 * 1_000_000
    raw.hset(LANE.unique, "sum", f"{holder} {since} {since}")
    assert (await client("submit", keyed("n9", unique_for=3600))).created


async def test_many_at_once_meet_in_the_order_given(client: Either) -> None:
    jobs = [
        keyed("plain", unique=None), keyed("a"), keyed("b"), keyed("c", on_conflict="raise"),
        keyed("d", on_conflict="replace"), keyed("e", on_conflict="replace"),
        keyed("f", on_conflict="debounce", delay=60), keyed("g", on_conflict="debounce", delay=90),
        keyed("h", unique="other"), keyed("i", unique="{x"[:1] + "{y}}"),
    ]  # fmt: skip

    receipts = await client.all("enqueue_many", jobs)

    assert [(one.id.rpartition(".")[2], one.created) for one in receipts] == [
        ("plain", True), ("a", True), ("a", False), ("a", False), ("d", True), ("e", True), ("e", False), ("e", False),
        ("h", True), ("i", True),
    ]  # fmt: skip
    assert isinstance(receipts[3].error, DuplicateJob)
    assert receipts[3].error.holder == job_id("a")
    assert [one.error for one in receipts if one is not receipts[3]] == [None] * 9
    states = {one.id[-1]: one.status for one in await client("poll_many", [job_id(s) for s in "ade"])}
    assert states == {"a": JobStatus.CANCELLED, "d": JobStatus.CANCELLED, "e": JobStatus.SCHEDULED}


async def test_of_many_with_one_key_the_last_that_replaces_stands(client: Either) -> None:
    receipts = await client.all("enqueue_many", [keyed(f"n{n}", on_conflict="replace") for n in range(120)], chunk=60)

    assert all(one.created for one in receipts)
    results = await client("poll_many", [one.id for one in receipts])
    assert [one.status for one in results] == [JobStatus.CANCELLED] * 119 + [JobStatus.QUEUED]


async def test_a_key_that_cannot_be_made_is_an_error_in_its_receipt(client: Either) -> None:
    receipts = await client.all("enqueue_many", [keyed("a", unique="{m}"), keyed("b")])

    assert isinstance(receipts[0].error, InvalidJob)
    assert receipts[1].created


async def test_concurrent_enqueues_of_an_async_fleet_share_trips_and_one_key(
    redis_url: str, registry: Registry
) -> None:
    async with AsyncFleet(redis_url, registry=registry) as fleet:
        receipts = await asyncio.gather(*(fleet.submit(keyed(f"n{n}")) for n in range(200)))

    assert sum(one.created for one in receipts) == 1
    assert {one.id for one in receipts} == {next(one.id for one in receipts if one.created)}


async def test_concurrent_replacements_leave_one_holder(redis_url: str, registry: Registry, raw: redis.Redis) -> None:
    async with AsyncFleet(redis_url, registry=registry) as fleet:
        receipts = await asyncio.gather(*(fleet.submit(keyed(f"n{n}", on_conflict="replace")) for n in range(100)))

    lock: Any = raw.hget(LANE.unique, "sum")
    holder = lock.decode().split()[0]
    assert raw.zrange(LANE.ready[2], 0, -1) == [holder.encode()]
    created = [one.id for one in receipts if one.created]
    assert holder in created
    assert raw.hget(LANE.totals, "cancelled") == str(len(created) - 1).encode()


@pytest.mark.parametrize("mode", ["replace", "debounce"])
@pytest.mark.parametrize("overtaken", [0, 1, enqueue.ATTEMPTS])
def test_whoever_is_overtaken_begins_anew_within_bounds(fleet: Fleet, mode: str, overtaken: int) -> None:
    fleet.submit(keyed("a"))
    sent = quick(fleet.context, keyed("b", on_conflict=mode, delay=60), monotonic())
    assert sent is not None
    trips = enqueue.settle_one(sent, records.Holder(job_id("a"), "queued", has_started=False))
    answers: Any = None
    receipt = None
    for number in itertools.count():
        try:
            calls = trips.send(answers)
        except StopIteration as end:
            receipt = end.value
            break
        if calls[0].script.name == mode and number // 2 < overtaken:  # somebody else is quicker
            fleet.submit(keyed(f"x{number // 2}", on_conflict="replace"))
        answers = fleet.store.run_many(calls)

    assert number == min(2 * overtaken + 1, 2 * enqueue.ATTEMPTS)
    holder = f"x{overtaken - 1}" if overtaken else "a"
    if overtaken == enqueue.ATTEMPTS:
        assert receipt == Receipt(id=job_id(holder), created=False, status=JobStatus.QUEUED)
    elif mode == "replace":
        assert receipt == Receipt(id=job_id("b"), created=True, status=JobStatus.SCHEDULED)
    else:
        assert receipt == Receipt(id=job_id(holder), created=False, status=JobStatus.SCHEDULED)


def test_whoever_finds_the_key_free_at_last_takes_it(fleet: Fleet) -> None:
    fleet.submit(keyed("a"))
    sent = quick(fleet.context, keyed("b", on_conflict="replace"), monotonic())
    assert sent is not None
    trips = enqueue.settle_one(sent, records.Holder(job_id("a"), "queued", has_started=False))
    calls = next(trips)
    fleet.cancel(job_id("a"))
    calls = trips.send(fleet.store.run_many(calls))

    with pytest.raises(StopIteration) as end:
        trips.send(fleet.store.run_many(calls))

    assert end.value.value == Receipt(id=job_id("b"), created=True, status=JobStatus.QUEUED)


def test_jobs_of_one_key_meet_in_one_lane_of_several(redis_url: str, registry: Registry) -> None:
    with Fleet(redis_url, registry=registry, lanes="default=4") as fleet:
        jobs = [Job("Sum", "app.add", (n, n), unique="{x}") for n in range(50)]
        first = list(fleet.enqueue_many(jobs))
        second = list(fleet.enqueue_many(Job("Sum", "app.add", (n, n), unique="{0}") for n in range(50)))

        assert [one.created for one in first] == [True] * 50
        assert [(one.id, one.created) for one in second] == [(one.id, False) for one in first]
        assert {one.id.split(".")[1] for one in first} == {"0", "1", "2", "3"}
        with pytest.raises(InvalidJob, match="unique and id"):
            fleet.submit(keyed("mine"))


def test_whoever_knows_only_the_name_has_the_key_that_workers_published(redis_url: str, registry: Registry) -> None:
    async def bill(n: int, tenant: str = "acme") -> None: ...

    made = registry.register(bill, name="app.bill", unique="{tenant}-{n}")
    with Fleet(redis_url, registry=registry) as known, Fleet(redis_url, registry=Registry()) as far:
        known.store.run(
            beat(
                known.context.keys,
                "w",
                account=encode({}),
                gone_us=MINUTE,
                functions={"app.bill": function_record(made)},
            )
        )

        first = far.submit(Job("Bill", "app.bill", (7,)))
        second = known.submit(Job("Bill", "app.bill", (7,), {"tenant": "acme"}))

        assert (first.created, second) == (True, first._replace(created=False))
        assert far.poll(first.id).unique == "acme-7"


def test_a_replayed_job_whose_key_is_held_is_refused(fleet: Fleet) -> None:
    Holder(fleet, "open").failed()
    fleet.submit(keyed("b"))

    with pytest.raises(DuplicateJob) as caught:
        fleet.replay(job_id("a"))

    assert caught.value.holder == job_id("b")
    assert fleet.dead()[0].unique == "sum"
    fleet.cancel(job_id("b"))
    assert fleet.replay(job_id("a"))
    assert fleet.submit(keyed("c")).id == job_id("a")
