"""A job of a strict sequence that sleeps or waits for a signal: it stays the head, and everybody sees why."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from jobfleet import Job, JobContext, JobStatus, RateLimited, undo
from jobfleet.functions.registry import Registry
from jobfleet.model.result import ReasonCode
from jobfleet.testing import Jobs
from tests.support.server import RedisServer
from tests.testing.kit import in_place

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
RAN: list[str] = []


async def say(what: str) -> str:
    RAN.append(what)
    return what


@undo
async def unsay(what: str) -> None:
    RAN.append(f"undo {what}")


async def approve(ctx: JobContext, name: str, timeout: str | None = None) -> Any:
    RAN.append(f"start {name}")
    value = await ctx.wait_for("approved", timeout)
    RAN.append(f"end {name}")
    return value


async def nap(ctx: JobContext, name: str) -> None:
    RAN.append(f"start {name}")
    await ctx.sleep("3d")
    RAN.append(f"end {name}")


async def note(name: str) -> None:
    RAN.append(name)


async def trip(ctx: JobContext, name: str, fails: bool = False) -> None:
    await ctx.step("book", say, f"book {name}", undo=unsay)
    await ctx.wait_for("go", "1d")
    if fails:
        raise ValueError(name)


async def refused(ctx: JobContext, name: str) -> None:
    RAN.append(f"{name} {ctx.fence > 0}")
    if RAN.count(f"{name} True") == 1:
        raise RateLimited(60)


@pytest.fixture
def jobs(server: RedisServer, registry: Registry) -> Iterator[Jobs]:
    RAN.clear()
    for function in (approve, nap, note, trip, refused):
        registry.register(function, name=f"t.{function.__name__}", queue="q", max_retries=0, timeout=30)
    with in_place(server.url, registry) as jobs:
        yield jobs


def enter(jobs: Jobs, function: str, *args: object, order: Any = "strict", group: str = "acme", **options: Any) -> str:
    return jobs.fleet.enqueue(Job("job", f"t.{function}", args, group=group, order=order, **options))


def status(jobs: Jobs, job_id: str) -> str:
    return str(jobs.fleet.poll(job_id).status)


def test_a_head_that_waits_for_a_signal_blocks_its_sequence_and_the_signal_continues_it(jobs: Jobs) -> None:
    head, behind = enter(jobs, "approve", "a", "2d"), enter(jobs, "note", "b")
    other = enter(jobs, "note", "other", group="else")
    jobs.drain()

    assert sorted(RAN) == ["other", "start a"]
    assert (status(jobs, head), status(jobs, behind), status(jobs, other)) == ("scheduled", "blocked", "completed")
    info = jobs.fleet.groups.show("acme")
    assert (info.state, info.head, info.status, info.behind) == ("open", head, JobStatus.SCHEDULED, (behind,))
    assert info.signal == "approved"
    assert info.due is not None
    assert timedelta(days=1) < info.due - jobs.now < timedelta(days=2, minutes=1)
    assert [one.signal for one in jobs.fleet.groups("q")] == ["approved"]
    (reason, *_) = jobs.fleet.explain(behind).reasons
    assert reason.code is ReasonCode.SEQUENCE
    assert f"{head}, the head of its sequence 'acme', which waits for signal approved until " in reason.text
    assert jobs.fleet.explain(head).reasons[0].code is ReasonCode.AWAITING_SIGNAL

    assert jobs.fleet.signal(head, "approved", "yes")
    assert not jobs.fleet.signal(head, "approved", "no")
    assert jobs.fleet.groups.show("acme").signal is None
    jobs.drain()

    assert RAN[-3:] == ["start a", "end a", "b"]
    assert (jobs.fleet.poll(head).result, jobs.fleet.groups()) == ("yes", [])


def test_a_sleeping_head_continues_in_time_and_the_next_one_follows(jobs: Jobs) -> None:
    enter(jobs, "nap", "a")
    behind = enter(jobs, "nap", "b")
    jobs.drain()
    text = jobs.fleet.explain(behind).reasons[0].text
    assert ", which sleeps until " in text
    assert text.endswith("for 3 d more.")
    jobs.advance("2d")
    assert RAN == ["start a"]

    jobs.advance("5d")

    assert RAN == ["start a", "start a", "end a", "start b", "start b", "end b"]


@pytest.mark.parametrize("way", ["cancel", "skip"])
def test_cancelling_the_waiting_head_lets_the_sequence_go_on(jobs: Jobs, way: str) -> None:
    head, behind = enter(jobs, "approve", "a"), enter(jobs, "note", "b")
    jobs.drain()

    assert jobs.fleet.cancel(head) if way == "cancel" else jobs.fleet.groups.skip("acme") == head
    assert not jobs.fleet.signal(head, "approved", "late")
    jobs.drain()

    assert (status(jobs, head), status(jobs, behind), RAN) == ("cancelled", "completed", ["start a", "b"])


def test_a_waiting_head_does_not_expire_and_one_behind_it_does(jobs: Jobs) -> None:
    head = enter(jobs, "approve", "a", "2d", expires_in=3600)
    behind, last = enter(jobs, "note", "b", expires_in=3600), enter(jobs, "note", "c")
    jobs.drain()
    jobs.advance("3h")
    assert (status(jobs, head), status(jobs, behind), status(jobs, last)) == ("scheduled", "expired", "blocked")

    jobs.advance("2d")

    assert (status(jobs, head), status(jobs, last)) == ("failed", "completed")
    assert jobs.fleet.poll(head).error_class == "SignalTimeout"


def test_a_signal_to_a_job_that_waits_behind_the_head_is_kept_for_its_turn(jobs: Jobs) -> None:
    head, behind = enter(jobs, "approve", "a"), enter(jobs, "approve", "b")
    jobs.drain()
    assert jobs.fleet.signal(behind, "approved", 2)
    jobs.drain()
    assert RAN == ["start a"]
    assert jobs.fleet.signal(head, "approved", 1)
    jobs.drain()

    assert RAN == ["start a", "start a", "end a", "start b", "end b"]


def test_a_paused_group_holds_back_a_signalled_head_until_it_is_resumed(jobs: Jobs) -> None:
    head = enter(jobs, "approve", "a")
    jobs.drain()
    jobs.fleet.pause("q", group="acme")
    assert jobs.fleet.signal(head, "approved", 1)
    jobs.drain()
    assert RAN == ["start a"]
    jobs.fleet.resume("q", group="acme")
    jobs.drain()
    assert RAN == ["start a", "start a", "end a"]


def test_a_head_that_a_service_has_refused_keeps_its_place(jobs: Jobs) -> None:
    enter(jobs, "refused", "a")
    enter(jobs, "note", "b")
    jobs.drain()
    assert RAN == ["a True"]

    jobs.advance("2m")

    assert RAN == ["a True", "a True", "b"]


@pytest.mark.parametrize(("order", "follows"), [("strict", True), ("strict-park", False), ("strict-fail-rest", False)])
def test_the_steps_of_a_head_that_fails_after_its_wait_are_undone_under_each_policy(
    jobs: Jobs, order: Any, follows: bool
) -> None:
    head, behind = enter(jobs, "trip", "a", True, order=order), enter(jobs, "note", "b", order=order)
    jobs.drain()
    assert jobs.fleet.signal(head, "go")

    jobs.advance("1m")

    assert (status(jobs, head), "b" in RAN) == ("failed", follows)
    assert [line for line in RAN if line != "b"] == ["book a", "undo book a"]
    assert (
        status(jobs, behind) == {"strict": "completed", "strict-park": "blocked", "strict-fail-rest": "failed"}[order]
    )


@pytest.mark.parametrize("order", ["strict-park", "strict-fail-rest"])
def test_a_head_that_is_cancelled_while_it_waits_is_undone_and_the_next_one_follows(jobs: Jobs, order: Any) -> None:
    head, behind = enter(jobs, "trip", "a", order=order), enter(jobs, "note", "b", order=order)
    jobs.drain()
    assert jobs.fleet.cancel(head)

    jobs.advance("1m")

    assert (status(jobs, behind), sorted(RAN)) == ("completed", ["b", "book a", "undo book a"])
