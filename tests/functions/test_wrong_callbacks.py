"""A wrong callback is refused where it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from jobfleet import InvalidJob, Job, JobContext
from jobfleet.functions.registry import JobDecorator, Registry
from tests.support.each import each

JOBS = JobDecorator(Registry())


def function() -> None: ...


@JOBS(name="app.needs")
def needs(ctx: JobContext, to: str) -> None: ...


@JOBS(name="app.free")
def free(ctx: JobContext, to: str = "ann") -> None: ...


WRONG: list[tuple[Any, str]] = [
    ("app.free", "give a job, such as notify"), (function, "give a job"), (7, "give a job"), ([], "give a job"),
    (Job, "give a job"), (needs, r"needs arguments .*give needs\.job"),
    (Job("x", "app.free", id="own"), "a job with id"), (Job("x", "app.free", unique="k"), "a job with unique"),
    (Job("x", "app.free", depends_on=["default.0.a"]), "a job with depends_on"),
    (Job("x", "app.free", cron_expression="* * * * *"), "a job with cron_expression"),
]  # fmt: skip


@each("given, why", WRONG)
@each("option", ["on_success", "on_failure"])
@each("way", ["job", "options", "decorator"])
def test_a_wrong_callback(way: str, option: str, given: Any, why: str) -> None:
    options: dict[str, Any] = {option: given}
    ways: dict[str, Callable[[], object]] = {
        "job": lambda: Job("n", "app.f", **options),
        "options": lambda: JobDecorator(Registry())(name="app.f")(function).options(**options),
        "decorator": lambda: JobDecorator(Registry())(name="app.f", **options)(function),
    }

    with pytest.raises(InvalidJob, match=why) as caught:
        ways[way]()

    assert caught.value.field == option


@pytest.mark.parametrize("given", [free, Job("x", "app.free")], ids=["function", "job"])
def test_a_callback_becomes_a_job(given: Any) -> None:
    made = JobDecorator(Registry())(name="app.f", on_success=given)(function)

    assert isinstance(made.given["on_success"], Job)
    assert isinstance(made.job().on_success, Job)


def test_a_recurring_job_has_no_callbacks() -> None:
    with pytest.raises(InvalidJob, match="on_failure is not for a recurring job"):
        JobDecorator(Registry())(name="app.f", cron="* * * * *", on_failure=free)(function)
    with pytest.raises(InvalidJob, match="on_failure is not for a recurring job"):
        Job("n", "app.f", cron_expression="* * * * *", on_failure=free)
