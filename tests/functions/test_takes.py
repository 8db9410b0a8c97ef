"""What workers publish of the parameters of a function, and which calls it permits without the function."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, NewType, TypedDict

import pytest

from jobfleet import InvalidJob, JobContext
from jobfleet.codec import decode, encode
from jobfleet.functions.manifest import function_record
from jobfleet.functions.published import check_takes, read_takes
from jobfleet.functions.registry import Registry
from tests.support.each import each

Order = NewType("Order", int)


class Address(TypedDict):
    street: str


TO = {"street": "x"}


def ship(
    ctx: JobContext,
    order: Order,
    to: Address,
    weight: float = 1.0,
    *,
    how: Literal["air", "sea"] = "air",
    notes: Sequence[str] | None = None,
    at: datetime | None = None,
    extra: Annotated[dict[str, Any], "unchecked inside"] = {},  # noqa: B006 - the default is not published
) -> None: ...


def many(first: int, /, *rest: int, **named: bool) -> None: ...


def untyped(a, b=2):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201
    ...


def check(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    record = function_record(Registry().register(function, name="app.f"))
    taken = read_takes(record)
    assert taken is not None
    check_takes("app.f", taken, args, kwargs)


@each(
    "function, args, kwargs",
    [
        (ship, (1, {"street": "x"}), {}),
        (ship, (1,), {"to": TO, "weight": 2, "how": "sea", "notes": ["a"], "extra": {"a": 1}}),
        (ship, (1, TO, 2.5), {"notes": None, "at": "2026-01-01"}),
        (many, (1, 2, 3), {"a": True}),
        (untyped, ({}, []), {}),
    ],
)
def test_a_call_that_fits_is_accepted(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    check(function, args, kwargs)


@each(
    "function, args, kwargs, field, message",
    [
        (
            ship,
            (),
            {},
            "args",
            "app.f takes (order, to, weight=…, *, how=…, notes=…, at=…, extra=…): missing a required",
        ),
        (ship, (1, TO, 2, 3), {}, "args", "too many positional arguments"),
        (ship, (1, TO), {"colour": 1}, "args", "unexpected keyword argument 'colour'"),
        (ship, ("1", TO), {}, "args", "order of app.f is a text; give a whole number."),
        (ship, (True, TO), {}, "args", "order of app.f is true or false; give a whole number."),
        (ship, (1.5, TO), {}, "args", "order of app.f is a number; give a whole number."),
        (ship, (1, []), {}, "args", "to of app.f is a list; give an object."),
        (ship, (1, TO), {"notes": "abc"}, "kwargs", "notes of app.f is a text; give a list or null."),
        (ship, (1, TO), {"how": 1}, "kwargs", "how of app.f is a whole number; give a text."),
        (many, (1, 2, "x"), {}, "args", "rest of app.f is a text; give a whole number."),
        (many, (1,), {"a": 1}, "args", "named of app.f is a whole number; give true or false."),
    ],
)
def test_a_call_that_does_not_fit_is_refused(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], field: str, message: str
) -> None:
    with pytest.raises(InvalidJob) as caught:
        check(function, args, kwargs)

    assert message in str(caught.value)
    assert caught.value.field == field


def test_a_wrapper_publishes_nothing_because_it_may_take_other_arguments() -> None:
    @functools.wraps(untyped)
    def wrapper(*args: Any) -> Any:
        return args

    assert read_takes(function_record(Registry().register(wrapper, name="app.f"))) is None


@each(
    "record",
    [b"", encode({}), encode({"takes": 5}), encode({"takes": [["a"]]}), encode({"takes": [["a", "?", True, []]]})],
)
def test_a_record_of_another_revision_is_not_checked(record: bytes) -> None:
    assert read_takes(record) is None


def test_a_type_of_a_later_revision_fits_every_value() -> None:
    taken = read_takes(encode({"takes": [["a", "b", False, ["decimal"]]]}))
    assert taken is not None
    check_takes("app.f", taken, ("x",), {})


def test_no_default_is_published() -> None:
    fields = decode(function_record(Registry().register(untyped, name="app.f")))
    assert isinstance(fields, dict)
    assert fields["takes"] == [["a", "b", False, []], ["b", "b", True, []]]
