"""What the decorator refuses about errors and resources, and what only stands there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from jobfleet import InvalidJob, Resource
from jobfleet.functions.registry import Registry


def add(x: int, y: int) -> int:
    return x + y


@pytest.mark.parametrize("given", [5, "Busy", (OSError, 5), [OSError()]])
@pytest.mark.parametrize("option", ["retry_on", "discard_on"])
def test_only_classes_of_exceptions_decide_about_retries(option: str, given: Any) -> None:
    with pytest.raises(InvalidJob, match=rf"^{option} holds .*; give exception classes: {option}=\(Busy,\)\.$"):
        Registry().register(add, name="app.add", **{option: given})


def test_one_class_may_stand_alone() -> None:
    made = Registry().register(add, name="app.add", retry_on=OSError, discard_on=[KeyError])  # type: ignore[arg-type]

    assert (made.retry_on, made.discard_on) == ((OSError,), (KeyError,))


@pytest.mark.parametrize("option", ["retry_on", "discard_on", "cron"])
def test_what_stands_on_the_decorator_only_is_told_so(option: str) -> None:
    with pytest.raises(InvalidJob) as caught:
        Registry().register(add, name="app.add").options(**{option: OSError})  # type: ignore[arg-type]

    assert str(caught.value) == f"{option} can only be set on the decorator: @job({option}=…)."


def test_a_bare_generator_is_no_resource() -> None:
    def opened() -> Iterator[int]:
        yield 1

    async def awaited() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(InvalidJob, match=r"opened is a bare generator; put @contextmanager on it\.$"):
        Resource(opened)
    with pytest.raises(InvalidJob, match=r"awaited is a bare generator; put @asynccontextmanager on it\.$"):
        Resource(awaited)
