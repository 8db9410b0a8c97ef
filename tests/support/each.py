"""A rule that each of many things keeps, as one test: collecting a case per thing takes longer than looking at it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import pytest


def each(
    name: str, values: Iterable[Any], *, show: Callable[[Any], str] = str
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Call a test once per value, and tell all failures together.

    Use it for rules about files, declarations and pure functions, and for requests that are refused and change nothing:
    fixtures are the same for all values.

    Args:
        name: The parameter that gets the value; several of them, with commas, get the parts of a tuple.
        values: The values. There must be some: a rule about nothing cannot fail.
        show: What a failure calls a value.
    """
    things, names = list(values), name.split(", ")

    def decorate(test: Callable[..., Any]) -> Callable[..., Any]:
        signature = inspect.signature(test)
        assert things, f"there is no {name}"

        def given(thing: Any) -> dict[str, Any]:
            return dict(zip(names, thing if len(names) > 1 else (thing,), strict=True))

        def told(failures: list[tuple[Any, BaseException]]) -> None:
            errors: list[Exception] = []
            for thing, error in failures:
                errors.append(error if isinstance(error, Exception) else AssertionError(str(error)))
                errors[-1].add_note(f"{name}: {show(thing)}")
            if errors:
                raise ExceptionGroup(f"{len(errors)} of {len(things)} do not keep the rule", errors)

        @wraps(test)
        def run(**fixtures: Any) -> None:
            failures: list[tuple[Any, BaseException]] = []
            for thing in things:
                try:
                    test(**fixtures, **given(thing))
                except (Exception, pytest.fail.Exception) as error:
                    failures.append((thing, error))
            told(failures)

        @wraps(test)
        async def run_awaited(**fixtures: Any) -> None:
            failures: list[tuple[Any, BaseException]] = []
            for thing in things:
                try:
                    await test(**fixtures, **given(thing))
                except (Exception, pytest.fail.Exception) as error:
                    failures.append((thing, error))
            told(failures)

        chosen: Callable[..., Any] = run_awaited if inspect.iscoroutinefunction(test) else run
        others = [parameter for parameter in signature.parameters.values() if parameter.name not in names]
        chosen.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # inspect looks for it
        return chosen

    return decorate
