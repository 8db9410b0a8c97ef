"""Deaths of workers and lost replies: what a simulated death leaves in Redis is what SIGKILL leaves there."""

from __future__ import annotations

import re
from typing import Any

import pytest
import redis

from jobfleet import InvalidJob, Job, JobContext, JobStatus, StoreUnavailable
from jobfleet.functions.registry import Registry
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import Bank, in_place, paying

POINTS = ["after-claim", "before-step:charge", "step:charge", "after-step:charge", "before-settle", "after-settle"]
VARIES = re.compile(r"[0-9a-f]{6,}|\d+")


OF_WORKERS = (":claim:", ":wake", ":lane", ":sent:", "{ns}:")
"""Keys about the worker itself: when it last claimed, waited and reported depends on how far it had come."""


def dump(raw: Any, namespace: str) -> dict[str, Any]:
    """All keys about jobs in a namespace, with numbers and ids as ``#``."""
    found: dict[str, Any] = {}
    for key in sorted(raw.scan_iter(match=f"{{{namespace}*")):
        name = VARIES.sub("#", bytes(key).decode().replace(namespace, "ns"))
        if any(part in name for part in OF_WORKERS):
            continue
        kind = raw.type(key).decode()
        read = {
            "hash": raw.hgetall,
            "string": raw.get,
            "zset": lambda one: raw.zrange(one, 0, -1),
            "stream": raw.xrange,
        }
        value = read[kind](key)
        if kind == "string":  # an envelope, or a status and a record, which have times
            value = bytes(value).split(b" ")[0] if ":result:" in name else kind
        found[name] = VARIES.sub("#", str(value).replace(namespace, "ns"))
    return found


def killed(url: str, raw: redis.Redis, point: str, *, process: bool) -> dict[str, Any]:
    registry = Registry()
    paying(registry, Bank())
    with in_place(url, registry) as jobs:
        job_id = jobs.fleet.enqueue(Job("x", "shop.pay", (5,)))
        jobs.kill_at(point)
        jobs.drain(process=process)
        assert jobs.kit.faults.killed_at == point
        seen = dump(raw, jobs.fleet.config.namespace)
        jobs.advance("1m", cron=False)
        assert jobs.fleet.poll(job_id).status is JobStatus.COMPLETED, point
        return seen


@pytest.mark.parametrize("point", POINTS)
def test_a_simulated_death_leaves_what_a_killed_process_leaves(server: RedisServer, point: str) -> None:
    with redis.Redis.from_url(server.url) as raw:
        assert killed(server.url, raw, point, process=False) == killed(server.url, raw, point, process=True)


def test_no_code_of_the_job_survives_its_worker(server: RedisServer) -> None:
    registry, seen = Registry(), list[str]()

    async def careless(ctx: JobContext) -> None:
        try:
            await ctx.step("first", seen.append, "first")
        except Exception:
            seen.append("caught")
        seen.append("after")

    registry.register(careless, name="t.careless", queue="q")
    with in_place(server.url, registry) as jobs:
        jobs.fleet.enqueue(Job("x", "t.careless"))
        jobs.kill_at("step:first")
        jobs.drain()
        assert seen == ["first"]
        assert jobs.drain() == []  # the lease has not ended
        jobs.advance("1m", cron=False)

    assert seen == ["first", "first", "after"]


def test_a_worker_dies_at_the_asked_occurrence(server: RedisServer) -> None:
    registry, seen = Registry(), list[int]()
    registry.register(seen.append, name="t.add", queue="q")
    with in_place(server.url, registry, slots=1) as jobs:
        for number in range(3):
            jobs.fleet.enqueue(Job("x", "t.add", (number,)))
        jobs.kill_at("before-settle", occurrence=2)
        jobs.drain()
        assert jobs.kit.faults.passed.count("before-settle") == 2
        jobs.advance("1m", cron=False)

    assert sorted(set(seen)) == [0, 1, 2]
    assert len(seen) > 3


def test_a_death_between_two_enqueues_of_a_job(server: RedisServer) -> None:
    registry = Registry()

    def fan_out() -> None:
        for number in range(2):
            registry.functions["t.part"].enqueue(number)

    registry.register(fan_out, name="t.fan_out", queue="q")
    registry.register(lambda number: number, name="t.part", queue="q")
    with in_place(server.url, registry) as jobs:
        jobs.fleet.enqueue(Job("x", "t.fan_out"))
        jobs.kill_at("after-enqueue")
        jobs.drain()
        jobs.advance("1m", cron=False)
        ended = [int(job.result or 0) for job in jobs.drain() if job.function == "t.part"]

    assert sorted(ended) == [0, 0, 1]


@pytest.mark.parametrize("verb", ["enqueue", "claim", "settle", "keep"])
def test_a_lost_reply_has_no_second_effect(server: RedisServer, verb: str) -> None:
    registry, bank = Registry(), Bank()
    paying(registry, bank)
    with in_place(server.url, registry) as jobs:
        jobs.lose_reply(verb)
        jobs.fleet.enqueue(Job("x", "shop.pay", (5,)))
        ended = jobs.drain()

        assert jobs.kit.faults.lost == [verb]
    assert [job.status for job in ended] == [JobStatus.COMPLETED]
    assert bank.paid == [(5, None)]


def test_a_producer_may_give_up_although_the_job_was_enqueued(server: RedisServer) -> None:
    registry, bank = Registry(), Bank()
    paying(registry, bank)
    with in_place(server.url, registry) as jobs:
        jobs.lose_reply("enqueue", gives_up=True)
        with pytest.raises(StoreUnavailable, match="the reply to enqueue was lost"):
            jobs.fleet.enqueue(Job("x", "shop.pay", (5,)))
        jobs.drain()

    assert bank.paid == [(5, None)]


def ask(jobs: Jobs, what: str, value: Any) -> None:
    jobs.kill_at(value) if what == "point" else jobs.lose_reply(value)


@pytest.mark.parametrize(
    ("what", "value", "message"),
    [
        ("point", "step", "There is no kill point 'step'"),
        ("point", "step:", "There is no kill point 'step:'"),
        ("point", None, "There is no kill point None"),
        ("point", "before-lunch", "the points are after-claim, before-settle"),
        ("verb", "poll", "There is no call 'poll' to lose replies of; the calls are enqueue, settle, claim, keep."),
    ],
)
def test_an_unknown_point_or_call_is_refused(server: RedisServer, what: str, value: Any, message: str) -> None:
    with in_place(server.url, Registry()) as jobs, pytest.raises(InvalidJob, match=re.escape(message)):
        ask(jobs, what, value)


def test_an_occurrence_counts_from_one(server: RedisServer) -> None:
    with in_place(server.url, Registry()) as jobs, pytest.raises(InvalidJob, match="number, 1 for the first time"):
        jobs.kill_at("after-claim", 0)


@pytest.mark.parametrize("times", [0, -1, 1.5, "x", True])
def test_a_number_of_replies_is_checked(server: RedisServer, times: Any) -> None:
    with (
        in_place(server.url, Registry()) as jobs,
        pytest.raises(InvalidJob, match="give a whole number, 1 for the next"),
    ):
        jobs.lose_reply("settle", times)


def test_a_fault_that_does_not_happen_is_reported(server: RedisServer) -> None:
    registry, seen = Registry(), list[int]()
    registry.register(seen.append, name="t.add", queue="q")
    with in_place(server.url, registry) as jobs:
        jobs.fleet.enqueue(Job("x", "t.add", (1,)))
        jobs.kill_at("after-settle")
        jobs.drain()
        jobs.kit.faults.check_reached()
        jobs.kill_at("step:typo")
        jobs.lose_reply("claim")
        jobs.fleet.enqueue(Job("x", "t.add", (2,)))

        with pytest.raises(AssertionError) as caught:
            jobs.kit.faults.check_reached()

    assert str(caught.value) == (
        "kill_at('step:typo') and lose_reply('claim') did not happen. The kill points that workers passed: "
        "after-claim, before-settle, after-settle."
    )
