"""What stands around enqueues: every job that a process enqueues passes it once, under its own id."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis

from jobfleet import After, Flow, InvalidJob, Job
from jobfleet.functions.registry import Registry
from tests.client.conftest import awaited as client
from tests.client.either import Either, finished

__all__ = ["client"]  # a fixture

PASSED: list[str] = []


def stamped(job: Job) -> Job:
    PASSED.append(job.name)
    return replace(job, metadata={**(job.metadata or {}), "tenant": "acme"})


def made_anew(job: Job) -> Job:
    return Job(job.name, job.function, job.args, job.kwargs, metadata={"tenant": "acme"})


@pytest.fixture(autouse=True)
def clear() -> None:
    PASSED.clear()


@pytest.fixture
def stamping(registry: Registry) -> None:
    registry.hooks.around_enqueue(stamped)


def add(name: str = "add", **options: Any) -> Job:
    return Job(name, "app.add", (1, 2), **options)


async def tenants(client: Either, ids: list[str]) -> list[object]:
    return [(await client("poll", job_id)).metadata.get("tenant") for job_id in ids]


@pytest.mark.usefixtures("stamping")
async def test_a_job_passes_once_by_itself_among_many_and_when_it_waits(client: Either) -> None:
    first = await client("enqueue", add("first"))
    waiting = await client("enqueue", add("waiting", depends_on=[first]))
    many = await client.all("enqueue_many", [add("one"), add("two", depends_on=[After(first)])])

    assert await tenants(client, [first, waiting, *[receipt.id for receipt in many]]) == ["acme"] * 4
    assert PASSED == ["first", "waiting", "one", "two"]


@pytest.mark.usefixtures("stamping")
async def test_every_job_of_a_flow_passes_once(client: Either) -> None:
    flow = Flow("import")
    flow.chain(add("top"), add("middle", metadata={"own": 1}), add("end"))

    info = await finished(client.fleet.flows.enqueue, flow)

    assert await tenants(client, [job.id for job in info.jobs]) == ["acme"] * 3
    assert (await client("poll", info.jobs[1].id)).metadata == {"own": 1, "tenant": "acme"}
    assert PASSED == ["top", "middle", "end"]


@pytest.mark.usefixtures("stamping")
async def test_a_recurring_job_passes_when_it_is_added_and_its_fires_carry_what_it_got(client: Either) -> None:
    await finished(client.fleet.cron.add, "nightly", "@daily", add("added"))
    await client("enqueue", add("weekly", cron_expression="@weekly"))

    ids = [await finished(client.fleet.cron.run, name) for name in ("nightly", "weekly", "nightly")]

    assert await tenants(client, ids) == ["acme"] * 3
    assert PASSED == ["added", "weekly"]


@pytest.mark.usefixtures("stamping")
async def test_what_runs_again_does_not_pass_again(client: Either, work: Callable[[], Any]) -> None:
    failed = await client("enqueue", Job("fail", "app.fail", ("no",)))
    await work()
    await client("replay", failed)
    await client("move", failed, "bulk")

    assert PASSED == ["fail"]


@pytest.mark.parametrize("around", [stamped, made_anew])
async def test_a_job_is_the_same_when_enqueued_again_though_it_was_copied(
    client: Either, registry: Registry, around: Callable[[Job], Job]
) -> None:
    registry.hooks.around_enqueue(around)
    jobs = [add(), add(id="own")]
    before = [await client("submit", job) for job in jobs]
    again = [await client("submit", job) for job in jobs]

    assert [receipt.id.split(".", 2)[2] for receipt in before] == [job.suffix for job in jobs]
    assert [(receipt.id, receipt.created) for receipt in again] == [(receipt.id, False) for receipt in before]


async def test_a_flow_is_the_same_when_enqueued_again_though_its_jobs_were_copied(
    client: Either, registry: Registry
) -> None:
    registry.hooks.around_enqueue(made_anew)
    flow = Flow("import")
    flow.chain(add("top"), add("end"))

    before = await finished(client.fleet.flows.enqueue, flow)
    again = await finished(client.fleet.flows.enqueue, flow)

    assert [job.id for job in again.jobs] == [job.id for job in before.jobs]


async def test_a_job_among_many_that_is_refused_on_the_way_has_its_error_in_its_receipt(
    client: Either, registry: Registry
) -> None:
    @registry.hooks.around_enqueue
    def known_tenants_only(job: Job) -> Job:
        if job.user is None:
            raise InvalidJob("user is not given.", field="user")
        return job

    receipts = await client.all("enqueue_many", [add(user="ann"), add(), add(user="bob")])

    assert [receipt.created for receipt in receipts] == [True, False, True]
    assert isinstance(receipts[1].error, InvalidJob)


async def test_an_id_that_is_given_on_the_way_stands(client: Either, registry: Registry) -> None:
    registry.hooks.around_enqueue(lambda job: replace(job, id=f"invoice-{job.args[0]}"))

    assert await client("enqueue", add()) == "default.0.invoice-1"


async def test_they_are_called_in_the_order_in_which_they_were_added(client: Either, registry: Registry) -> None:
    @registry.hooks.around_enqueue
    def first(job: Job) -> Job:
        return replace(job, tags=["a"])

    @registry.hooks.around_enqueue
    def second(job: Job) -> Job:
        return replace(job, tags=[*(job.tags or ()), "b"])

    job_id = await client("enqueue", add())

    assert (await client("poll", job_id)).tags == ("a", "b")
    assert first(add()).tags == ("a",)


async def test_one_that_answers_no_job_is_named_and_nothing_is_written(
    client: Either, registry: Registry, raw: redis.Redis
) -> None:
    @registry.hooks.around_enqueue
    def forgets(job: Job) -> Job:
        return None  # type: ignore[return-value]  # as one forgets it

    flow = Flow("import")
    flow.add(add())
    for method, given in (
        (client.fleet.enqueue, (add(),)),
        (client.fleet.flows.enqueue, (flow,)),
        (client.fleet.cron.add, ("nightly", "@daily", add())),
    ):
        with pytest.raises(InvalidJob, match=r"forgets .*returned None; return the job") as caught:
            await finished(method, *given)
        assert caught.value.field == "around_enqueue"
    assert raw.keys() == []


@pytest.mark.parametrize("what", [42, "stamped"])
def test_what_is_no_function_is_refused(registry: Registry, what: Any) -> None:
    with pytest.raises(InvalidJob, match="A hook is a function"):
        registry.hooks.around_enqueue(what)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"depends_on": ["default.0.x"]}, "depends_on"),
        ({"unique": "k", "on_conflict": "replace"}, "on_conflict"),
        ({"cron_expression": "@daily"}, "cron_expression"),
    ],
)
async def test_a_job_of_a_flow_gets_nothing_on_the_way_that_a_flow_refuses(
    client: Either, registry: Registry, raw: redis.Redis, change: dict[str, Any], field: str
) -> None:
    registry.hooks.around_enqueue(lambda job: replace(job, **change))
    flow = Flow("import")
    flow.add(add())

    with pytest.raises(InvalidJob) as caught:
        await finished(client.fleet.flows.enqueue, flow)

    assert caught.value.field == field
    assert raw.keys() == []
