"""Batch functions at their decoration, and called by hand."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import timedelta
from typing import Annotated, Any

import pytest

from jobfleet import BatchItem, JobContext, Resource, RetryAfter
from jobfleet.errors import InvalidJob
from jobfleet.functions.batch import Batch
from jobfleet.functions.published import signature_of
from jobfleet.functions.registry import Registry
from tests.support.each import each


def open_pool() -> str:
    return "pool"


async def values(texts: list[str]) -> list[int]:
    return [len(text) for text in texts]


async def items(batch: list[BatchItem[str]]) -> None:
    for item in batch:
        item.complete(item.value)


def bare(batch: list[BatchItem]) -> None: ...  # type: ignore[type-arg]  # users may leave it out
def unhinted(batch) -> None: ...  # type: ignore[no-untyped-def]  # noqa: ANN001 - and all of it
def unspecific(batch: list) -> None: ...  # type: ignore[type-arg]
def sequence(batch: Sequence[bytes], pool: Annotated[str, Resource(open_pool)]) -> None: ...
def unknown(batch: list[BatchItem[Missing]], more: int = 1) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def nothing() -> None: ...
def by_name(*, batch: list[str]) -> None: ...
def single(batch: str) -> None: ...
def two(batch: list[str], other: int) -> None: ...
def with_context(ctx: JobContext, batch: list[str]) -> None: ...
def with_progress(batch: list[str], progress_callback: Any = None) -> None: ...
def generator(batch: list[str]) -> Iterator[str]:
    yield from batch


async def async_generator(batch: list[str]) -> AsyncIterator[str]:
    yield batch[0]


@each(
    "function, parameter, of_items, element",
    [
        (values, "texts", False, str),
        (items, "batch", True, str),
        (bare, "batch", True, inspect.Parameter.empty),
        (unhinted, "batch", False, inspect.Parameter.empty),
        (unspecific, "batch", False, inspect.Parameter.empty),
        (sequence, "batch", False, bytes),
        (unknown, "batch", True, inspect.Parameter.empty),
    ],
)
def test_an_annotation_says_what_a_function_is_given(
    function: Callable[..., Any], parameter: str, of_items: bool, element: object
) -> None:
    made = Registry().register(function, batch=5)

    assert made.batch == Batch(5, 0.1, parameter, of_items, element)
    assert [one.name for one in made.parameters or ()] == [parameter]


def test_callers_see_one_value() -> None:
    assert signature_of(Registry().register(values, batch=5)) == "(texts: str) -> list[int]"
    assert signature_of(Registry().register(items, batch=5)) == "(batch: str) -> None"


@pytest.mark.parametrize("wait", [2, timedelta(seconds=2)])
def test_a_batch_waits_for_as_long_as_it_is_told(wait: Any) -> None:
    made = Registry().register(values, batch=1, batch_wait=wait)

    assert made.batch is not None
    assert (made.batch.size, made.batch.wait) == (1, 2.0)


@each("function, options, field, message", [
        (values, {"batch": 0}, "batch", "batch is 0; give a whole number from 1 to 1,000."),
        (values, {"batch": 1001}, "batch", "batch is 1001; give a whole number from 1 to 1,000."),
        (values, {"batch": True}, "batch", "batch is True; give a whole number from 1 to 1,000."),
        (values, {"batch": 2.5}, "batch", "batch is 2.5; give a whole number from 1 to 1,000."),
        (values, {"batch_wait": 1}, "batch_wait", "batch_wait is how long a batch waits for more: add batch=N."),
        (values, {"batch": 5, "batch_wait": 3601}, "batch_wait", "batch_wait is 3601; give an hour or less."),
        (values, {"batch": 5, "batch_wait": -1}, "batch_wait", "batch_wait"),
        (
            values, {"batch": 5, "run_in": "process"}, "batch",
            "values has run_in='process', one job a process: leave that or batch out.",
        ),
        (
            values, {"batch": 5, "cron": "0 2 * * *"}, "batch",
            "values has cron, which gives no value for a batch: leave one of them out.",
        ),
        (generator, {"batch": 5}, "batch", "generator is a generator; a batch function returns its results as a list."),
        (
            async_generator, {"batch": 5}, "batch",
            "async_generator is a generator; a batch function returns its results as a list.",
        ),
        (nothing, {"batch": 5}, "batch", "nothing needs a first parameter for the list of its jobs' values."),
        (by_name, {"batch": 5}, "batch", "by_name needs a first parameter for the list of its jobs' values."),
        (
            single, {"batch": 5}, "batch",
            "single: 'batch' is given a list; annotate it list[…] or list[BatchItem[…]].",
        ),
        (two, {"batch": 5}, "batch", "two: nothing fills 'other'; a job gives one value."),
        (
            with_context, {"batch": 5}, "batch",
            "with_context: 'ctx' is for one job; take list[BatchItem[…]], each with its own context.",
        ),
        (
            with_progress, {"batch": 5}, "batch",
            "with_progress: 'progress_callback' is for one job; take list[BatchItem[…]], each with its own context.",
        ),
    ])  # fmt: skip
def test_what_does_not_go_together_is_refused_at_decoration(
    function: Callable[..., Any], options: dict[str, Any], field: str, message: str
) -> None:
    registry = Registry()

    with pytest.raises(InvalidJob) as caught:
        registry.register(function, **options)

    assert caught.value.field == field
    assert message in str(caught.value)
    assert registry.functions == {}


def test_a_batch_is_the_functions_and_no_option_of_a_job() -> None:
    made = Registry().register(values, batch=5)

    with pytest.raises(InvalidJob, match=r"batch can only be set on the decorator: @job\(batch=…\)"):
        made.options(batch=6)  # type: ignore[call-arg]


def test_a_unique_key_may_name_the_value() -> None:
    assert Registry().register(values, batch=5, unique="text-{texts}").given["unique"] == "text-{texts}"
    with pytest.raises(InvalidJob, match="not a parameter of"):
        Registry().register(values, batch=5, unique="text-{text}")


def test_a_function_can_be_called_by_hand() -> None:
    batch = [BatchItem.for_test("a"), BatchItem.for_test("bc", attempt=2)]

    asyncio.run(Registry().register(items, batch=5)(batch))

    assert [item.answer for item in batch] == [("a", None), ("bc", None)]
    assert asyncio.run(Registry().register(values, batch=5)(["a", "bc"])) == [1, 2]


def test_what_is_said_of_an_item_last_counts() -> None:
    item = BatchItem.for_test("a")
    assert repr(item) == f"BatchItem('a', {item.context.job_id})"

    item.retry(60, reason="busy")
    _, error = item.answer or (None, None)
    assert isinstance(error, RetryAfter)
    assert (error.delay, error.reason) == (60.0, "busy")
    item.complete()
    assert item.answer == (None, None)
    with pytest.raises(TypeError, match="fail is given an exception, not 'no'"):
        item.fail("no")  # type: ignore[arg-type]
    assert item.answer == (None, None)
