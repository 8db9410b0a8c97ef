"""The options `limits` and `breaker`: their checks, their costs, and what is published of them."""

from __future__ import annotations

import inspect
import time
from email.utils import formatdate
from typing import Any

import pytest

from jobfleet import Breaker, InvalidJob, Limit, RateLimited
from jobfleet.functions.limiting import gates_of
from jobfleet.functions.manifest import function_record, read_gates
from jobfleet.functions.registry import JobDecorator, JobFunction, Registry
from jobfleet.model.limits import Demand, NamedRate, adaptive_bounds, named_rate
from tests.support.each import each


def declared(**options: Any) -> JobFunction[..., Any, Any]:
    def ask(prompt: str, tokens: int = 7) -> None:
        """A function with a cost."""

    made: JobFunction[..., Any, Any] = JobDecorator(Registry())(name="ai.ask", **options)(ask)
    return made


def costs(cost: Any, *args: Any, **kwargs: Any) -> list[int]:
    function = declared(limits=["github", Limit("gpt", cost=cost)])
    assert function.gates is not None
    found = function.gates.demands("ai.ask", "ai", None, function.parameters, args, kwargs)
    assert [one.gate for one in found] == ["limit:github", "limit:gpt"]
    return [one.cost for one in found]


@each(
    "cost, args, kwargs, expected",
    [
        (3, (), {}, 3),
        ("tokens", ("hi", 20), {}, 20),
        ("tokens", ("hi",), {"tokens": 30}, 30),
        ("tokens", ("hi",), {}, 7),
        (lambda prompt, tokens=1: len(prompt) * tokens + 0.5, ("four",), {"tokens": 2}, 9),
    ],
)
def test_a_cost_comes_from_the_arguments(cost: Any, args: Any, kwargs: Any, expected: int) -> None:
    assert costs(cost, *args, **kwargs) == [1, expected]


@each("value", ["many", None, -1, True, float("nan")])
def test_an_argument_that_is_no_cost_is_refused(value: Any) -> None:
    with pytest.raises(InvalidJob, match=r"the cost of 'gpt' is .*; give a number from 0"):
        costs("tokens", "hi", value)


@each(
    "options, text",
    [
        ({"limits": "github"}, "limits is 'github'; give a list of at most 10 names"),
        ({"limits": ["git hub"]}, "the name of a limit is 'git hub'; give 1 to 64 letters"),
        ({"limits": ["a", "a"]}, "limits names a limit twice"),
        (
            {"limits": [Limit("a", cost="size")]},
            "'size', which is not a parameter of the function; it has prompt, tokens",
        ),
        ({"limits": [Limit("a", cost=lambda: 1)]}, "cost of 'a' does not accept the arguments of a job; give it the"),
        ({"breaker": Breaker(0.5, per="group")}, "breaker is per='group', but ai.ask has no group; give group too."),
        ({"breaker": 0.5}, "breaker is 0.5; give a Breaker: breaker=Breaker"),
    ],
)
def test_wrong_options_are_refused_with_the_remedy(options: Any, text: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        declared(**options)
    assert text in str(caught.value)


@each("given, field", [
        ({"ratio": 0}, "ratio"), ({"ratio": 1.5}, "ratio"), ({"ratio": 0.5, "half_open": 0}, "half_open"),
        ({"ratio": 0.5, "window": "soon"}, "window"), ({"ratio": 0.5, "window": 0.5}, "window"),
        ({"ratio": 0.5, "minimum": 1.5}, "minimum"), ({"ratio": 0.5, "per": "queue"}, "per"),
        ({"ratio": 0.5, "cooldown": -1}, "cooldown"), ({"ratio": 0.5, "cooldown": 0}, "cooldown"),
        ({"ratio": 0.5, "ignore": ("ValueError",)}, "ignore"), ({"ratio": 0.5, "ignore": int}, "ignore"),
    ])  # fmt: skip
def test_a_breaker_checks_its_values(given: Any, field: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        Breaker(**given)
    assert caught.value.field == field


@each(
    "per, group, name",
    [
        ("function", "acme", "breaker:function:ai.ask"),
        ("group", "acme", "breaker:group:ai:acme"),
        ("group", None, "breaker:function:ai.ask"),
        ("limit:gpt", None, "breaker:limit:gpt"),
    ],
)
def test_a_breaker_belongs_to_a_function_a_group_or_a_limit(per: str, group: str | None, name: str) -> None:
    breaker = Breaker(0.5, window="1m", per=per)

    assert breaker.name("ai.ask", "ai", group) == name
    assert breaker.words == "0.5 10 3 60000000 30000000"


def test_what_explain_needs_is_published() -> None:
    record = function_record(
        declared(limits=["github", Limit("gpt", cost=2)], breaker=Breaker(0.5, per="group"), group="x")
    )

    assert read_gates(record) == (["github", "gpt"], "group")
    assert read_gates(function_record(declared())) == ([], "")


@each(
    "text, rate",
    [
        ("100/1m", NamedRate(100, 60)),
        ("5/10s", NamedRate(5, 10)),
        ("7/h", NamedRate(7, 3600)),
        (9, NamedRate(9, 1)),
        ("5", NamedRate(5, 1)),
    ],
)
def test_rates_are_read(text: object, rate: NamedRate) -> None:
    assert named_rate(text) == rate


@each("text", ["0/s", "1.5/s", "1.5", "5/0s", 0, True, "5/1w", None])
def test_other_rates_are_refused(text: object) -> None:
    with pytest.raises(InvalidJob, match="give a rate such as '100/1m'"):
        named_rate(text)


@each("bounds", [(0, 5), (5, 2), (1,), "1-2", (1.0, 2)])
def test_bounds_that_are_none_are_refused(bounds: object) -> None:
    with pytest.raises(InvalidJob, match="give the bounds"):
        adaptive_bounds(bounds)


def test_retry_after_has_seconds_or_a_date() -> None:
    assert RateLimited.from_headers({"retry-after": "17"}, limit="gpt").delay == 17
    later = RateLimited.from_headers({"Retry-After": formatdate(time.time() + 100, usegmt=True)})
    assert 90 < later.delay <= 100
    assert RateLimited.from_headers({"Retry-After": formatdate(time.time() - 100, usegmt=True)}).delay == 1
    assert RateLimited.from_headers({"Retry-After": "0"}).delay == 1
    assert RateLimited.from_headers({"Retry-After": "soon"}).delay == RateLimited.from_headers({}).delay == 60


@pytest.mark.parametrize(("delay", "limit", "field"), [(-1, None, "RateLimited"), (1, "", "limits"), (1, 5, "limits")])
def test_a_refusal_checks_its_values(delay: Any, limit: Any, field: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        RateLimited(delay, limit=limit)
    assert caught.value.field == field


@pytest.mark.parametrize(("args", "kwargs", "cost"), [((), {}, 3), ((7,), {}, 7), ((), {"tokens": 5}, 5)])
def test_a_function_of_the_cost_gets_the_defaults_that_it_needs(args: Any, kwargs: Any, cost: int) -> None:
    def ask(tokens: int = 3, model: str = "small") -> None:
        """A function with defaults."""

    parameters = tuple(inspect.signature(ask).parameters.values())
    gates = gates_of({"limits": [Limit("gpt", cost=lambda tokens: tokens)]}, lambda: parameters)

    assert gates is not None
    assert gates.demands("ask", "ai", None, parameters, args, kwargs) == (Demand("limit:gpt", cost),)
