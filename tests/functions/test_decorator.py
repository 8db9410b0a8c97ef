"""What the decorator refuses about errors and resources, and what only stands there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from jobfleet import InvalidJob, Priority, Resource
from jobfleet.codec import encode
from jobfleet.functions.manifest import function_record, read_function
from jobfleet.functions.options import keep_last_in
from jobfleet.functions.registry import Registry
from tests.support.each import each


def add(x: int, y: int) -> int:
    return x + y


@each("given", [5, "Busy", (OSError, 5), [OSError()]])
@each("option", ["retry_on", "discard_on"])
def test_only_classes_of_exceptions_decide_about_retries(option: str, given: Any) -> None:
    with pytest.raises(InvalidJob, match=rf"^{option} holds .*; give exception classes: {option}=\(Busy,\)\.$"):
        Registry().register(add, name="app.add", **{option: given})


def test_one_class_may_stand_alone() -> None:
    made = Registry().register(add, name="app.add", retry_on=OSError, discard_on=[KeyError])  # type: ignore[arg-type]

    assert (made.retry_on, made.discard_on) == ((OSError,), (KeyError,))


@each("option", ["retry_on", "discard_on", "cron", "keep_last"])
def test_what_stands_on_the_decorator_only_is_told_so(option: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        Registry().register(add, name="app.add").options(**{option: OSError})  # type: ignore[arg-type]

    assert str(caught.value) == f"{option} can only be set on the decorator: @job({option}=…)."


def test_a_number_of_results_to_keep_stays_with_other_options_and_is_published() -> None:
    made = Registry().register(add, name="app.add", keep_last=100, queue="mail")
    other = made.options(priority=Priority.HIGH, queue=None)

    assert made.given == {"queue": "mail", "keep_last": 100}
    assert other.given == {"priority": Priority.HIGH, "keep_last": 100}
    assert keep_last_in(read_function(function_record(other))) == 100
    assert made.job(1, 2).own_options() == {"queue": "mail"}
    assert made.options(max_retries=1).job(1, 2).own_options() == {"queue": "mail", "max_retries": 1}


def test_without_a_number_all_results_are_kept() -> None:
    made = Registry().register(add, name="app.add", keep_last=None)

    assert (made.given, keep_last_in(read_function(function_record(made)))) == ({}, None)


@each("given", [0, -3, True, "3", None, 1.5])
def test_a_published_number_that_is_none_is_as_if_it_was_not_there(given: object) -> None:
    assert keep_last_in(read_function(encode({"options": {"keep_last": given}}))) is None
    assert keep_last_in(read_function(b"\xff")) is None


def test_a_bare_generator_is_no_resource() -> None:
    def opened() -> Iterator[int]:
        yield 1

    async def awaited() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(InvalidJob, match=r"opened is a bare generator; put @contextmanager on it\.$"):
        Resource(opened)
    with pytest.raises(InvalidJob, match=r"awaited is a bare generator; put @asynccontextmanager on it\.$"):
        Resource(awaited)
