"""Limits that functions declare: where they apply, what is refused, and their publication."""

from __future__ import annotations

import math
from typing import Any

import pytest

from jobfleet import InvalidJob
from jobfleet.codec import encode
from jobfleet.errors import ConfigError
from jobfleet.functions.limiting import check_declared
from jobfleet.functions.manifest import function_record, read_limit
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.model.limits import DeclaredLimit, declarations_of, rate_of
from tests.support.each import each


def work(customer: str = "acme") -> None:
    """Work for a customer."""


def made(name: str = "app.f", **options: Any) -> JobFunction[..., Any, Any]:
    return Registry().register(lambda customer="acme": None, name=name, **options)


@each(
    "options, limit",
    [
        ({"group": "{customer}", "concurrency": 5}, DeclaredLimit("default", "*", 5, None)),
        ({"group": "{customer}", "rate": "10/m", "queue": "mail"}, DeclaredLimit("mail", "*", None, "10/min")),
        ({"group": "stripe", "concurrency": 5, "rate": 2}, DeclaredLimit("default", "stripe", 5, "2/s")),
        ({"queue": "mail", "concurrency": 5}, DeclaredLimit("mail", None, 5, None)),
        ({"queue": "mail", "concurrency": None, "rate": None}, None),
        ({}, None),
    ],
)
def test_a_limit_applies_to_each_group_to_one_group_or_to_the_queue(
    options: dict[str, Any], limit: DeclaredLimit | None
) -> None:
    function = made(**options)

    assert function.limit == limit
    assert read_limit(function_record(function)) == limit


@each("place", [{}, {"queue": "default"}])
@each("option, value", [("concurrency", 5), ("rate", "10/min")])
def test_a_limit_needs_a_group_or_a_queue_of_its_own(place: dict[str, Any], option: str, value: Any) -> None:
    with pytest.raises(InvalidJob) as caught:
        made(**place, **{option: value})

    assert caught.value.field == option
    assert str(caught.value) == (
        f"{option} would limit the queue 'default', which functions share; give the function group='{{argument}}', to "
        "limit each group, or a queue of its own."
    )


@each("option, value", [
        ("concurrency", 0), ("concurrency", "5"), ("concurrency", True), ("concurrency", math.inf),
        ("concurrency", 1.5), ("rate", "10/w"), ("rate", 0), ("rate", math.inf), ("rate", "many"), ("rate", [1]),
    ])  # fmt: skip
def test_a_wrong_value_is_refused(option: str, value: Any) -> None:
    with pytest.raises(InvalidJob, match=f"^{option} is ") as caught:
        made(queue="mail", **{option: value})

    assert caught.value.field == option


@pytest.mark.parametrize("option", ["concurrency", "rate"])
def test_a_limit_is_for_the_decorator_only(option: str) -> None:
    options: dict[str, Any] = {option: 5}

    with pytest.raises(InvalidJob, match=rf"^{option} can only be set on the decorator: @job\({option}=…\)\.$"):
        made().options(**options)


def test_a_minute_has_two_spellings() -> None:
    assert rate_of("10/m") == rate_of("10 / min") == rate_of("10/min")
    assert str(rate_of("10/m")) == "10/min"


FIVE, SIX = {"concurrency": 5}, {"concurrency": 6}
OF_EACH = "app.f declares 5 at once for each group of the queue 'mail'"
OF_ALL = "app.f declares 5 at once for the whole queue 'mail'"
REMEDY = "declare the same limit in both, or give one of them another group or queue."
MAIL, EACH, ONE = {"queue": "mail"}, {"queue": "mail", "group": "{customer}"}, {"queue": "mail", "group": "stripe"}


@each("one, other", [
        ({**EACH, **FIVE}, {**EACH, **FIVE}), ({**EACH, **FIVE}, {**ONE, **SIX}), ({**EACH, **FIVE}, MAIL),
        ({**EACH, **FIVE}, {"group": "{customer}"}), ({**ONE, **FIVE}, EACH), ({**MAIL, **FIVE}, {**MAIL, **FIVE}),
        ({**MAIL, **FIVE}, {"queue": "bulk", **SIX}), (EACH, ONE),
    ])  # fmt: skip
def test_functions_that_do_not_contradict_each_other(one: dict[str, Any], other: dict[str, Any]) -> None:
    check_declared([made("app.f", **one), made("app.g", **other)])


@each("one, other, text", [
        ({**EACH, **FIVE}, {**EACH, **SIX}, f"{OF_EACH}, and app.g declares 6 at once; {REMEDY}"),
        ({**EACH, **FIVE}, EACH, f"{OF_EACH}, which app.g uses too; {REMEDY}"),
        ({**EACH, **FIVE}, ONE, f"{OF_EACH}, which app.g uses too; "),
        ({**ONE, **FIVE}, ONE, "app.f declares 5 at once for the group 'stripe' of the queue 'mail', which app.g uses"),
        ({**MAIL, **FIVE}, {**MAIL, "rate": "1/s"}, f"{OF_ALL}, and app.g declares 1/s;"),
        ({**MAIL, **FIVE}, MAIL, f"{OF_ALL}, which app.g uses too;"),
        ({**MAIL, **FIVE}, {**EACH, **FIVE}, f"{OF_ALL}, which app.g uses"),
    ])  # fmt: skip
@each("swapped", [False, True])
def test_functions_that_contradict_each_other(
    one: dict[str, Any], other: dict[str, Any], text: str, swapped: bool
) -> None:
    functions = [made("app.f", **one), made("app.g", **other)]

    with pytest.raises(ConfigError) as caught:
        check_declared(functions[::-1] if swapped else functions)

    if not swapped or other.keys().isdisjoint({"concurrency", "rate"}):
        assert str(caught.value).startswith(text)


@each("limit", [None, 7, [], {"concurrency": "5", "rate": 5}])
def test_a_published_limit_that_makes_no_sense_is_none(limit: Any) -> None:
    read = read_limit(encode({"options": {"queue": "mail"}, "limit": limit}))

    assert read in (None, DeclaredLimit("mail", None))


def test_lines_that_cannot_be_read_are_left_out() -> None:
    found = declarations_of("x\n5 - - - - app.f limit:a b\n- - - -  z")

    assert {field: (one.limit.concurrency, one.functions) for field, one in found.items()} == {
        "limit:a b": (5, ("app.f",))
    }
