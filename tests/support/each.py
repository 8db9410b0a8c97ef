"""A rule that each of many things keeps, as one test: collecting a case per thing takes longer than looking at it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any


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
            assert things, f"there is no {name}"
            failures: list[Exception] = []
            for thing in things:
                try:
                    test(**fixtures, **dict(zip(names, thing if len(names) > 1 else (thing,), strict=True)))
                except Exception as error:
                    error.add_note(f"{name}: {show(thing)}")
                    failures.append(error)
            if failures:
                raise ExceptionGroup(f"{len(failures)} of {len(things)} do not keep the rule", failures)

        others = [parameter for parameter in signature.parameters.values() if parameter.name not in names]
        run.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # inspect looks for it
        return run

    return decorate
