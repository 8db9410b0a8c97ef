"""A rule that each of many things keeps, as one test: collecting a case per thing takes longer than looking at it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


class _Failures:
    """What failed of things of a kind."""

    def __init__(self, kind: str, count: int, show: Callable[[Any], str]) -> None:
        assert count, f"there is no {kind}"  # a rule about nothing cannot fail
        self._kind, self._count, self._show = kind, count, show
        self._found: list[BaseException] = []

    @contextmanager
    def of(self, thing: Any) -> Iterator[None]:
        """Keep the failure of a thing."""
        try:
            yield
        except (Exception, pytest.fail.Exception) as error:
            error.add_note(f"{self._kind}: {self._show(thing)}")
            self._found.append(error)

    def report(self) -> None:
        """Fail if something has failed."""
        if self._found:
            text = f"{len(self._found)} of {self._count} do not keep the rule"
            raise BaseExceptionGroup(text, self._found)


def see_each(kind: str, values: Iterable[T], look: Callable[[T], None], *, show: Callable[[T], str] = str) -> None:
    """Look at each value, and tell all failures together.

    Args:
        kind: What a value is.
        values: The values. There must be some: a rule about nothing cannot fail.
        look: Is called with each.
        show: What a failure calls a value.
    """
    things = list(values)
    failures = _Failures(kind, len(things), show)
    for thing in things:
        with failures.of(thing):
            look(thing)
    failures.report()


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

        @wraps(test)
        def run(**fixtures: Any) -> None:
            see_each(name, things, lambda thing: test(**fixtures, **given(thing)), show=show)

        @wraps(test)
        async def run_awaited(**fixtures: Any) -> None:
            failures = _Failures(name, len(things), show)
            for thing in things:
                with failures.of(thing):
                    await test(**fixtures, **given(thing))
            failures.report()

        chosen: Callable[..., Any] = run_awaited if inspect.iscoroutinefunction(test) else run
        others = [parameter for parameter in signature.parameters.values() if parameter.name not in names]
        chosen.__signature__ = signature.replace(parameters=others)  # type: ignore[attr-defined]  # inspect looks for it
        return chosen

    return decorate
