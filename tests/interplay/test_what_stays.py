"""Once all jobs have ended and the retentions are over, Redis has nothing of them: a load of every feature shows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from jobfleet import After, Breaker, Flow, Job, JobContext, JobStatus, Priority, undo
from jobfleet.functions.registry import Registry
from jobfleet.store.keys import DAY_MS
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import in_place

STAYS = {
    "queues": "stay until an operator removes them",
    "functions": "one field per function that a worker has published",
    "conf": "settings of operators, and limits that functions have declared",
    "totals": "counters since the beginning",
    "lane": "the lane's clock and last token",
    "done": "one node of the stream, because the retention duty drops whole nodes only",
    "dlq": "an empty stream",
    "outbox": "an empty stream",
    "filing": "a mark: the last letter that was filed",
    "claim:<name>": "the last claim of a child, for an hour",
    "kind:<name>": "what a kind of workers knows, until some minutes after its last beat",
    "reports": "the last reports of workers; trimmed by each report",
    "audit": "the last actions of operators, audit_max of them",
    "flows": "the list of the last 1,000 flows",
    "gates": "limits that an operator has defined",
    "gate:<name>": "a limit that an operator has defined",
    "lock-state:<name>": "the last fencing token of a lock, for a month",
    "dead-groups": "the last 1,000 groups of dead letters",
    "dead-group:<name>": "what operators have decided about a group, for 90 days",
    "rescues": "the list of the last 100 rescues",
    "rescue:<name>": "what a rescue has done, for 30 days",
    "payload-store": "the identity of the payload store",
    "kit-clock": "the clock of this test",
}
"""Keys that may be there without any job, by name; a reason each."""
NAMED = ("claim", "gate", "kind", "lock-state", "dead-group", "rescue")
"""Kinds of keys with the name of something other than a job; the comparison leaves the name out."""
SHORT = dict.fromkeys(("result_ttl", "failed_result_ttl", "dead_ttl", "own_id_window", "journal_ttl"), 3600)


async def plain(number: int = 0) -> int:
    return number


async def fails(number: int = 0) -> None:
    raise ValueError(f"no {number}")


def big(text: bytes) -> bytes:
    return text * 2


def note() -> str:
    return "noted"


@undo
def unnote() -> None:
    pass


async def busy(ctx: JobContext) -> None:
    """Write everything that a run can write."""
    await ctx.step("note", note)
    async with ctx.lock("crm"):
        ctx.log.info("locked")
        ctx.progress(0.5, "half")
        await ctx.emit("half")
    await ctx.sleep(5)
    await ctx.wait_for("go", timeout=600)


async def saga(ctx: JobContext) -> None:
    await ctx.step("note", note, undo=unnote)
    raise ValueError("undo it")


async def grow(ctx: JobContext) -> None:
    await ctx.flow.add(Job("added", "t.plain"), name="one")
    await ctx.flow.add(Job("tidy", "t.plain"), name="two", after_this=True)


def batched(numbers: list[int]) -> list[int]:
    return numbers


@pytest.fixture
def jobs(server: RedisServer, registry: Registry, tmp_path: Path) -> Iterator[Jobs]:
    options: dict[Any, dict[str, Any]] = {
        plain: {"tags": ["eu"]},
        fails: {"max_retries": 1, "retry_delay": 2, "breaker": Breaker(0.9, minimum=100)},
        big: {"keep_last": 2},
        busy: {"limits": ["narrow"]},
        saga: {"max_retries": 0},
        grow: {},
        batched: {"batch": 5, "batch_wait": 0},
    }
    for function, own in options.items():
        registry.register(function, name=f"t.{function.__name__}", queue="q", **own)
    store = tmp_path / "payloads"
    store.mkdir()
    with in_place(server.url, registry, payload_store=store.as_uri(), payload_threshold=20_000, **SHORT) as jobs:
        yield jobs


def names(raw: redis.Redis, jobs: Jobs) -> dict[str, str]:
    """The keys of the namespace by kind; one key of each kind."""
    namespace = jobs.fleet.context.keys.namespace
    found = {}
    for key in sorted(key.decode() for key in raw.scan_iter(f"{{{namespace}*")):
        kind, _, rest = key.partition("}:")[2].partition(":")
        found[f"{kind}:<name>" if kind in NAMED else f"{kind}:{rest}" if rest else kind] = key
    return found


def enqueue_everything(jobs: Jobs) -> list[str]:
    """Enqueue jobs of every feature; return those that wait for a signal."""
    fleet = jobs.fleet
    fleet.limits.named("narrow", rate="100/1s", concurrency=5)
    fleet.limits.set("q", group="tenant", concurrency=2)
    many = [Job("plain", "t.plain", (number,), priority=Priority(number % 4)) for number in range(20)]
    assert len(list(fleet.enqueue_many(many))) == 20
    for job in (
        Job("own id", "t.plain", queue="q", id="own-7"),
        Job("user", "t.plain", queue="q", user="ann", session="s-1", metadata={"a": 1}),
        Job("unique", "t.plain", queue="q", unique="key", unique_for=600),
        Job("throttled", "t.plain", queue="q", unique="while queued", unique_for="queued"),
        Job("late", "t.plain", queue="q", delay=60),
        Job("group", "t.plain", queue="q", group="tenant"),
        *[Job("strict", f"t.{f}", queue="q", group="line", order="strict") for f in ("plain", "fails", "plain")],
        *[Job("parked", f"t.{f}", queue="q", group="park", order="strict-park") for f in ("plain", "fails", "plain")],
        *[Job("big", "t.big", (b"x" * 30_000,), queue="q") for _ in range(4)],
        *[Job("batch", "t.batched", (n,), queue="q") for n in range(7)],
        Job("saga", "t.saga", queue="q"),
        Job("short", "t.plain", queue="q", result_ttl=1),
        *[Job("calls", f"t.{f}", queue="q", on_success=Job("good", "t.plain"), on_failure=Job("bad", "t.plain"))
          for f in ("plain", "fails")],
        *[Job("fails", "t.fails", (n,), queue="q") for n in range(8)],
        *[Job("debounced", "t.plain", (n,), queue="q", unique="d", unique_for="queued", on_conflict="debounce", delay=5)
          for n in range(2)],
        Job("replaced", "t.plain", (1,), queue="q", unique="other", delay=50),
        Job("replacing", "t.plain", (2,), queue="q", unique="other", on_conflict="replace"),
    ):  # fmt: skip
        fleet.enqueue(job)
    for failing in (False, True):
        flow = Flow("import")
        first = flow.add(Job("first", "t.fails" if failing else "t.plain", queue="q"))
        parts = [flow.add(Job("part", "t.plain", queue="other"), after=first) for _ in range(3)]
        flow.add(Job("last", "t.grow", queue="q"), after=parts)
        fleet.flows.enqueue(flow)
    late = fleet.enqueue(Job("late", "t.plain", queue="q", delay=60))
    fleet.enqueue(Job("expires", "t.plain", queue="q", depends_on=[late], expires_in=10))
    parent = fleet.enqueue(Job("parent", "t.fails", queue="q"))
    for policy in ("cancel", "run", "wait"):
        fleet.enqueue(Job(policy, "t.plain", queue="q", depends_on=[After(parent, policy)]))
    fleet.cancel(fleet.enqueue(Job("cancelled", "t.plain", queue="q", delay=100)), by="ann")
    fleet.move(fleet.enqueue(Job("moved", "t.plain", queue="q", delay=20)), "other", by="ann")
    return [fleet.enqueue(Job("busy", "t.busy", queue="q")) for _ in range(3)]


def test_only_named_keys_stay_once_the_retentions_are_over(jobs: Jobs, server: RedisServer) -> None:
    raw = redis.Redis.from_url(server.url)
    waiting = enqueue_everything(jobs)
    jobs.drain()
    jobs.advance("2m")
    assert [jobs.fleet.signal(job_id, "go", 1) for job_id in waiting] == [True] * 3
    jobs.advance("20m")
    assert jobs.fleet.groups.skip("park", queue="q", by="ann")
    jobs.drain()
    group, *others = jobs.fleet.dead_groups("q")
    jobs.fleet.rescue(group.fingerprint, by="ann")
    assert jobs.fleet.resolve(others[0].fingerprint, by="ann")
    jobs.advance("20m")
    open_jobs = {job.name for job in jobs.fleet.pending()}
    assert open_jobs == {"good", "wait"}  # they wait for a replay

    jobs.advance("8d")  # longer than the tombstones of cancelled jobs and the records of flows are kept
    jobs.advance("2d")  # a sweep has cancelled those that waited for a replay, when the letters were gone

    assert jobs.fleet.pending() == []
    left = names(raw, jobs)
    assert {name: key for name, key in left.items() if name not in STAYS} == {}
    assert [name for name in STAYS if name not in left] == []


def test_a_purged_letter_takes_what_only_a_replay_needs(server: RedisServer, registry: Registry) -> None:
    raw = redis.Redis.from_url(server.url)
    registry.register(plain, name="t.plain", queue="q")
    registry.register(fails, name="t.fails", queue="q", max_retries=0)
    with in_place(server.url, registry, failed_result_ttl=3600) as jobs:
        first = jobs.fleet.enqueue(Job("first", "t.plain"))
        job_id = jobs.fleet.enqueue(Job("second", "t.fails", depends_on=[first], on_success=Job("good", "t.plain")))
        jobs.drain()
        key = jobs.fleet.context.keys.lane_of(job_id).parents(job_id)
        assert raw.pttl(key) > 29 * DAY_MS
        (good,) = jobs.fleet.pending()
        assert "waits for a replay" in str(jobs.fleet.explain(good.id))

        assert jobs.fleet.purge(job_id)

        assert 0 < raw.pttl(key) <= 3600 * 1000
        jobs.advance("2h")
        assert jobs.fleet.poll(good.id).status is JobStatus.CANCELLED
