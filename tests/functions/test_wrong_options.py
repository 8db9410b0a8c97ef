"""A wrong option is refused where it is given, and the message names the right one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from jobfleet import InvalidJob, Job, JobContext, Priority
from jobfleet.functions.registry import JobDecorator, Registry
from tests.support.each import each

JOBS = JobDecorator(Registry())
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
BOUNDS: list[Any] = ["soon", True, -1, 0, "0s", float("inf"), [60], "200000d"]
OTHERS: list[tuple[str, Any]] = [
    ("max_retries", "3"), ("max_retries", 1.5), ("max_crashes", 0), ("priority", "urgent"), ("tags", "eu"),
    ("metadata", [1]), ("retry_jitter", "yes"), ("retry_backoff", 0), ("queue", "a b"), ("group", ""),
    ("unique", 7), ("unique_for", "ever"), ("on_conflict", "skip"), ("run_in", "cloud"), ("delay", "soon"),
]  # fmt: skip
WRONG: list[tuple[str, Any, str]] = [
    *((option, value, f"^{option} ") for option, value in OTHERS),
    *(("retry_delay", value, r"^retry_delay is .*; give ") for value in DELAYS),
    *(("retry_for", value, r"^retry_for is .*; give |^retry_for is 0; give more than 0") for value in BOUNDS),
]  # fmt: skip


@JOBS(name="app.needs")
def needs(ctx: JobContext, to: str) -> None: ...


@JOBS(name="app.free")
def free(ctx: JobContext, to: str = "ann") -> None: ...


CALLBACKS: list[tuple[Any, str]] = [
    ("app.free", "give a job, such as notify"), (function, "give a job"), (7, "give a job"), ([], "give a job"),
    (Job, "give a job"), (needs, r"needs arguments .*give needs\.job"),
    (Job("x", "app.free", id="own"), "a job with id"), (Job("x", "app.free", unique="k"), "a job with unique"),
    (Job("x", "app.free", depends_on=["default.0.a"]), "a job with depends_on"),
    (Job("x", "app.free", cron_expression="* * * * *"), "a job with cron_expression"),
]  # fmt: skip


@each(
    "option, value, why",
    WRONG + [(option, value, why) for option in ("on_success", "on_failure") for value, why in CALLBACKS],
)
def test_a_wrong_option_is_refused_by_each_way(option: str, value: Any, why: str) -> None:
    given: dict[str, Any] = {option: value}
    made = JobDecorator(Registry())(name="app.f")(function)

    for give in (
        lambda: Job("n", "app.f", **given),
        lambda: made.options(**given),
        lambda: JobDecorator(Registry())(name="app.f", **given)(function),
    ):
        with pytest.raises(InvalidJob, match=why) as caught:
            give()
        assert caught.value.field == option


@each("given", [0, -1, True, 1.5, "3", 100_001, [3]])
def test_a_number_of_results_to_keep_that_is_none(given: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        JobDecorator(Registry())(name="app.f", keep_last=given)(function)

    assert caught.value.field == "keep_last"
    text = f"keep_last is {given!r}; give a whole number from 1 to 100,000, or leave it out to keep all."
    assert str(caught.value) == text


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
