"""Functions by name: the decorator, the names, what is injected, and what is refused."""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Optional

import pytest

from jobfleet import InvalidJob, Job, JobContext, JobFunction, Priority, RetryAfter, job, register_job_function
from jobfleet.functions import registry as module
from jobfleet.functions.callables import stable_name
from jobfleet.functions.injection import Injection, injection_of
from jobfleet.functions.manifest import function_record, read_function
from jobfleet.functions.published import signature_of
from jobfleet.functions.registry import Registry
from jobfleet.operations.jobs.prepare import Resolved, resolve
from tests.support.each import each

HERE = __name__
LAMBDA_TEXT = (
    "Job 'Cleanup' has a lambda; workers find functions by name. "
    'Use a module-level def with @job, or register_job_function("name", fn). '
    "To clean up, there is 'jobfleet.maintenance.cleanup'."
)


def add(x: int, y: int) -> int:
    """Add two numbers.

    Not more.
    """
    return x + y


async def aadd(x: int, y: int) -> int:
    return x + y


class Tools:
    @staticmethod
    def run() -> str:
        return "tools"


class Others:
    @staticmethod
    def run() -> str:
        return "others"


def with_context(ctx: JobContext, to: str) -> str:
    return to


def with_context_last(to: str, *, ctx: JobContext) -> str:
    return to


def with_quoted_context(context: jobfleet.JobContext) -> None:  # type: ignore[name-defined]  # noqa: F821
    """Its annotation cannot be evaluated here, but it can be read."""


def with_unknown_hints(a: Missing, ctx: JobContext) -> None:  # type: ignore[name-defined]  # noqa: F821
    """One annotation names nothing; the other one counts."""


def with_progress(n: int, progress_callback: Any = None) -> None:
    pass


def with_both(ctx: JobContext, progress_callback: Any, n: int) -> None:
    pass


def with_optional(ctx: Optional[JobContext] = None) -> None:  # noqa: UP045
    pass


def with_a_name_only(ctx: Any, context: int, JobContext: str) -> None:  # noqa: N803
    pass


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Registry:
    """The default registry, for this test alone."""
    fresh = Registry()
    monkeypatch.setattr(module, "REGISTRY", fresh)
    return fresh


def decorated(**options: Any) -> Any:
    """`add` as a job, with options that a type checker cannot know."""
    decorator: Any = job(**options)
    return decorator(add)


# Forms and names


def test_the_bare_decorator_registers_under_the_stable_name(registry: Registry) -> None:
    made = job(add)

    assert isinstance(made, JobFunction)
    assert (made.name, repr(made)) == (f"{HERE}.add", f"<job {HERE}.add>")
    assert registry.get(f"{HERE}.add") is made


def test_the_decorator_takes_a_name_options_and_lists_of_errors() -> None:
    made = job(name="app.add", queue="mail", max_retries=5, retry_on=(OSError,), discard_on=(KeyError,))(add)

    assert (made.name, made.given) == ("app.add", {"queue": "mail", "max_retries": 5})
    assert (made.retry_on, made.discard_on) == ((OSError,), (KeyError,))


def test_empty_parentheses_are_the_bare_decorator() -> None:
    assert job()(add).name == f"{HERE}.add"


def test_a_function_is_registered_by_name_after_the_fact(registry: Registry) -> None:
    made = register_job_function("app.triple", lambda n: n * 3, queue="bulk")

    assert (made.name, made.given, made(4)) == ("app.triple", {"queue": "bulk"}, 12)
    assert registry.get("app.triple") is made


def test_a_job_function_is_still_the_function() -> None:
    made = job(add)

    assert made(1, y=2) == 3
    assert (made.__name__, made.__doc__, made.__module__, made.__wrapped__) == ("add", add.__doc__, HERE, add)


async def test_calling_an_async_job_function_gives_its_coroutine() -> None:
    made = job(aadd)

    assert made.is_coroutine
    assert await made(1, 2) == 3


def test_a_method_that_a_module_holds_has_a_name() -> None:
    assert stable_name(Tools.run) == f"{HERE}.Tools.run"


def main_module(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> Callable[..., Any]:
    fake = types.ModuleType("__main__")
    fake.__dict__.update({"__spec__": None, **attributes})
    monkeypatch.setitem(sys.modules, "__main__", fake)
    function = types.FunctionType(add.__code__, {}, "work")
    function.__module__, function.__qualname__ = "__main__", "work"
    return function


@each(
    "attributes, name",
    [
        ({"__spec__": types.SimpleNamespace(name="app.jobs")}, "app.jobs.work"),
        ({"__spec__": types.SimpleNamespace(name="app.__main__")}, "app.work"),
        ({"__file__": "/srv/app/send_mail.py"}, "send_mail.work"),
        ({}, "__main__.work"),
    ],
)
def test_a_function_of_main_is_named_after_what_was_started(
    attributes: dict[str, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stable_name(main_module(monkeypatch, **attributes)) == name


# What is refused


def test_a_lambda_is_refused_with_the_remedy(registry: Registry) -> None:
    with pytest.raises(InvalidJob) as caught:
        resolve(Job("Cleanup", lambda: None), registry)

    assert (str(caught.value), caught.value.field) == (LAMBDA_TEXT, "function")


@pytest.mark.parametrize("kind", ["closure", "partial"])
def test_what_no_module_holds_is_refused_with_the_remedy(kind: str) -> None:
    def closure() -> None:
        pass

    function = closure if kind == "closure" else functools.partial(add, 1)

    with pytest.raises(InvalidJob) as caught:
        stable_name(function, label="Cleanup")

    assert (
        str(caught.value)
        == LAMBDA_TEXT.replace("a lambda", "a function that no module holds").partition(" To clean")[0]
    )


def test_a_lambda_that_is_registered_by_name_may_be_a_jobs_function(registry: Registry) -> None:
    function = lambda n: n * 3  # noqa: E731
    register_job_function("app.triple", function, queue="bulk")

    found = resolve(Job("Label", function), registry)

    assert found is not None
    assert found._replace(parameters=()) == Resolved("app.triple", {"queue": "bulk"})


@pytest.mark.parametrize("thing", [None, 7, "app.add"])
def test_what_cannot_be_called_is_no_function(thing: Any, registry: Registry) -> None:
    with pytest.raises(InvalidJob, match=r"is not callable\.$"):
        registry.register(thing)


@pytest.mark.parametrize("name", ["", "send mail", "x" * 129])
def test_a_name_obeys_the_rule(name: str) -> None:
    with pytest.raises(InvalidJob, match="use 1 to 128 letters"):
        register_job_function(name, add)


def test_a_name_that_is_taken_by_another_function_is_refused(registry: Registry) -> None:
    kept = register_job_function("app.add", add)

    with pytest.raises(InvalidJob) as caught:
        register_job_function("app.add", aadd)

    assert caught.value.field == "name"
    assert str(caught.value) == f"'app.add' is taken by {add!r}; give another name."
    assert registry.get("app.add") is kept


def test_the_same_function_may_be_registered_again(registry: Registry) -> None:
    register_job_function("app.add", add)
    again = types.FunctionType(add.__code__, {}, "add")

    made = register_job_function("app.add", again, queue="mail")

    assert registry.get("app.add") is made


@pytest.mark.parametrize(
    ("one", "other"), [(lambda: 1, lambda: 2), (Tools.run, Others.run)], ids=["lambdas", "methods of two classes"]
)
def test_another_function_of_the_same_file_is_not_the_same(
    one: Callable[[], object], other: Callable[[], object]
) -> None:
    register_job_function("app.one", one)

    with pytest.raises(InvalidJob, match="is taken by"):
        register_job_function("app.one", other)


@pytest.mark.parametrize(
    ("option", "hint"),
    [("max_retry", "; did you mean 'max_retries'?"), ("prio", "; did you mean 'priority'?"), ("zzz", ".")],
)
def test_an_unknown_option_is_refused_with_the_nearest(option: str, hint: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        decorated(**{option: 1})

    assert (str(caught.value), caught.value.field) == (f"{option!r} is not an option of a job{hint}", option)


@each("option", ["id", "scheduled_at", "expires_at", "user", "session", "correlation_id"])
def test_what_belongs_to_one_job_is_no_option_of_a_function(option: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        decorated(**{option: "x"})

    assert caught.value.field == option


@each("option, value", [("queue", "a b"), ("priority", 9), ("timeout", -1), ("cron", "* * *")])
def test_a_wrong_option_is_refused_at_the_decorator(option: str, value: Any, registry: Registry) -> None:
    with pytest.raises(InvalidJob) as caught:
        decorated(**{option: value})

    assert caught.value.field == {"cron": "cron_expression"}.get(option, option)
    assert registry.functions == {}


def test_options_given_beside_the_function_are_not_dropped() -> None:
    made = job(add, name="app.add")  # type: ignore[call-overload]

    assert made.name == "app.add"


# Options of one call


def test_options_make_another_job_function_and_leave_this_one() -> None:
    send = job(name="app.add", queue="mail", max_retries=5)(add)

    urgent = send.options(priority=Priority.HIGH, max_retries=1, user="ann")

    assert urgent.given == {"queue": "mail", "max_retries": 1, "priority": Priority.HIGH, "user": "ann"}
    assert send.given == {"queue": "mail", "max_retries": 5}
    assert (urgent.name, urgent(1, 2)) == ("app.add", 3)


def test_a_job_of_a_function_has_its_arguments_and_options() -> None:
    send = job(name="app.add", queue="mail")(add)

    made = send.options(delay=60, id="seven").job(1, y=2)

    assert (made.name, made.function, made.args, made.kwargs) == ("app.add", made.function, (1,), {"y": 2})
    assert (made.queue, made.delay, made.suffix) == ("mail", 60.0, "seven")


@pytest.mark.parametrize(("options", "field"), [({"priorty": 1}, "priorty"), ({"priority": 9}, "priority")])
def test_wrong_options_of_one_call_are_refused_at_once(options: dict[str, Any], field: str) -> None:
    send = job(add)

    with pytest.raises(InvalidJob) as caught:
        send.options(**options)

    assert caught.value.field == field


# Injection


@each(
    "function, injection",
    [
        (add, Injection()),
        (with_context, Injection("ctx", context_first=True)),
        (with_context_last, Injection("ctx")),
        (with_quoted_context, Injection("context", context_first=True)),
        (with_unknown_hints, Injection("ctx")),
        (with_progress, Injection(progress=True)),
        (with_both, Injection("ctx", context_first=True, progress=True)),
        (with_a_name_only, Injection()),
        (with_optional, Injection()),
        (int, Injection()),
        (print, Injection()),
    ],
)
def test_what_is_injected_is_read_from_the_parameters(function: Callable[..., Any], injection: Injection) -> None:
    assert injection_of(function) == injection
    assert injection_of(function).is_none == (injection == Injection())


def test_annotations_that_were_evaluated_count_too() -> None:
    def evaluated(ctx: Any, n: int) -> None:
        pass

    evaluated.__annotations__["ctx"] = JobContext

    assert injection_of(evaluated) == Injection("ctx", context_first=True)


# What workers publish


def test_a_function_is_published_with_its_options() -> None:
    made = job(queue="mail", priority="high", timeout=30, delay=5, tags=["eu"], retry_on=(RetryAfter,))(add)

    assert read_function(function_record(made)) == {"queue": "mail", "priority": 2, "timeout": 30, "delay": 5}


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (with_both, "(n: int) -> None"),
        (with_progress, "(n: int) -> None"),
        (add, "(x: int, y: int) -> int"),
    ],
)
def test_published_parameters_are_those_that_a_caller_gives(function: Callable[..., Any], text: str) -> None:
    assert signature_of(register_job_function("app.f", function)) == text


@each("record", [b"", b"\xff", b"\xc1", b"\x93\x01\x02\x03"])
def test_a_published_record_that_cannot_be_read_has_no_options(record: bytes) -> None:
    assert read_function(record) == {}


def test_limits_are_published_and_whether_time_outs_are_final() -> None:
    def wait() -> None:
        """Wait."""

    registry = Registry()
    plain = registry.register(wait, name="app.wait", timeout=5, hard_timeout=timedelta(seconds=9))
    final = Registry().register(wait, name="app.wait", discard_on=(OSError,))
    other = Registry().register(wait, name="app.wait", discard_on=(ValueError,))

    assert read_function(function_record(plain)) == {"timeout": 5, "hard_timeout": 9.0}
    assert read_function(function_record(final)) == {"discards_timeouts": True}
    assert read_function(function_record(other)) == {}


def test_a_decorator_refuses_a_hard_limit_below_the_soft_one() -> None:
    with pytest.raises(InvalidJob, match="hard_timeout"):
        Registry().register(lambda: None, name="app.wait", timeout=5, hard_timeout=1)


def test_seconds_in_the_wrong_field_of_a_schedule_are_doubted() -> None:
    with pytest.warns(UserWarning, match=r"seconds are the sixth field\. Did you mean '\* \* \* \* \* \*/5'"):
        Registry().register(lambda: None, name="often", cron="*/5 * * * * *")
