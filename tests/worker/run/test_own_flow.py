"""Jobs that add jobs to their own flow: once, however often they are run; those that wait may wait for them, too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from typing import Any

import pytest
import redis

from jobfleet import Fleet, Flow, InvalidJob, Job, JobContext, JobStatus
from jobfleet.functions.registry import Registry
from jobfleet.operations.flows.record import FlowInfo
from jobfleet.store.keys import Lane
from jobfleet.worker.run.run import ParentEnd
from jobfleet.worker.run.runner import Parents

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
RAN: list[str] = []
FAILS: list[str] = []
TENANT: ContextVar[str] = ContextVar("tenant")


@pytest.fixture(autouse=True)
def clear() -> None:
    RAN.clear()
    FAILS.clear()


async def give(what: str) -> str:
    RAN.append(what)
    if what in FAILS:
        FAILS.remove(what)
        raise ValueError(what)
    return what


async def total(ctx: JobContext) -> list[Any]:
    RAN.append("total")
    return [row.result for row in ctx.parents.values()]


def part(number: int) -> Job:
    return Job(f"part {number}", "test.give", (f"part {number}",))


@pytest.fixture
def enqueue(fleet: Fleet, registry: Registry) -> Callable[[Any], FlowInfo]:
    """Enqueue a flow of two: a function that adds to it, and one that waits for that."""
    registry.register(give, name="test.give", fleet=fleet, max_retries=0)
    registry.register(total, name="test.total", fleet=fleet)

    def enqueued(function: Any, *args: object, **options: Any) -> FlowInfo:
        registry.register(function, name="test.add", fleet=fleet, retry_delay=0, **options)
        flow = Flow("growing")
        flow.chain(Job("add", "test.add", args), Job("total", "test.total"))
        return fleet.flows.enqueue(flow)

    return enqueued


def seen(fleet: Fleet, info: FlowInfo) -> dict[str, str]:
    return {job.name: job.status for job in fleet.flows.get(info.id).jobs}


def result(fleet: Fleet, info: FlowInfo, name: str) -> Any:
    (job,) = [job for job in fleet.flows.get(info.id).jobs if job.name == name]
    return job.result and job.result.result


async def fan_out(ctx: JobContext, count: int) -> list[str]:
    flow = Flow("parts")
    flow.map(part, range(count))
    ids = await ctx.flow.add(flow, join=True)
    RAN.append("added")
    if ctx.attempt == 1:
        raise ConnectionError("after it has added")
    return ids


def fan_out_in_a_thread(ctx: JobContext, count: int) -> list[str]:
    ids = [ctx.flow.add_sync(part(number), join=True) for number in range(count)]
    RAN.append("added")
    if ctx.attempt == 1:
        raise ConnectionError("after it has added")
    return ids


@pytest.mark.parametrize("function", [fan_out, fan_out_in_a_thread])
def test_a_fan_out_at_run_time_and_the_fan_in_that_was_there(
    fleet: Fleet, enqueue: Callable[..., FlowInfo], function: Any
) -> None:
    info = enqueue(function, 120 if function is fan_out else 3)

    fleet.run_worker(burst=True)

    count = RAN.count("added")
    parts = [name for name in RAN if name.startswith("part")]
    assert count == 2, "it was run twice"
    assert len(parts) == len(set(parts)) == (120 if function is fan_out else 3), "and added once"
    assert RAN[-1] == "total"
    assert set(seen(fleet, info).values()) == {"completed"}
    ids = result(fleet, info, "add")
    added = {job.id: job for job in fleet.flows.get(info.id).jobs if job.added_by}
    assert set(ids) == set(added)
    assert {job.added_by for job in added.values()} == {info.jobs[0].id}
    first, *rest = result(fleet, info, "total")
    assert (first, rest) == (ids, [f"part {number}" for number in range(len(ids))])
    (last,) = [job for job in fleet.flows.get(info.id).jobs if job.name == "total"]
    assert len(last.parents) == len(ids) + 1


@pytest.mark.parametrize("function", [fan_out, fan_out_in_a_thread])
def test_what_is_added_passes_what_stands_around_enqueues_and_is_still_added_once(
    fleet: Fleet, enqueue: Callable[..., FlowInfo], function: Any
) -> None:
    @fleet.hooks.around_enqueue
    def stamped(job: Job) -> Job:  # a copy without the id that follows from the job that adds it
        return Job(job.name, job.function, job.args, metadata={"tenant": TENANT.get()})

    @fleet.hooks.around
    async def handed_on(ctx: JobContext, call_next: Callable[[], Awaitable[Any]]) -> Any:
        TENANT.set(str(ctx.metadata["tenant"]))
        return await call_next()

    TENANT.set("acme")
    info = enqueue(function, 3)
    TENANT.set("another")

    fleet.run_worker(burst=True)

    assert RAN.count("added") == 2, "it was run twice"
    assert [name for name in RAN if name.startswith("part")] == ["part 0", "part 1", "part 2"]
    jobs = [job.result for job in fleet.flows.get(info.id).jobs if job.result is not None]
    assert [job.metadata for job in jobs] == [{"tenant": "acme"}] * 5


def test_jobs_that_wait_for_one_another_and_for_the_one_that_adds_them(
    fleet: Fleet, enqueue: Callable[..., FlowInfo]
) -> None:
    async def add(ctx: JobContext) -> None:
        flow = Flow("more")
        parts = flow.map(part, range(3))
        last = flow.add(Job("sum", "test.give", ("sum",)), after=parts)
        await ctx.flow.add(flow, name="more", after_this=True, join=last)
        RAN.append("add")

    info = enqueue(add)
    fleet.run_worker(burst=True)

    assert RAN[0] == "add"
    assert sorted(RAN[1:4]) == ["part 0", "part 1", "part 2"]
    assert RAN[4:] == ["sum", "total"]
    jobs = fleet.flows.get(info.id).jobs
    names = [job.name for job in jobs]
    after = {job.name: sorted(names[parent] for parent in job.parents) for job in jobs}
    assert after == {
        "add": [], "part 0": ["add"], "part 1": ["add"], "part 2": ["add"], "sum": ["part 0", "part 1", "part 2"],
        "total": ["add", "sum"],
    }  # fmt: skip
    assert all(parent < place for place, job in enumerate(jobs) for parent in job.parents)


def test_without_joining_nobody_waits_for_what_was_added(fleet: Fleet, enqueue: Callable[..., FlowInfo]) -> None:
    async def add(ctx: JobContext) -> str:
        return await ctx.flow.add(Job("later", "test.give", ("later",), delay=3600))

    info = enqueue(add)
    fleet.run_worker(burst=True)

    assert seen(fleet, info) == {"add": "completed", "total": "completed", "later": "scheduled"}
    assert fleet.flows.get(info.id).status == "scheduled"
    assert fleet.flows.cancel(info.id) == 1
    assert fleet.poll(result(fleet, info, "add")).status is JobStatus.CANCELLED


def test_what_was_added_may_add_in_turn(fleet: Fleet, registry: Registry, enqueue: Callable[..., FlowInfo]) -> None:
    async def split(ctx: JobContext, depth: int) -> None:
        RAN.append(f"split {depth}")
        for number in range(2 if depth else 0):
            await ctx.flow.add(Job(f"split {depth - 1}.{number}", "test.add", (depth - 1,)), join=True)

    info = enqueue(split, 3)
    fleet.run_worker(burst=True)

    assert len(RAN) == 1 + 2 + 4 + 8 + 1
    assert set(seen(fleet, info).values()) == {"completed"}


def test_a_part_that_fails_cancels_who_joined_it_and_the_flow_runs_on_from_there(
    fleet: Fleet, enqueue: Callable[..., FlowInfo]
) -> None:
    FAILS.append("part 1")
    info = enqueue(fan_out, 3)

    fleet.run_worker(burst=True)
    broken = seen(fleet, info)
    assert fleet.flows.retry(info.id) == 2
    fleet.run_worker(burst=True)

    assert (broken["part 1"], broken["total"]) == ("failed", "cancelled")
    assert set(seen(fleet, info).values()) == {"completed"}
    assert len(fleet.flows.get(info.id).jobs) == 5
    assert RAN.count("total") == 1
    assert sum(job.added_by is not None for job in fleet.flows.get(info.id).jobs) == 3


def told(fleet: Fleet, info: FlowInfo) -> str:
    return str(fleet.poll(info.jobs[0].id).error)


def test_what_is_wrong_is_told_and_adds_nothing(fleet: Fleet, enqueue: Callable[..., FlowInfo]) -> None:
    async def add(ctx: JobContext) -> list[str]:
        said = []
        other = Flow("other").add(part(1))
        empty = Flow("empty")
        for wrong, options in (
            (empty, {}), (part(1), {"name": ""}), (Job("k", "test.give", ("k",), unique="k"), {}),
            (Flow("one"), {"join": other}), (Flow("two", on_failure=part(3)), {}),
        ):  # fmt: skip
            if wrong is not empty and isinstance(wrong, Flow):
                wrong.add(part(2))
            with pytest.raises(InvalidJob) as refused:
                await ctx.flow.add(wrong, **options)
            said.append(str(refused.value))
        with pytest.raises(TypeError, match=r"await ctx\.flow\.add"):
            ctx.flow.add_sync(part(1))
        return said

    info = enqueue(add)
    fleet.run_worker(burst=True)

    assert fleet.poll(info.jobs[0].id).result == [
        "The flow 'empty' has no job.", "name is ''; give 1 to 100 printable characters.",
        "unique is not for jobs that a job adds to its flow; leave it out.",
        "join names 'part 1', which is not of the flow 'one'.",
        "on_failure is for a whole flow, whose callback watches added jobs, too; leave it out of an addition.",
    ]  # fmt: skip
    assert list(seen(fleet, info)) == ["add", "total"]


def test_a_job_of_no_flow_adds_nothing(fleet: Fleet, registry: Registry) -> None:
    async def add(ctx: JobContext) -> None:
        assert ctx.flow.id is None
        await ctx.flow.add(part(1))

    job_id = registry.register(add, name="test.add", fleet=fleet, max_retries=0).enqueue().id
    fleet.run_worker(burst=True)

    assert f"{job_id} belongs to no flow; enqueue it as part of one to add to it." in str(fleet.poll(job_id).error)


def test_a_child_that_has_started_already_is_told_of(fleet: Fleet, registry: Registry) -> None:
    """It ran on when the one before it had failed, which was then replayed."""
    FAILS.append("add")

    async def add(ctx: JobContext) -> None:
        if "add" in FAILS:
            FAILS.clear()
            raise ValueError("not yet")
        await ctx.flow.add(part(1), join=True)

    registry.register(give, name="test.give", fleet=fleet)
    registry.register(add, name="test.add", fleet=fleet, max_retries=0)
    flow = Flow("growing")
    first = flow.add(Job("add", "test.add"))
    flow.add(Job("after", "test.give", ("after",)), after=first, otherwise="run")
    info = fleet.flows.enqueue(flow)
    fleet.run_worker(burst=True)
    fleet.replay(info.jobs[0].id)
    fleet.run_worker(burst=True)

    said = f"{info.jobs[1].id} has completed already; it cannot be made to wait for more."
    assert said in str(fleet.poll(info.jobs[0].id).error)
    assert RAN == ["after"]
    assert seen(fleet, info) == {"add": "failed", "after": "completed"}


def test_a_context_for_a_test_remembers_what_is_added() -> None:
    ctx = JobContext.for_test(flow_id="f")

    with pytest.raises(TypeError, match="add_sync"):
        _ = ctx.flow.add(part(1))
    assert ctx.flow.add_sync(part(1), after_this=True).startswith("default.0.")
    assert [(wish.flow.nodes[0].job.name, wish.name, wish.after_this) for wish in ctx.port.added] == [  # type: ignore[attr-defined]
        ("part 1", "1", True)
    ]


def test_only_a_run_that_can_ask_reads_how_its_parents_ended(
    fleet: Fleet, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    look = Parents.__call__

    async def noted(parents: Parents, lane: Lane, job_id: str, header: Mapping[str, Any]) -> list[ParentEnd]:
        read.append(job_id)
        return await look(parents, lane, job_id, header)

    monkeypatch.setattr(Parents, "__call__", noted)
    registry.register(give, name="test.give", fleet=fleet)
    registry.register(total, name="test.total", fleet=fleet)
    flow = Flow("two")
    first = flow.add(part(1))
    flow.add(part(2), after=first)
    flow.add(Job("total", "test.total"), after=first)
    info = fleet.flows.enqueue(flow)

    fleet.run_worker(burst=True)

    assert sorted(RAN) == ["part 1", "part 2", "total"]
    assert read == [job.id for job in info.jobs if job.name == "total"]


@pytest.mark.parametrize("how", ["completed", "failed", "cancelled"])
def test_the_parents_of_an_ended_job_are_kept_as_long_as_its_end(
    fleet: Fleet, registry: Registry, raw: redis.Redis, how: str
) -> None:
    async def end() -> None:
        if how == "failed":
            raise ValueError(how)

    registry.register(give, name="test.give", fleet=fleet, max_retries=0)
    registry.register(end, name="test.end", fleet=fleet, max_retries=0)
    flow = Flow("two")
    flow.chain(Job("first", "test.give", ("first",)), Job("end", "test.end"))
    info = fleet.flows.enqueue(flow)
    (job_id,) = [job.id for job in fleet.flows.get(info.id).jobs if job.name == "end"]
    if how == "cancelled":
        assert fleet.cancel(job_id)
    fleet.run_worker(burst=True)

    assert fleet.poll(job_id).status == how
    kept = int(str(raw.pttl(fleet.context.keys.lane_of(job_id).parents(job_id))))
    assert (0 < kept <= 86_400_000) is (how != "failed"), "the replay of a dead letter needs them"
