"""The options `version` and `upcast`: what the decorator accepts, and the steps from one version to the next."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from jobfleet import InvalidJob
from jobfleet.functions.manifest import function_record, read_function, read_version
from jobfleet.functions.options import Schema
from jobfleet.functions.registry import JobFunction, Registry
from tests.support.each import each


def function(*args: object, **kwargs: object) -> None: ...


def same(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    return args, kwargs


async def awaited(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    return args, kwargs


def yielded(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[Any]:
    yield args


def made(**options: Any) -> JobFunction[..., Any, Any]:
    return Registry().register(function, name="app.f", **options)


@each("version", [0, -1, 1.5, "2", True, 1_000_001])
def test_a_wrong_version_is_refused_at_once(version: object) -> None:
    with pytest.raises(InvalidJob, match=r"^version is .*; give a whole number from 1 to 1,000,000\.$") as caught:
        made(version=version)

    assert caught.value.field == "version"


@each(
    "upcast, text",
    [
        ({2: same}, r"the key 2, and version is 2; give a version from 1 to 1\."),
        ({0: same}, r"the key 0, "),
        ({True: same}, r"the key True, "),
        ({"1": same}, r"the key '1', "),
        ({1: "same"}, r"upcast\[1\] is 'same'; give a function of \(args, kwargs\)\."),
        ({1: awaited}, r"upcast\[1\] is .*; give a plain def"),
        ({1: yielded}, r"upcast\[1\] is .*; give a plain def"),
        ([same], r"upcast is .*; give a mapping: upcast=\{1: f\}\."),
    ],
)
def test_a_wrong_upcast_is_refused_at_once(upcast: object, text: str) -> None:
    with pytest.raises(InvalidJob, match=text) as caught:
        made(version=2, upcast=upcast)

    assert caught.value.field == "upcast"


def test_an_upcast_without_a_version_is_refused() -> None:
    with pytest.raises(InvalidJob, match=r"the key 1, and version is 1; give version=2 or more besides it\."):
        made(upcast={1: same})


def test_only_the_decorator_takes_them() -> None:
    for option in ("version", "upcast"):
        options: dict[str, Any] = {option: 2}
        with pytest.raises(InvalidJob, match=rf"^{option} can only be set on the decorator: @job\({option}=…\)\.$"):
            made().options(**options)


def test_the_version_is_published_and_stays_with_other_options() -> None:
    later = made(version=3, upcast={1: same}).options(max_retries=1)

    assert later.schema.version == 3
    assert read_function(function_record(later)) == {"version": 3, "max_retries": 1}
    assert read_version(function_record(later)) == 3
    assert read_function(function_record(made(version=1))) == {}
    assert read_version(function_record(made())) == 1


def test_the_steps_are_a_chain() -> None:
    schema = Schema(3, {1: lambda args, kwargs: ([*args, "b"], kwargs), 2: lambda args, kwargs: ((), {"all": args})})

    assert schema.upcast("f", 1, ["a"], {}) == ((), {"all": ("a", "b")})
    assert schema.upcast("f", 2, ["a"], {}) == ((), {"all": ("a",)})
    assert schema.upcast("f", 3, ["a"], {"x": 1}) == (("a",), {"x": 1})


class Mute(Exception):
    """An error without a text."""

    def __str__(self) -> str:
        raise RuntimeError


def fail(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    raise KeyError("to")


def mute(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    raise Mute


ANSWERS: list[Any] = [None, (), ((),), ("ab", {}), ((), []), ((), {1: 2}), {1: 2, 3: 4}]


def returning(answer: object) -> Any:
    return lambda _args, _kwargs: answer


@each(
    "upcasts, text",
    [
        ({2: same}, "f has no upcast from schema version 1 to 2 (the job has 1, the function 3): add upcast={1: f} "),
        ({1: same}, "f has no upcast from schema version 2 to 3 (the job has 1, the function 3): add upcast={2: f} "),
        ({1: fail}, "The upcast of f from schema version 1 to 2 (the job has 1, the function 3) raised KeyError: 'to'"),
        ({1: mute}, "The upcast of f from schema version 1 to 2 (the job has 1, the function 3) raised Mute: correct"),
        *(({1: returning(answer)}, "returned ") for answer in ANSWERS),
    ],
)
def test_a_step_that_fails_names_function_versions_and_remedy(upcasts: dict[int, Any], text: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        Schema(3, upcasts).upcast("f", 1, (), {})

    assert text in str(caught.value)
    assert str(caught.value).endswith("then replay the job.")
