"""A flow with a failed job: what is said of it, and how it is continued; its callback; its jobs with unique keys."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from jobfleet import Fleet, Flow, Job, JobContext
from jobfleet.functions.registry import Registry
from jobfleet.model.result import Parent, ReasonCode

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
    assert told(fleet, mail) == {
        "cancelled": because, "flow-stopped": f"{retry} continues the flow 'Album', and enqueues this job again."
    }  # fmt: skip
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
