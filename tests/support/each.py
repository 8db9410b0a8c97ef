"""A rule that each of many things keeps, as one test: collecting a case per thing takes longer than looking at it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def see_each(kind: str, values: Iterable[T], look: Callable[[T], None], *, show: Callable[[T], str] = str) -> None:
    """Look at each value, and tell all failures together.

    Args:
        kind: What a value is.
        values: The values. There must be some: a rule about nothing cannot fail.
        look: Is called with each.
        show: What a failure calls a value.
    """
    things = list(values)
    assert things, f"there is no {kind}"
    failures: list[BaseException] = []
    for thing in things:
        try:
            look(thing)
        except (Exception, pytest.fail.Exception) as error:
            error.add_note(f"{kind}: {show(thing)}")
            failures.append(error)
    if failures:
        raise BaseExceptionGroup(f"{len(failures)} of {len(things)} do not keep the rule", failures)


def each(
    name: str, values: Iterable[Any], *, show: Callable[[Any], str] = str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Call a test once per value, and tell all failures together.

    Use it only for rules about files and declarations: fixtures are the same for all values.

    Args:
        name: The parameter that gets the value; several of them, with commas, get the parts of a tuple.
        values: The values. There must be some: a rule about nothing cannot fail.
        show: What a failure calls a value.
    """
    things, names = list(values), name.split(", ")

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        signature = inspect.signature(test)

        @wraps(test)
        def run(**fixtures: Any) -> None:
            def look(thing: Any) -> None:
                test(**fixtures, **dict(zip(names, thing if len(names) > 1 else (thing,), strict=True)))

            see_each(name, things, look, show=show)

        others = [parameter for parameter in signature.parameters.values() if parameter.name not in names]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # inspect looks for it
        return run

    return decorate
