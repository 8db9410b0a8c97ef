"""Which annotations make a parameter typed: decided at registration, and what cannot be evaluated is left alone."""

from __future__ import annotations

import functools
import subprocess
import sys
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import InitVar, dataclass
from datetime import date
from typing import Any, TypeVar

import pydantic
import pytest

from jobfleet import BatchItem, EncodingError, InvalidJob, JobContext
from jobfleet.codec import encode
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.worker.run.handlers import calling
from tests.e2e.apps.typed_kinds import Cat

if typing.TYPE_CHECKING:
    from nowhere import Missing  # type: ignore[import-not-found]

T = TypeVar("T")


@dataclass
class Early:
    at: date


def registered(function: Callable[..., Any], **options: Any) -> JobFunction[..., Any, Any]:
    return Registry().register(function, name="app.f", **options)


def bare(a, b=1, *args, **kwargs):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN201
    ...


def plain(
    ctx: JobContext,
    a: int,
    b: list[dict[str, float]] | None = None,
    *c: Any,
    d: bool,
    e: T,
    f: Mapping[str, Sequence[int]],
    g: Callable[..., Any],
    **h: str,
) -> Iterable[int]:
    return []


@pytest.mark.parametrize("function", [bare, plain, len, functools.partial(bare, 1)])
def test_a_function_whose_annotations_json_has_is_not_typed(function: Callable[..., Any]) -> None:
    assert registered(function).typed is None


def later(order: Late, copies: int) -> list[Late]:
    return [order] * copies


function_of_later = registered(later)


@dataclass
class Late:
    at: date


def test_a_class_that_is_defined_after_its_function_is_found_on_the_first_use() -> None:
    typed = function_of_later.typed
    assert typed is not None

    args, _ = typed.dump((Late(date(2020, 1, 1)), 2), {})

    assert args == [{"at": date(2020, 1, 1)}, 2]
    assert typed.load_result([args[0]]) == [Late(date(2020, 1, 1))]


def missing(order: Missing, other: Early) -> Missing: ...


def test_what_cannot_be_evaluated_travels_as_it_is_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "jobfleet.functions")
    typed = registered(missing).typed
    assert typed is not None

    for _ in range(2):
        assert typed.dump(([1], Early(date(2020, 1, 1))), {})[0] == [[1], {"at": date(2020, 1, 1)}]

    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "function.unresolved function=app.f annotation=order Missing",
        "function.unresolved function=app.f annotation=return Missing",
    ]


@typing.no_type_check
def unchecked(order: Early) -> Early: ...


def test_a_function_can_opt_out() -> None:
    assert registered(unchecked).typed is None


@dataclass
class Odd:
    at: date
    zone: InitVar[str]


def odd(value: Odd) -> None: ...


def test_a_dataclass_that_cannot_be_made_of_its_fields_is_left_alone() -> None:
    assert registered(odd).typed is None


def awaited(value: int) -> Awaitable[Early]:
    raise NotImplementedError(value)


def test_the_result_of_an_awaitable_is_what_it_gives() -> None:
    typed = registered(awaited).typed
    assert typed is not None
    assert typed.load_result({"at": "2020-01-01"}) == Early(date(2020, 1, 1))


def batched(items: list[Early]) -> list[Early]:
    return items


def of_items(items: list[BatchItem[Early]]) -> None: ...


@pytest.mark.parametrize("function", [batched, of_items])
def test_a_batch_has_the_type_of_one_value(function: Callable[..., Any]) -> None:
    typed = registered(function, batch=5).typed
    assert typed is not None
    assert typed.load(({"at": "2020-01-01"},), {})[0] == [Early(date(2020, 1, 1))]
    results = {"batched": {"at": date(2020, 1, 1)}, "of_items": Early(date(2020, 1, 1))}
    assert typed.dump_result(Early(date(2020, 1, 1))) == results[function.__name__]


def test_options_keep_the_types() -> None:
    function = registered(awaited)
    assert function.options(delay=5).typed is function.typed


def test_an_object_that_nothing_converts_has_the_remedy_of_before() -> None:
    with pytest.raises(EncodingError, match=r"pass dataclasses\.asdict"):
        encode([Early(date(2020, 1, 1))], what="args")


@pytest.mark.parametrize("function", [bare, plain, unchecked])
def test_a_worker_calls_a_function_that_is_not_typed_as_it_is(function: Callable[..., Any]) -> None:
    assert calling(registered(function)) is function


def test_a_pydantic_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def bill(cat: Cat) -> None: ...

    monkeypatch.setattr(pydantic, "VERSION", "2.10.6")

    with pytest.raises(InvalidJob, match=r"Cat is a type of pydantic 2\.10\.6; typed arguments need 2\.11 or later"):
        registered(bill)


def test_neither_library_is_imported_without_its_types() -> None:
    code = (
        "import sys, dataclasses, jobfleet\n"
        "Order = dataclasses.make_dataclass('Order', [('n', int)])\n"
        "def f(order): ...\n"
        "f.__annotations__ = {'order': Order | None}\n"
        "function = jobfleet.register_job_function('app.f', f)\n"
        "assert function.typed.dump((Order(1),), {}) == ([{'n': 1}], {})\n"
        "assert not {'pydantic', 'msgspec', 'pydantic_core'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
