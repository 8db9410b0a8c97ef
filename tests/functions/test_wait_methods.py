"""Waits in a context without a worker, and what they refuse."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from jobfleet import InvalidJob, JobContext, SignalTimeout
from jobfleet.functions.running import Alone
from jobfleet.model.signals import Suspended, suspension_of
from jobfleet.model.spec import job_of_token, new_token
from tests.support.each import each


def test_a_test_has_its_signals_and_sleeps_are_over_at_once() -> None:
    ctx = JobContext.for_test(signals={"approved": {"by": "ann"}})

    ctx.sleep_sync("3d")
    ctx.sleep_sync(timedelta(hours=1), key="grace")
    assert ctx.wait_for_sync("approved", timeout="2d") == {"by": "ann"}
    with pytest.raises(SignalTimeout, match="was not sent the signal 'other' in time") as caught:
        ctx.wait_for_sync("other")

    assert (caught.value.job_id, caught.value.name) == (ctx.job_id, "other")
    assert isinstance(ctx.port, Alone)
    assert [(wait.key, wait.name, wait.delay) for wait in ctx.port.waits] == [
        ("s#1", "", 259_200.0), ("s grace", "", 3600.0), ("x1 other", "other", 3650 * 86_400.0),
    ]  # fmt: skip


async def test_the_awaited_ones_do_the_same_and_each_style_refuses_the_other() -> None:
    ctx = JobContext.for_test(signals={"approved": 1})

    await ctx.sleep(1)
    assert await ctx.wait_for("approved") == 1
    for call in (lambda: ctx.sleep_sync(1), lambda: ctx.wait_for_sync("approved")):
        with pytest.raises(TypeError, match="would block the event loop"):
            call()


def test_a_wait_for_a_token_needs_one() -> None:
    ctx = JobContext.for_test(signals={"approved": 1})

    with pytest.raises(InvalidJob, match=r"waits for a token of 'approved', and has made none; call ctx.token"):
        ctx.wait_for_sync("approved", only_token=True)
    ctx.token("approved")

    assert ctx.wait_for_sync("approved", only_token=True) == 1


def test_the_awaited_ones_need_a_loop() -> None:
    ctx = JobContext.for_test()
    with pytest.raises(TypeError, match=r"ctx\.sleep is awaited in an async def job"):
        _ = ctx.sleep(1)
    with pytest.raises(TypeError, match=r"ctx\.wait_for is awaited in an async def job"):
        _ = ctx.wait_for("approved")


@pytest.mark.parametrize(("field", "value"), [("signals", ["a"]), ("attempt", 0), ("attempt", "x")])
def test_a_wrong_attribute_of_a_context_is_refused(field: str, value: Any) -> None:
    with pytest.raises(InvalidJob, match=f"{field} is ") as caught:
        JobContext.for_test(**{field: value})
    assert caught.value.field == field


@each("delay", [-1, "soon", 3651 * 86_400, None, True])
def test_a_wrong_delay_is_refused(delay: Any) -> None:
    with pytest.raises(InvalidJob, match=r"sleep is .*; give seconds, .* at most ten years"):
        JobContext.for_test().sleep_sync(delay)


@each("name", ["", "x" * 201, "a\nb", 7])
def test_a_wrong_name_is_refused(name: Any) -> None:
    ctx = JobContext.for_test()
    with pytest.raises(InvalidJob, match="The name of a signal is a text of 1 to 200") as caught:
        ctx.wait_for_sync(name)
    assert caught.value.field == "name"
    with pytest.raises(InvalidJob):
        ctx.token(name)


def test_a_token_names_its_job_and_no_two_are_alike() -> None:
    tokens = {new_token("mail.0.a") for _ in range(100)}

    assert len(tokens) == 100
    assert {job_of_token(token) for token in tokens} == {"mail.0.a"}
    assert all(token.replace("-", "").replace("_", "").isalnum() for token in tokens)
    assert [job_of_token(text) for text in ("", "x", "!" * 40, "é" * 40, "a" * 700)] == [None] * 5


def test_a_wait_is_found_in_groups_of_exceptions() -> None:
    wait = Suspended("s#1", "", 1.0)
    group = BaseExceptionGroup("outer", [ValueError(), BaseExceptionGroup("inner", [wait])])

    assert suspension_of(group) is wait
    assert suspension_of(ExceptionGroup("none", [ValueError()])) is suspension_of(None) is None
