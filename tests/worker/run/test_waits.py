"""Jobs that sleep and wait for signals: the run ends, and a later one continues from the steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from jobfleet import Fleet, InvalidJob, Job, JobContext, JobNotFound, JobStatus, SignalTimeout
from jobfleet.functions.registry import Registry
from jobfleet.model.result import ReasonCode
from jobfleet.model.spec import new_token

pytestmark = pytest.mark.filterwarnings("ignore:No worker has published:UserWarning")
RAN: list[str] = []
Raw = Any


@pytest.fixture(autouse=True)
def clear() -> None:
    RAN.clear()


@pytest.fixture
def enqueue(fleet: Fleet, registry: Registry) -> Callable[..., str]:
    def enqueued(function: Any, *args: object, **options: Any) -> str:
        registry.register(function, name="test.wait", fleet=fleet, retry_delay=0)
        return fleet.enqueue(Job("wait", "test.wait", args, **options))

    return enqueued


def say(text: str) -> str:
    RAN.append(text)
    return text


def burst(fleet: Fleet) -> None:
    fleet.run_worker(burst=True)


async def approval(ctx: JobContext, timeout: str | None = None) -> Any:
    await ctx.step("ask", say, "asked")
    value = await ctx.wait_for("approved", timeout)
    await ctx.step("tell", say, "told")
    return [ctx.attempt, value]


def approval_in_a_thread(ctx: JobContext, timeout: str | None = None) -> Any:
    ctx.step_sync("ask", say, "asked")
    value = ctx.wait_for_sync("approved", timeout)
    ctx.step_sync("tell", say, "told")
    return [ctx.attempt, value]


@pytest.mark.parametrize("function", [approval, approval_in_a_thread])
def test_a_job_waits_without_a_run_until_a_signal_comes(
    fleet: Fleet, enqueue: Callable[..., str], function: Any, raw: Raw
) -> None:
    job_id = enqueue(function, "2d")

    burst(fleet)
    explanation = fleet.explain(job_id)
    assert (explanation.status, explanation.reasons[0].code) == (JobStatus.SCHEDULED, ReasonCode.AWAITING_SIGNAL)
    assert explanation.reasons[0].text.startswith("Waiting for signal approved until ")
    assert fleet.signal(job_id, "approved", {"by": "ann"})
    assert not fleet.signal(job_id, "approved", {"by": "bob"})
    burst(fleet)

    result = fleet.poll(job_id)
    assert (result.status, result.result, RAN) == (JobStatus.COMPLETED, [1, {"by": "ann"}], ["asked", "told"])
    assert not fleet.signal(job_id, "approved")
    with pytest.raises(JobNotFound):
        fleet.signal("default.0.zzz", "approved")
    assert all(raw.ttl(key) > 0 for key in raw.scan_iter("*steps:*"))


async def approval_by_token(ctx: JobContext) -> Any:
    await ctx.step("ask", say, ctx.token("approved"))
    return await ctx.wait_for("approved", "2d", only_token=True)


def approval_by_token_in_a_thread(ctx: JobContext) -> Any:
    ctx.step_sync("ask", say, ctx.token("approved"))
    return ctx.wait_for_sync("approved", "2d", only_token=True)


@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("function", [approval_by_token, approval_by_token_in_a_thread])
def test_a_wait_for_a_token_takes_no_other_signal(
    fleet: Fleet, enqueue: Callable[..., str], function: Any, is_early: bool
) -> None:
    job_id = enqueue(function)
    if is_early:
        assert fleet.signal(job_id, "approved", "by somebody")
    burst(fleet)
    assert is_early or fleet.signal(job_id, "approved", "by somebody")
    assert not fleet.signal(job_id, "approved", "by somebody else")
    with pytest.raises(InvalidJob, match="printable"):
        fleet.signal(job_id, "\x1fapproved", "in disguise")
    burst(fleet)
    reason = fleet.explain(job_id).reasons[0]
    assert (reason.code, reason.facts["signal"]) == (ReasonCode.AWAITING_SIGNAL, "approved")
    assert reason.text.endswith("only a token of the job sends it.")
    (token,) = RAN
    with pytest.raises(JobNotFound):
        fleet.signal_by_token(new_token(job_id), "with a token of another job")

    assert fleet.signal_by_token(token, "by the person who was asked")
    burst(fleet)

    assert (fleet.poll(job_id).result, RAN) == ("by the person who was asked", [token])


def finished(fleet: Fleet, job_id: str) -> Any:
    """Run bursts until the job has ended; its waits are short."""
    for _ in range(400):
        burst(fleet)
        result = fleet.poll(job_id)
        if result.status.is_final:
            return result
    raise AssertionError(f"{job_id} has not ended: {fleet.explain(job_id)}")


def overdue(fleet: Fleet, raw: Raw, job_id: str) -> None:
    """Let the time of a wait pass."""
    lane = fleet.context.keys.lane_of(job_id)
    for name in raw.hgetall(lane.steps(job_id)):
        if name.startswith(b"w:"):
            raw.hset(lane.steps(job_id), name, "1000")
    fleet.reschedule(job_id, delay=0)


@pytest.mark.parametrize("function", [approval, approval_in_a_thread])
def test_a_wait_times_out_once_and_for_all(fleet: Fleet, enqueue: Callable[..., str], function: Any, raw: Raw) -> None:
    job_id = enqueue(function, "2d")
    burst(fleet)
    overdue(fleet, raw, job_id)
    assert fleet.signal(job_id, "approved", "late")  # it is kept for a later wait of that name
    burst(fleet)

    result = fleet.poll(job_id)
    assert (result.status, result.error_class, result.attempt) == (JobStatus.FAILED, SignalTimeout.__name__, 1)
    assert result.error == f"{job_id} was not sent the signal 'approved' in time."


async def patient(ctx: JobContext) -> Any:
    try:
        return await ctx.wait_for("approved", "1h")
    except SignalTimeout:
        await ctx.step("remind", say, "reminded")
    return await ctx.wait_for("approved", "1d"), await ctx.wait_for("approved")


def test_a_second_wait_for_a_name_has_its_own_time_out_and_the_value_is_the_first(
    fleet: Fleet, enqueue: Callable[..., str], raw: Raw
) -> None:
    job_id = enqueue(patient)
    burst(fleet)
    overdue(fleet, raw, job_id)
    burst(fleet)
    assert RAN == ["reminded"]
    assert fleet.signal(job_id, "approved", 1)
    burst(fleet)

    assert fleet.poll(job_id).result == (1, 1)


async def nap(ctx: JobContext, early: bool = False) -> Any:
    for _ in range(2):
        await ctx.sleep(0.02)
    await ctx.sleep("20ms", key="last")
    return ctx.attempt, ctx.fence, early


def test_sleeps_are_passed_in_order_and_count_no_attempt(fleet: Fleet, enqueue: Callable[..., str], raw: Raw) -> None:
    job_id = enqueue(nap, expires_in=3600)
    fleet.run_worker(burst=True)
    lane = fleet.context.keys.lane_of(job_id)
    assert b"x " not in (raw.hget(lane.meta, job_id) or b"")  # what has started does not expire

    result = finished(fleet, job_id)

    assert (result.status, result.result[0], result.attempt) == (JobStatus.COMPLETED, 1, 1)


def test_a_sleeper_is_explained_not_moved_and_cancelled(fleet: Fleet, enqueue: Callable[..., str], raw: Raw) -> None:
    async def long(ctx: JobContext) -> None:
        await ctx.sleep("900d")

    job_id = enqueue(long)
    burst(fleet)

    (reason, *_) = fleet.explain(job_id).reasons
    assert reason.code is ReasonCode.SLEEPING
    assert reason.text.startswith("Sleeping until ")
    with pytest.raises(InvalidJob, match="a move would lose its steps"):
        fleet.move(job_id, "other")
    steps = fleet.context.keys.lane_of(job_id).steps(job_id)
    assert raw.ttl(steps) > 900 * 86_400
    assert fleet.cancel(job_id)
    assert fleet.poll(job_id).status is JobStatus.CANCELLED
    assert 0 < raw.ttl(steps) <= 31 * 86_400


def test_a_rescheduled_sleeper_sleeps_on(fleet: Fleet, enqueue: Callable[..., str]) -> None:
    job_id = enqueue(approval)
    burst(fleet)
    assert fleet.reschedule(job_id, delay=0)
    burst(fleet)
    assert fleet.explain(job_id).reasons[0].code is ReasonCode.AWAITING_SIGNAL
    assert fleet.signal(job_id, "approved")
    burst(fleet)
    assert fleet.poll(job_id).status is JobStatus.COMPLETED


def test_a_signal_before_the_start_is_kept(fleet: Fleet, enqueue: Callable[..., str]) -> None:
    job_id = enqueue(approval)
    assert fleet.signal(job_id, "approved", "early")
    burst(fleet)
    assert fleet.poll(job_id).result == [1, "early"]


async def swallows(ctx: JobContext) -> Any:
    try:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(ctx.wait_for("approved"))
    except Exception:
        return "swallowed"
    return task.result()


def test_neither_a_task_group_nor_except_exception_keeps_a_run_from_ending(
    fleet: Fleet, enqueue: Callable[..., str]
) -> None:
    job_id = enqueue(swallows)
    burst(fleet)
    assert fleet.signal(job_id, "approved", "yes")
    burst(fleet)
    assert fleet.poll(job_id).result == "yes"


async def mails(ctx: JobContext) -> Any:
    await ctx.step("mail", say, ctx.token("approved"))
    return await ctx.wait_for("approved")


def mails_in_a_thread(ctx: JobContext) -> Any:
    ctx.step_sync("mail", say, ctx.token("approved"))
    return ctx.wait_for_sync("approved")


@pytest.mark.parametrize("function", [mails, mails_in_a_thread])
def test_a_token_signals_once_and_only_its_hash_is_stored(
    fleet: Fleet, enqueue: Callable[..., str], function: Any, raw: Raw
) -> None:
    job_id = enqueue(function)
    burst(fleet)
    (token,) = RAN
    steps = fleet.context.keys.lane_of(job_id).steps(job_id)
    assert not [1 for name, kept in raw.hgetall(steps).items() if name != b"s:mail" and token.encode() in name + kept]
    wrong: list[Any] = [token[:-1], f"{token}A", f"{token}AAAA", "é", "", None, 7]
    for text in wrong:
        with pytest.raises(JobNotFound, match="No job has made this token"):
            fleet.signal_by_token(text, 1)

    assert fleet.signal_by_token(token, "yes")
    assert fleet.signal_by_token(token, "no")  # a repetition, which changes nothing
    assert not fleet.signal(job_id, "approved", "no")
    burst(fleet)

    assert fleet.poll(job_id).result == "yes"


async def asks_again_and_again(ctx: JobContext) -> list[Any]:
    answers = []
    for number in range(4):
        name = f"approved-{number}"
        assert ctx.token(name) == ctx.token(name)
        await ctx.step(f"mail {number}", say, ctx.token(name))
        answers.append(await ctx.wait_for(name))
    return answers


def test_a_job_that_waits_again_and_again_stores_no_token_of_a_signal_that_has_come(
    fleet: Fleet, enqueue: Callable[..., str], raw: Raw
) -> None:
    job_id = enqueue(asks_again_and_again)
    steps = fleet.context.keys.lane_of(job_id).steps(job_id)
    for number in range(4):
        burst(fleet)
        assert fleet.signal_by_token(RAN[number], number)
        assert len([name for name in raw.hkeys(steps) if name.startswith(b"t:")]) == number + 1
    burst(fleet)

    assert fleet.poll(job_id).result == [0, 1, 2, 3]


def test_sleepers_cost_only_their_call_and_their_steps(fleet: Fleet, enqueue: Callable[..., str], raw: Raw) -> None:
    async def long(ctx: JobContext) -> None:
        await ctx.sleep("1h")

    first = enqueue(long)
    burst(fleet)
    before = {*raw.scan_iter("*")}
    lane = fleet.context.keys.lane_of(first)
    ids = [fleet.enqueue(Job("wait", "test.wait")) for _ in range(100)]
    burst(fleet)

    assert raw.zcard(lane.ready[2]) == 101
    assert raw.hlen(lane.runs) == raw.zcard(lane.lease) == raw.hlen(lane.tries) == 0
    own = {key.encode() for job_id in ids for key in (lane.job(job_id), lane.steps(job_id))}
    more = {key for key in raw.scan_iter("*") if key not in before}
    assert own <= more
    assert len(more - own) < 20  # of the worker
