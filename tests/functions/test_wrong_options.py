"""A wrong option is refused where it is given, and the message names the right one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobfleet import InvalidJob, Job, Priority
from jobfleet.functions.registry import JobDecorator, Registry
from tests.support.each import each

SOON = datetime.now(UTC) + timedelta(hours=1)
MEANT = [("retry", "max_retries"), ("retries", "max_retries"), ("prioritee", "priority"), ("countdown", "delay"),
         ("ttl", "result_ttl"), ("time_limit", "timeout"), ("max_retry", "max_retries"),
         ("isolation", "run_in")]  # fmt: skip


def function() -> None: ...


@each("given, meant", [*MEANT, ("eta", "scheduled_at")])
def test_an_unknown_option_of_a_job(given: str, meant: str) -> None:
    options: dict[str, Any] = {given: 3}
    made = JobDecorator(Registry())(name="app.f")(function)

    with pytest.raises(TypeError, match=rf"^Job has no option '{given}'; did you mean '{meant}'\?$"):
        Job("n", "app.f", **options)
    with pytest.raises(InvalidJob, match=rf"^'{given}' is not an option of a job; did you mean '{meant}'\?$"):
        made.options(**options)


@each("given, meant", MEANT)
def test_an_unknown_option_of_a_function(given: str, meant: str) -> None:
    options: dict[str, Any] = {given: 3}
    with pytest.raises(InvalidJob, match=rf"^'{given}' is not an option of a job; did you mean '{meant}'\?$"):
        JobDecorator(Registry())(name="app.f", **options)(function)


def test_an_option_of_one_job_on_the_decorator() -> None:
    with pytest.raises(InvalidJob, match=r"^user is for one job: give it to \.options\(user=…\) or to Job\(…\)\.$"):
        JobDecorator(Registry())(name="app.f", user="ann")(function)  # type: ignore[call-overload]


CONTRADICTIONS: list[tuple[str, dict[str, Any]]] = [
    ("scheduled_at", {"delay": 5, "scheduled_at": SOON}),
    ("scheduled_at", {"delay": 0, "scheduled_at": SOON}),
    ("expires_at", {"expires_in": 5, "expires_at": SOON}),
    ("cron_expression", {"cron_expression": "nope"}),
    ("cron_expression", {"cron_expression": "0 0 31 2 *"}),
    ("cron_expression", {"cron_expression": "61 * * * *"}),
    ("tz", {"cron_expression": "0 2 * * *", "tz": "Mars/Olympus"}),
    ("tz", {"tz": "Europe/Berlin"}),
    ("depends_on", {"depends_on": [7]}),
    ("depends_on", {"depends_on": [Job("n", "app.f")]}),
    ("depends_on", {"depends_on": "mail.0.1"}),
]


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("order", {}),
        ("on_conflict", {"group": "{n}", "unique": "{n}", "on_conflict": "replace"}),
        ("on_conflict", {"group": "{n}", "unique": "{n}", "on_conflict": "debounce", "delay": 1}),
    ],
)
def test_an_order_that_no_job_can_have(field: str, options: Any) -> None:
    def book(n: int) -> None:
        """A function with a parameter."""

    registry = Registry()
    with pytest.raises(InvalidJob) as caught:
        JobDecorator(registry)(name="app.book", order="strict", **options)(book)
    assert (caught.value.field, registry.functions) == (field, {})


def test_a_label_is_for_one_job() -> None:
    made = JobDecorator(Registry())(name="app.f")(function)

    with pytest.raises(InvalidJob, match=r"^name is the label of one job: use Job\(NAME, FUNCTION, …\)\.$") as caught:
        made.options(name="Send")  # type: ignore[call-arg]
    assert caught.value.field == "name"


@each("field, options", CONTRADICTIONS)
def test_options_that_contradict_each_other_or_mean_nothing(field: str, options: dict[str, Any]) -> None:
    made = JobDecorator(Registry())(name="app.f")(function)

    for give in (lambda: Job("n", "app.f", **options), lambda: made.options(**options)):
        with pytest.raises(InvalidJob) as caught:
            give()
        assert caught.value.field == field


def test_an_option_of_one_job_replaces_the_one_of_the_decorator_that_it_excludes() -> None:
    made = JobDecorator(Registry())(name="app.f", delay=60, expires_in=90)(function)

    assert made.options(scheduled_at=SOON, expires_in=None).given == {"scheduled_at": SOON}
    assert made.options(scheduled_at=SOON).given == {"scheduled_at": SOON, "expires_in": 90.0}
    assert made.options(expires_at=SOON).given == {"delay": 60.0, "expires_at": SOON}
    assert made.options(delay=None).given == {"expires_in": 90.0}


WRONG: list[tuple[str, Any]] = [
    ("max_retries", "3"), ("max_retries", 1.5), ("max_crashes", 0), ("priority", "high"), ("tags", "eu"),
    ("metadata", [1]), ("retry_jitter", "yes"), ("retry_backoff", 0), ("queue", "a b"), ("group", ""),
    ("unique", 7), ("unique_for", "ever"), ("on_conflict", "skip"), ("run_in", "cloud"), ("delay", "soon"),
]  # fmt: skip


@each("option, value", WRONG)
@each("way", ["job", "options", "decorator"])
def test_an_option_of_the_wrong_type(way: str, option: str, value: Any) -> None:
    given: dict[str, Any] = {option: value}
    ways: dict[str, Callable[[], object]] = {
        "job": lambda: Job("n", "app.f", **given),
        "options": lambda: JobDecorator(Registry())(name="app.f")(function).options(**given),
        "decorator": lambda: JobDecorator(Registry())(name="app.f", **given)(function),
    }

    with pytest.raises(InvalidJob) as caught:
        ways[way]()

    assert caught.value.field == option


@each("given", [0, -1, True, 1.5, "3", 100_001, [3]])
def test_a_number_of_results_to_keep_that_is_none(given: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        JobDecorator(Registry())(name="app.f", keep_last=given)(function)

    assert caught.value.field == "keep_last"
    text = f"keep_last is {given!r}; give a whole number from 1 to 100,000, or leave it out to keep all."
    assert str(caught.value) == text


DELAYS: list[Any] = [
    "soon",
    True,
    -1,
    float("nan"),
    [],
    ["soon"],
    [5, True],
    [[5]],
    [5, -1],
    [5] * 101,
    b"5",
    {5: 1},
    "",
]


@each("value", DELAYS)
@each("way", ["job", "options", "decorator"])
def test_a_wrong_delay_of_retries_is_refused_with_a_remedy(way: str, value: Any) -> None:
    ways: dict[str, Callable[[], object]] = {
        "job": lambda: Job("n", "app.f", retry_delay=value),
        "options": lambda: JobDecorator(Registry())(name="app.f")(function).options(retry_delay=value),
        "decorator": lambda: JobDecorator(Registry())(name="app.f", retry_delay=value)(function),
    }

    with pytest.raises(InvalidJob, match=r"^retry_delay is .*; give ") as caught:
        ways[way]()

    assert caught.value.field == "retry_delay"


@each("value", ["soon", True, -1, 0, "0s", float("inf"), [60], "200000d"])
@each("way", ["job", "options", "decorator"])
def test_a_wrong_bound_of_retries_is_refused_with_a_remedy(way: str, value: Any) -> None:
    ways: dict[str, Callable[[], object]] = {
        "job": lambda: Job("n", "app.f", retry_for=value),
        "options": lambda: JobDecorator(Registry())(name="app.f")(function).options(retry_for=value),
        "decorator": lambda: JobDecorator(Registry())(name="app.f", retry_for=value)(function),
    }

    with pytest.raises(InvalidJob, match=r"^retry_for is .*; give |^retry_for is 0; give more than 0") as caught:
        ways[way]()

    assert caught.value.field == "retry_for"


async def awaited(number: int, error: BaseException) -> float:
    return 1.0


def of_one(number: int) -> float:
    return 1.0


@pytest.mark.parametrize(
    ("given", "why"), [(awaited, "a coroutine function"), (of_one, "takes the number of the retry")]
)
def test_a_function_of_delays_that_cannot_be_called_is_refused(given: Any, why: str) -> None:
    with pytest.raises(InvalidJob, match=why) as caught:
        JobDecorator(Registry())(name="app.f", retry_delay=given)(function)

    assert caught.value.field == "retry_delay"


def test_a_function_of_delays_is_for_the_decorator() -> None:
    def delay_of(number: int, error: BaseException) -> float:
        return 1.0

    made = JobDecorator(Registry())(name="app.f", retry_delay=delay_of)(function)
    given: Any = delay_of

    assert made.delay_of is not None
    assert made.given == {}
    for give in (lambda: Job("n", "app.f", retry_delay=given), lambda: made.options(retry_delay=given)):
        with pytest.raises(InvalidJob, match=r"a function can only be set on the decorator: @job\(retry_delay=…\)\.$"):
            give()
    assert made.options(retry_delay=5).given == {"retry_delay": 5.0}


@pytest.mark.parametrize("value", [[10, 30.5], (10, "30.5s"), ["10s", timedelta(seconds=30.5)]], ids=repr)
def test_a_list_of_delays_is_converted_to_seconds(value: Any) -> None:
    made = JobDecorator(Registry())(name="app.f", retry_delay=value)(function)

    for job in (made.job(), Job("n", "app.f", retry_delay=value), made.options(retry_delay=value).job()):
        assert job.retry_delay == (10.0, 30.5)


def test_options_are_converted_once_where_they_are_given() -> None:
    berlin = SOON.astimezone()
    made = JobDecorator(Registry())(name="app.f", tags=["a"], priority=2, retry_delay=timedelta(minutes=1))(function)  # type: ignore[call-overload]

    assert made.given == {"tags": ("a",), "priority": Priority.HIGH, "retry_delay": 60.0}
    assert made.options(scheduled_at=berlin).given["scheduled_at"].tzinfo is UTC


@each("options", [{}, {"timeout": 5, "tags": ["a"]}, {"id": "own"}, {"id": "own", "queue": "mail"}])
def test_a_job_of_a_function_is_the_job_that_the_constructor_makes(options: dict[str, Any]) -> None:
    made = JobDecorator(Registry())(name="app.f")(lambda *args, **kwargs: None).options(**options)

    job, same = made.job(1, a=2), Job("app.f", made, (1,), {"a": 2}, **options)

    assert (job, job.is_plain) == (same, same.is_plain)
    assert (job.suffix == "own") is ("id" in options)
    assert made.job().suffix != made.job().suffix or "id" in options
