"""Unique keys: made from a call's arguments, refused by name, and the place they give to a job."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from jobfleet import InvalidJob, Job, JobContext
from jobfleet.codec import read_header
from jobfleet.config import JobConfig
from jobfleet.functions.manifest import function_record, read_function, read_parameters
from jobfleet.functions.registry import JobFunction, Registry
from jobfleet.model.templates import format_key
from jobfleet.operations.fleet_context import FleetContext
from jobfleet.operations.jobs.prepare import Resolved, Submission, lane_index, resolve, submission_in
from tests.support.each import each


def bill(n: int, tenant: str = "acme", *, year: int = 2026) -> None:
    """Bill somebody."""


def observed(ctx: JobContext, n: int, progress_callback: Any = None) -> None:
    """Has parameters that no caller gives."""


def spread(*parts: int, **names: int) -> None:
    """Takes anything."""


def made(function: Callable[..., Any] = bill, **options: Any) -> JobFunction[..., Any, Any]:
    return Registry().register(function, name="app.f", **options)


def sent(job: Job, function: Resolved | None = None) -> Submission:
    context = FleetContext(JobConfig(), Registry())
    context.remember("default", (1, 1))
    found = function or resolve(job, context.registry)
    assert found is not None
    return submission_in(context, job, found)


def key_of(job: Job, function: Resolved | None = None) -> str:
    unique = sent(job, function).unique
    assert unique is not None
    return unique.key


@each(
    "template, args, kwargs, key",
    [
        ("nightly", (7,), {}, "nightly"),
        ("inv-{n}", (7,), {}, "inv-7"),
        ("inv-{n}", (), {"n": 7}, "inv-7"),
        ("{tenant}:{n}", (7,), {}, "acme:7"),
        ("{tenant}:{n}", (7, "b"), {}, "b:7"),
        ("{n}/{year}", (7,), {"year": 1}, "7/1"),
        ("{n}/{year}", (7,), {}, "7/2026"),
        ("{0}-{1}", (7, "b"), {}, "7-b"),
        ("{}-{}", (7, "b"), {}, "7-b"),
        ("{n[id]}", ({"id": 4},), {}, "4"),
        ("{n.id:>3}", (SimpleNamespace(id=4),), {}, "  4"),
        ("{n!r}", ("a",), {}, "'a'"),
        ("{{{n}}}", (7,), {}, "{7}"),
    ],
)
def test_a_key_is_formatted_from_the_arguments(template: str, args: Any, kwargs: Any, key: str) -> None:
    function = made(unique=template)
    job = function.job(*args, **kwargs)
    known = resolve(job, Registry())
    assert known is not None

    assert Job("x", "app.f", args, kwargs, unique=template).unique == template
    assert _key_only(job, known) == key


def _key_only(job: Job, function: Resolved) -> str:
    from jobfleet.operations.jobs.prepare import uniqueness

    unique = uniqueness(job, function.name, function.options, function.parameters)
    assert unique is not None
    return unique.key


def test_what_the_worker_fills_has_no_place_among_the_arguments() -> None:
    assert key_of(made(observed, unique="{n}").job(5)) == "5"


def test_any_name_may_be_given_to_a_function_that_takes_any() -> None:
    assert key_of(made(spread, unique="{0}-{b}").job(1, 2, b=3)) == "1-3"


def test_a_function_is_called_with_the_arguments() -> None:
    function = made(unique=lambda n, tenant="x", **rest: f"{tenant}/{n}/{rest}")

    assert key_of(function.job(7)) == "x/7/{}"
    assert key_of(function.job(7, "b", year=1)) == "b/7/{'year': 1}"


def test_positions_are_known_though_the_function_is_not() -> None:
    unknown = Resolved("app.far", {})

    assert key_of(Job("x", "app.far", (7,), {"k": 8}, unique="{0}-{k}"), unknown) == "7-8"


def test_a_plain_function_is_looked_at() -> None:
    assert key_of(Job("x", bill, (7,), unique="{tenant}-{n}")) == "acme-7"


def test_a_job_s_key_goes_before_its_function_s() -> None:
    function = made(unique="of function", unique_for="queued", on_conflict="raise", debounce_max=5)

    theirs = sent(function.job(1)).unique
    mine = sent(function.options(unique="of job", unique_for=60, on_conflict="replace").job(1)).unique
    by_name = sent(Job("x", "app.f", (1,)), Resolved("app.f", function.given)).unique

    assert theirs == by_name == ("of function", "q", "raise", 5_000_000)
    assert mine == ("of job", "60000000", "replace", 5_000_000)


@each(
    "unique_for, lines",
    [(None, ""), ("open", ""), ("queued", "\ns q"), (1.5, "\ns 1500000"), (timedelta(minutes=1), "\ns 60000000")],
)
def test_key_and_scope_stand_in_the_clear_record_and_the_key_in_the_header(unique_for: Any, lines: str) -> None:
    entry = sent(made(unique="k {n}", unique_for=unique_for, result_ttl=700).job(7)).entry

    assert entry.meta == "r 700000\nu k 7" + lines
    assert read_header(entry.envelope)["unique"] == "k 7"


def test_a_job_without_a_key_has_none_of_this() -> None:
    submission = sent(made().job(7))

    assert (submission.unique, submission.entry.meta) == (None, "")
    assert "unique" not in read_header(submission.entry.envelope)


def told(call: Callable[[], object]) -> tuple[str, str]:
    with pytest.raises(InvalidJob) as caught:
        call()
    return caught.value.field, str(caught.value)


def test_a_name_that_no_call_can_give_is_refused_with_the_decorator() -> None:
    assert told(lambda: made(unique="inv-{m}")) == (
        "unique", "unique names {m}, which is not a parameter of app.f; it has n, tenant, year.",
    )  # fmt: skip


@each(
    "template, args, message",
    [
        ("inv-{m}", (7,), "unique names {m}, which is not an argument of this call; it has n, tenant, year."),
        ("inv-{n}", (), "unique names {n}, which is not an argument of this call; it has tenant, year."),
        ("{2}", (7,), "unique names {2}, which is not an argument of this call; it has n, tenant, year."),
        ("{n[id]}", (7,), "unique '{n[id]}' cannot be made from this call: 'int' object is not subscriptable."),
        ("{n.id}", (7,), "unique '{n.id}' cannot be made from this call: 'int' object has no attribute 'id'."),
        ("{n[id]}", ({},), "unique '{n[id]}' cannot be made from this call: 'id'."),
        ("{n:d}", ("a",), "unique '{n:d}' cannot be made from this call: Unknown format code 'd' for object of type"),
        ("{n}", ("",), "unique makes the key ''; a key has 1 to 200 printable characters."),
        ("{n}", ("a\nb",), "unique makes the key 'a\\nb'; a key has 1 to 200 printable characters."),
        ("{n}", ("x" * 201,), f"unique makes the key '{'x' * 201}'; a key has 1 to 200 printable characters."),
    ],
)
def test_a_key_that_cannot_be_made_is_refused(template: str, args: Any, message: str) -> None:
    field, text = told(lambda: sent(made().options(unique=template).job(*args)))

    assert field == "unique"
    assert text.startswith(message)


@each("answer", [7, None, "", b"k", "a\tb"])
def test_a_function_must_answer_a_key(answer: Any) -> None:
    field, text = told(lambda: sent(made(unique=lambda *_: answer).job(7)))

    assert (field, text.endswith("printable characters.")) == ("unique", True)


@pytest.mark.parametrize(("option", "value"), [("unique_for", 60), ("on_conflict", "raise"), ("debounce_max", 60)])
def test_an_option_of_a_key_is_refused_where_there_is_none(option: str, value: Any) -> None:
    assert told(lambda: sent(Job("x", "app.f", **{option: value}), Resolved("app.f", {}))) == (
        option, f"{option} is given, but no key; give unique too, or leave it out.",
    )  # fmt: skip


def test_a_template_reaches_into_nothing_private_wherever_it_comes_from() -> None:
    assert told(lambda: format_key("{n.__class__}", (), {"n": 7}))[0] == "unique"


def test_jobs_of_one_key_meet_in_one_of_the_home_lanes() -> None:
    lanes = [lane_index(Job("x", "app.f", unique="k"), "q", 4, 9, f"key {n}") for n in range(200)]

    assert lanes == [lane_index(Job("y", "app.g"), "q", 4, 9, f"key {n}") for n in range(200)]
    assert set(lanes) == {0, 1, 2, 3}
    assert lane_index(Job("x", "app.f"), "q", 1, 1, "key") == 0


def test_a_key_and_an_id_with_places_of_their_own_are_refused_where_there_are_places() -> None:
    job = Job("x", "app.f", id="mine")

    assert told(lambda: lane_index(job, "q", 2, 2, "key"))[0] == "unique"
    assert lane_index(job, "q", 1, 2, "key") == lane_index(job, "q", 1, 1, "key") == 0
    assert lane_index(job, "q", 2, 2, "mine") == lane_index(job, "q", 2, 2)


def test_a_published_function_s_key_is_made_where_only_its_name_is_known() -> None:
    record = function_record(made(unique="{tenant}-{n}/{year}", unique_for=timedelta(minutes=1), on_conflict="raise"))
    far = Resolved("app.f", read_function(record), read_parameters(record))

    unique = sent(Job("x", "app.f", (7,)), far).unique

    assert unique == ("acme-7/2026", "60000000", "raise", None)
    assert key_of(Job("x", "app.f", (7, "b"), {"year": 1}), far) == "b-7/1"


def test_a_default_that_cannot_travel_must_be_given() -> None:
    def odd(n: int, where: object = object()) -> None:
        """Nobody can publish that default."""

    record = function_record(made(odd, unique="{n}-{where}"))
    far = Resolved("app.f", read_function(record), read_parameters(record))

    assert told(lambda: sent(Job("x", "app.f", (7,)), far))[1].startswith("unique names {where}")
    assert key_of(Job("x", "app.f", (7, 8)), far) == "7-8"


def test_a_key_that_only_python_makes_must_be_given_elsewhere() -> None:
    record = function_record(made(unique=lambda n: f"{n}"))
    far = Resolved("app.f", read_function(record), read_parameters(record))

    assert told(lambda: sent(Job("x", "app.f", (7,)), far)) == (
        "unique", "unique of app.f is a function that only its own programs have; give the key yourself.",
    )  # fmt: skip
    assert key_of(Job("x", "app.f", (7,), unique="{n}"), far) == "7"


@each("call", [None, 7, [7], [["n"]], [["n", True, []], ["not a name", True, []], [7, 7, 7]]])
def test_published_parameters_that_make_no_sense_are_none(call: Any) -> None:
    from jobfleet.codec import encode

    known = read_parameters(encode({"options": {}, "call": call}))

    assert [parameter.name for parameter in known] in ([], ["n"])
