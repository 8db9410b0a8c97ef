"""A flow with a failed job: what is said of it, and how it is continued; its callback; its jobs with unique keys."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import redis

from jobfleet import DuplicateJob, Fleet, Flow, InvalidJob, Job, JobContext
from jobfleet.functions.registry import Registry
from jobfleet.model.result import Parent, ReasonCode
from jobfleet.operations.flows.unblock import ids_of_whole
from jobfleet.store.calls.flow import read_flow

Seen = list[Any]


class BadPicture(ValueError):
    """A picture that cannot be read."""


@pytest.fixture
def seen(fleet: Fleet, registry: Registry) -> Seen:
    """What the jobs were called with."""
    calls: Seen = []

    def thumb(name: str) -> str:
        if name == "13":
            raise BadPicture("not a picture")
        return name

    def album(ctx: JobContext) -> None:
        calls.append([result.result for result in ctx.parents.values()])

    for function in (thumb, album):
        registry.register(function, name=f"test.{function.__name__}", fleet=fleet, max_retries=0)
    return calls


def pictures() -> Flow:
    """Sixteen thumbs, an album of them, and a mail after it. The thirteenth thumb fails."""
    flow = Flow("Album")
    thumbs = flow.map(lambda n: Job(f"thumb {n}", "test.thumb", (f"{n}",), id=f"t{n}"), range(1, 17))
    album = flow.add(Job("album", "test.album", id="album"), after=thumbs)
    flow.add(Job("mail", "test.album", id="mail"), after=album)
    return flow


def told(fleet: Fleet, job_id: str) -> dict[str, str]:
    """The reasons of a job's state, without how long ago it was."""
    return {one.code: one.text.partition(" ago ")[2] or one.text for one in fleet.explain(job_id).reasons}


def test_a_flow_is_continued_after_its_failed_job_was_replayed_with_other_arguments(fleet: Fleet, seen: Seen) -> None:
    flow = pictures()
    fleet.flows.enqueue(flow)
    fleet.run_worker(burst=True)
    culprit, mail = "default.0.t13", "default.0.mail"
    because = "because 'thumb 13' failed: BadPicture: not a picture."
    retry = f"'jobfleet flow retry {flow.id}'"

    details = fleet.details("default.0.album")
    assert details.root_cause == Parent(culprit, "failed", "thumb 13", "BadPicture: not a picture")
    assert Counter(parent.status for parent in details.parents) == {"completed": 15, "failed": 1}
    assert fleet.details(mail).root_cause == details.root_cause
    can_be = "The flow 'Album' can be continued, which enqueues this job again"
    assert told(fleet, mail) == {"cancelled": because, "flow-stopped": f"{can_be}: {retry}."}
    behind = "Because of it, 2 jobs of the flow 'Album' were cancelled; "
    assert told(fleet, culprit)["flow-stopped"] == f"{behind}{retry} replays this job, and enqueues them again."

    fleet.replay(culprit, args=["13b"])
    assert told(fleet, culprit)["flow-stopped"] == f"{behind}{retry} enqueues them again."
    fleet.run_worker(burst=True)
    assert told(fleet, culprit)["flow-stopped"] == f"{behind}{retry} enqueues them again."
    assert told(fleet, mail)["cancelled"].startswith("because 'thumb 13' did not complete; it was run again")
    assert Counter(job.status for job in fleet.flows.get(flow).jobs) == {"completed": 16, "cancelled": 2}

    assert fleet.flows.retry(flow) == 2
    fleet.run_worker(burst=True)
    assert fleet.flows.get(flow).status == "completed"
    assert seen == [[f"{n}b" if n == 13 else f"{n}" for n in range(1, 17)], [None]]
    for job_id in (culprit, mail):
        assert ReasonCode.FLOW_STOPPED not in told(fleet, job_id)


def test_a_job_whose_unique_key_is_held_is_replaced_by_the_holder(fleet: Fleet, seen: Seen) -> None:
    holder = fleet.enqueue(Job("theirs", "test.thumb", ("1",), unique="one", id="theirs", delay=3600))
    flow = Flow("Album")
    first = flow.add(Job("thumb 0", "test.thumb", ("0",), id="t0"))
    held = flow.add(Job("thumb 1", "test.thumb", ("1",), unique="one", id="t1"), after=first)
    own = flow.add(Job("thumb 2", "test.thumb", ("2",), unique="two", id="t2"), after=first)
    twice = flow.add(Job("thumb 2 again", "test.thumb", ("2",), unique="two", id="t2b"))
    flow.add(Job("album", "test.album", id="album"), after=(first, held, own, twice))
    ids = ["default.0.t0", holder, "default.0.t2b", "default.0.t2b", "default.0.album"]

    def stored() -> tuple[list[str], list[bool], list[tuple[int, ...]]]:
        jobs = sorted(fleet.flows.get(flow).jobs, key=lambda job: (job.name == "album", job.name))
        return [job.id for job in jobs], [job.is_shared for job in jobs], [job.parents for job in jobs]

    assert {job.id for job in fleet.flows.enqueue(flow).jobs} == set(ids)
    assert stored()[:2] == (ids, [False, True, False, False, False])
    before = stored()
    lifted = ids_of_whole(fleet.store.run(read_flow(fleet.context.keys, flow.id)))
    assert set(lifted) == set(ids) - {holder}, "its guard, if it has one, is that of another flow"
    fleet.run_worker(burst=True)
    assert [fleet.poll(one).status for one in ids] == ["completed", "scheduled", "completed", "completed", "blocked"]

    assert fleet.flows.cancel(flow) == 1
    assert fleet.poll(holder).status == "scheduled", "another one has enqueued it"
    fleet.cancel(holder)
    fleet.flows.enqueue(flow)
    assert stored() == before, "the key is free now, and the flow is stored"
    assert seen == []


def test_a_flow_waits_for_the_holder_and_reads_its_result(fleet: Fleet, seen: Seen) -> None:
    fleet.enqueue(Job("theirs", "test.thumb", ("1",), unique="one"))
    flow = Flow("Album")
    parts = [flow.add(Job(f"thumb {n}", "test.thumb", (f"{n}",), unique=("zero", "one")[n])) for n in range(2)]
    flow.add(Job("album", "test.album"), after=parts)
    fleet.flows.enqueue(flow)

    fleet.run_worker(burst=True)

    assert fleet.flows.get(flow).status == "completed"
    assert seen == [["0", "1"]]


def test_a_conflict_that_is_an_error_starts_nothing(fleet: Fleet, seen: Seen) -> None:
    holder = fleet.enqueue(Job("theirs", "test.thumb", ("1",), unique="one"))
    flow = Flow("Album")
    flow.add(Job("thumb 0", "test.thumb", ("0",), id="t0"))
    flow.add(Job("thumb 1", "test.thumb", ("1",), unique="one", on_conflict="raise"))

    with pytest.raises(DuplicateJob) as raised:
        fleet.flows.enqueue(flow)

    assert raised.value.holder == holder
    assert fleet.poll("default.0.t0").status == "cancelled"
    displacing = Flow("Album")
    displacing.add(Job("x", "test.thumb", ("0",), unique="one", on_conflict="replace"))
    with pytest.raises(InvalidJob, match=r"on_conflict='replace' is not for a job of a flow"):
        fleet.flows.enqueue(displacing)


def test_a_unique_job_that_is_enqueued_again_by_a_retry_has_its_key(fleet: Fleet, seen: Seen) -> None:
    flow = Flow("Album")
    first = flow.add(Job("thumb", "test.thumb", ("13",), id="t13"))
    flow.add(Job("album", "test.album", unique="album"), after=first)
    fleet.flows.enqueue(flow)
    fleet.run_worker(burst=True)
    fleet.replay("default.0.t13", args=["1"])

    assert fleet.flows.retry(flow) == 1

    again = fleet.flows.get(flow).jobs[1].id
    assert fleet.submit(Job("other", "test.album", unique="album")).id == again
    fleet.run_worker(burst=True)
    assert fleet.flows.get(flow).status == "completed"
    assert seen == [["1"]]


@pytest.fixture
def alarms(fleet: Fleet, registry: Registry, seen: Seen) -> Seen:
    """What the callback of a flow was called with: for each job the name of its error."""
    calls: Seen = []

    def alarm(ctx: JobContext, *args: Any) -> None:
        calls.append([*args, {job_id: result.error_class for job_id, result in ctx.parents.items()}])

    registry.register(alarm, name="test.alarm", fleet=fleet)
    return calls


@pytest.mark.parametrize("thumbs", [16, 120])
def test_the_callback_of_a_flow_runs_once_at_the_first_failure(
    fleet: Fleet, alarms: Seen, raw: redis.Redis, thumbs: int
) -> None:
    flow = Flow("Album", on_failure=Job("alarm", "test.alarm", ("album",)))
    parts = flow.map(lambda n: Job(f"thumb {n}", "test.thumb", (f"{n}",), id=f"t{n}"), range(1, thumbs + 1))
    flow.add(Job("again", "test.thumb", ("13",), id="again"), after=parts, otherwise="run")
    info = fleet.flows.enqueue(flow)
    callback = f"default.0.{flow.id}.on_failure"
    assert info.on_failure == fleet.flows.get(flow).on_failure == callback
    assert len(info.jobs) == thumbs + 1
    assert fleet.flows.enqueue(flow).on_failure == callback

    fleet.run_worker(burst=True)

    assert alarms == [["album", {"default.0.t13": "BadPicture"}]]
    assert Counter(job.status for job in fleet.flows.get(flow).jobs) == {"completed": thumbs - 1, "failed": 2}
    cause = Parent("default.0.t13", "failed", "thumb 13", "BadPicture: not a picture")
    assert fleet.details(callback).parents == (cause,)
    assert fleet.flows.retry(flow) == 2
    fleet.run_worker(burst=True)
    assert len(alarms) == 1, "it is the first failure that counts"
    assert fleet.flows.get(flow).on_failure == callback


def test_the_callback_of_a_flow_without_a_failure_is_cancelled(fleet: Fleet, alarms: Seen) -> None:
    flow = Flow("Album", on_failure=Job("alarm", "test.alarm"))
    first = flow.add(Job("thumb", "test.thumb", ("1",), id="t1"))
    flow.add(Job("album", "test.album", id="album"), after=first)
    fleet.flows.enqueue(flow)

    fleet.run_worker(burst=True)

    assert fleet.flows.get(flow).status == "completed"
    assert told(fleet, f"default.0.{flow.id}.on_failure") == {"cancelled": "because 'album' completed."}
    assert alarms == []


def test_the_callback_of_a_flow_watches_jobs_that_are_added_at_run_time(
    fleet: Fleet, registry: Registry, alarms: Seen
) -> None:
    async def split(ctx: JobContext) -> None:
        await ctx.flow.add(Job("thumb 13", "test.thumb", ("13",)), name="more")

    registry.register(split, name="test.split", fleet=fleet)
    flow = Flow("Album", on_failure=Job("alarm", "test.alarm"))
    flow.add(Job("split", "test.split", id="split"))
    fleet.flows.enqueue(flow)

    fleet.run_worker(burst=True)

    ((added,),) = [list(parents) for (parents,) in alarms]
    assert fleet.poll(added).name == "thumb 13"


def test_a_callback_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(InvalidJob, match=r"on_failure is 'test.alarm'; give a job") as refused:
        Flow("Album", on_failure="test.alarm")  # type: ignore[arg-type]
    assert refused.value.field == "on_failure"
