"""A job for which an earlier job of its strict sequence comes to wait runs before that job."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis

from jobfleet import Flow, Job, JobContext
from jobfleet.functions.registry import Registry
from jobfleet.store.calls import flow as calls
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import in_place

RAN: list[str] = []
BROKEN: set[str] = set()


def ordered(name: str, *, queue: str = "q", group: str = "acme") -> Job:
    return Job(name, "t.note", (name,), queue=queue, group=group, order="strict")


async def split(ctx: JobContext) -> None:
    parts = Flow("parts")
    first = parts.add(ordered("first"))
    parts.add(ordered("second"))
    parts.add(ordered("third"), after=first)
    await ctx.flow.add(parts, join=True)


async def split_into(group: str, ctx: JobContext) -> None:
    parts = Flow("parts")
    parts.add(ordered("part", group=group))
    await ctx.flow.add(parts, join=True)


async def split_with_extra(ctx: JobContext) -> None:
    parts = Flow("parts")
    parts.add(ordered("extra"))
    joined = parts.add(ordered("joined"))
    await ctx.flow.add(parts, join=joined)


async def note(name: str) -> None:
    if name in BROKEN:
        raise ValueError(name)
    RAN.append(name)


@pytest.fixture
def jobs(server: RedisServer, registry: Registry) -> Iterator[Jobs]:
    RAN.clear()
    BROKEN.clear()
    registry.register(split, name="t.split", queue="q")
    registry.register(split_into, name="t.split_into", queue="q")
    registry.register(split_with_extra, name="t.split_with_extra", queue="q")
    registry.register(note, name="t.note", queue="q", max_retries=0)
    with in_place(server.url, registry) as jobs:
        yield jobs


def test_added_jobs_run_before_the_job_that_waits_for_them(jobs: Jobs) -> None:
    flow = Flow("invoice")
    first = flow.add(Job("split", "t.split", queue="q"))
    flow.add(ordered("sum"), after=first)
    jobs.fleet.flows.enqueue(flow)
    jobs.fleet.enqueue(ordered("next"))

    jobs.drain()

    assert RAN == ["first", "second", "third", "sum", "next"]


def test_added_jobs_run_before_a_job_that_waits_for_them_through_another_queue(jobs: Jobs) -> None:
    flow = Flow("invoice")
    first = flow.add(Job("split", "t.split", queue="q"))
    between = flow.add(Job("between", "t.note", ("between",), queue="q2"), after=first)
    flow.add(ordered("sum"), after=between)
    jobs.fleet.flows.enqueue(flow)

    jobs.drain()

    assert RAN == ["first", "second", "third", "between", "sum"]


def test_added_jobs_wait_behind_a_head_that_does_not_wait_for_them(jobs: Jobs) -> None:
    flow = Flow("invoice")
    first = flow.add(Job("split", "t.split", queue="q"))
    flow.add(Job("later", "t.note", ("later",), queue="q"), after=first)
    blocker = jobs.fleet.enqueue(Job("blocker", "t.note", ("blocker",), queue="q", delay=60))
    jobs.fleet.enqueue(Job("head", "t.note", ("head",), queue="q", group="acme", order="strict", depends_on=[blocker]))
    jobs.fleet.flows.enqueue(flow)

    jobs.drain()
    assert RAN == []
    jobs.advance("2m")

    assert RAN == ["blocker", "head", "first", "second", "third", "later"]


def test_only_added_jobs_that_are_joined_run_before_the_job_that_waits(jobs: Jobs) -> None:
    flow = Flow("invoice")
    first = flow.add(Job("split", "t.split_with_extra", queue="q"))
    flow.add(ordered("sum"), after=first)
    jobs.fleet.flows.enqueue(flow)

    jobs.drain()

    assert RAN == ["joined", "sum", "extra"]


def test_a_parent_that_is_moved_into_the_sequence_of_its_dependant_does_not_wait_behind_it(jobs: Jobs) -> None:
    parent = jobs.fleet.enqueue(Job("parent", "t.note", ("parent",), queue="q", group="acme", order="strict", delay=60))
    jobs.fleet.enqueue(
        Job("child", "t.note", ("child",), queue="q2", group="acme", order="strict", depends_on=[parent])
    )
    jobs.fleet.enqueue(ordered("next", queue="q2"))

    jobs.fleet.move(parent, "q2")
    jobs.drain()
    jobs.advance("61s")

    assert RAN == ["parent", "child", "next"]


def test_a_replayed_part_runs_before_the_job_that_waits_for_it(jobs: Jobs) -> None:
    BROKEN.add("second")
    flow = Flow("invoice")
    first = flow.add(Job("split", "t.split", queue="q"))
    flow.add(ordered("sum"), after=first, otherwise="wait")
    sent = jobs.fleet.flows.enqueue(flow)
    jobs.drain()
    assert RAN == ["first", "third"]
    (failed,) = [job.id for job in jobs.fleet.flows.get(sent.id).jobs if job.name == "second"]

    BROKEN.clear()
    jobs.fleet.replay(failed)
    jobs.drain()

    assert RAN == ["first", "third", "second", "sum"]


def test_callbacks_in_the_same_sequence_run_after_their_job(jobs: Jobs) -> None:
    BROKEN.add("job")
    jobs.fleet.enqueue(
        Job("job", "t.note", ("job",), queue="q", group="acme", order="strict", on_failure=ordered("undone"))
    )
    jobs.fleet.enqueue(ordered("next"))

    jobs.drain()

    assert RAN == ["undone", "next"]


@pytest.mark.parametrize("at_once", [0, 1000])
def test_a_sweep_frees_two_sequences_whose_heads_wait_for_each_other(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    monkeypatch.setattr("jobfleet.operations.jobs.precedence.WALKED_AT_ONCE", at_once)
    for mine, other in (("a", "b"), ("b", "a")):
        flow = Flow(mine)
        first = flow.add(Job("split", "t.split_into", (other,), queue="q"))
        flow.add(ordered(f"sum of {mine}", group=mine), after=first)
        jobs.fleet.flows.enqueue(flow)
    jobs.drain()
    assert RAN == []

    jobs.advance("2m")

    assert sorted(RAN) == ["part", "part", "sum of a", "sum of b"]


def test_a_sweep_finds_a_job_whose_dependant_was_registered_at_the_same_moment(jobs: Jobs) -> None:
    blocker = jobs.fleet.enqueue(Job("blocker", "t.note", ("blocker",), queue="q", delay=30))
    head = jobs.fleet.enqueue(
        Job("head", "t.note", ("head",), queue="q", group="acme", order="strict", depends_on=[blocker])
    )
    part = jobs.fleet.enqueue(ordered("part"))
    keys, store = jobs.fleet.context.keys, jobs.fleet.store
    lane = keys.lane_of(head)
    store.run(calls.join(lane, head, via=blocker, parents=[part], most=10))
    store.run(calls.watch(lane, part, [head]))

    jobs.advance("1h")

    assert [name for name in RAN if name != "blocker"] == ["part", "head"]


def test_a_sweep_survives_a_foreign_head(jobs: Jobs, server: RedisServer) -> None:
    blocker = jobs.fleet.enqueue(Job("blocker", "t.note", ("blocker",), queue="q", delay=30))
    jobs.fleet.enqueue(Job("head", "t.note", ("head",), queue="q", group="b", order="strict", depends_on=[blocker]))
    lane, place = jobs.fleet.context.keys.lane("q", 0), "0" * 16
    with redis.Redis.from_url(server.url) as raw:
        raw.zadd(lane.ready[2], {"strange": 9e15})
        raw.zadd(lane.grouped, {"ha\0strange": 0, f"sa\0{place}\0strange": 0, f"sa\0{place}\0stranger": 0})

    jobs.advance("2m")

    assert RAN == ["blocker", "head"]


async def split_much(ctx: JobContext) -> None:
    parts = Flow("parts")
    for number in range(120):  # more than one call places, and each call begins with a job of the other sequence
        parts.add(ordered(f"{number:03}", group="other" if number % 50 == 0 else "acme"))
    await ctx.flow.add(parts, join=True)


def test_many_added_parents_keep_their_order(jobs: Jobs, registry: Registry) -> None:
    registry.register(split_much, name="t.split_much", queue="q")
    flow = Flow("invoice")
    first = flow.add(Job("split", "t.split_much", queue="q"))
    flow.add(ordered("sum"), after=first)
    jobs.fleet.flows.enqueue(flow)

    jobs.drain()

    assert [name for name in RAN if name == "sum" or int(name) % 50] == [
        *(f"{number:03}" for number in range(120) if number % 50), "sum",
    ]  # fmt: skip


def test_a_sweep_keeps_the_order_of_many_parents(jobs: Jobs) -> None:
    blocker = jobs.fleet.enqueue(Job("blocker", "t.note", ("blocker",), queue="q", delay=30))
    head = jobs.fleet.enqueue(
        Job("head", "t.note", ("head",), queue="q", group="acme", order="strict", depends_on=[blocker])
    )
    parents = [jobs.fleet.enqueue(ordered(f"{number:03}")) for number in range(120)]
    lane = jobs.fleet.context.keys.lane_of(head)
    for begin in range(0, 120, 40):
        some = parents[begin : begin + 40]
        jobs.fleet.store.run(calls.join(lane, head, via=blocker, parents=some, most=1000))
        jobs.fleet.store.run_many([calls.watch(lane, parent, [head]) for parent in some])

    jobs.advance("1h")

    assert [name for name in RAN if name != "blocker"] == [*(f"{number:03}" for number in range(120)), "head"]
