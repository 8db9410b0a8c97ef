"""The two fleets, which are written by hand: the same methods, with the same arguments, answers and docstrings.

All else that a client gives is generated for the blocking one; `scripts/unasync --check` in the gate proves it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from jobfleet import AsyncFleet, Fleet
from jobfleet.fleet import default
from tests.support.each import each

URL = "redis://localhost:1/0"
ONLY_SYNC = {
    "close": "its twin is aclose",
    "of": "for the command line, which blocks",
}
ONLY_ASYNC = {"aclose": "its twin is close", "sharing": "made by Fleet.for_running_loop"}
OTHER_WORDS = {
    "for_running_loop": "of a Fleet it is another client",
    "run_worker": "to be cancelled, and in a thread",
}
AT_ONCE = {
    "enqueue_many",
    "for_running_loop",
    "counted",
    "logs",
    "map",
    "serve_requests",
    "stream",
    "streaming",
    "__init__",
}
"""Methods that neither block nor are awaited: what they give is iterated, awaited or called."""


def methods(kind: type) -> dict[str, Callable[..., Any]]:
    """The public methods of a class, and how it is made."""
    own = {name: method for name, method in inspect.getmembers(kind, callable) if not name.startswith("_")}
    own["__init__"] = kind.__init__  # type: ignore[misc]
    return own


def blocking(text: str) -> str:
    """A text about what is awaited, as it reads where it blocks."""
    text = re.sub(r"\bAsync(?=[A-Z])", "", text.replace("`await ", "`"))
    return re.sub(r"\basync (for|with)\b", r"\1", text)


def parameters(method: Callable[..., Any]) -> list[tuple[str, Any, Any, str]]:
    signature = inspect.signature(method)
    return [(one.name, one.kind, one.default, blocking(str(one.annotation))) for one in signature.parameters.values()]


def test_every_property_of_a_client_that_is_an_object_with_methods_is_a_pair() -> None:
    names = {name for name, value in inspect.getmembers(Fleet) if isinstance(value, property)}

    assert names == {name for name, value in inspect.getmembers(AsyncFleet) if isinstance(value, property)}
    assert names == {"flows", "cron", "limits", "groups", "breakers", "config", "hooks", "job", "listener", "store"} | {
        "buffered"
    }  # a number


def test_both_fleets_have_the_same_methods() -> None:
    assert methods(Fleet).keys() - methods(AsyncFleet).keys() == ONLY_SYNC.keys()
    assert methods(AsyncFleet).keys() - methods(Fleet).keys() == ONLY_ASYNC.keys()


@each("name", sorted(methods(Fleet).keys() & methods(AsyncFleet).keys()))
def test_a_method_takes_answers_and_says_the_same_and_is_awaited_there(name: str) -> None:
    one, other = methods(Fleet)[name], methods(AsyncFleet)[name]
    answers = [str(inspect.signature(method).return_annotation) for method in (one, other)]

    assert parameters(one) == parameters(other)
    assert "_empty" not in answers[0]
    assert name == "for_running_loop" or blocking(answers[1]) == answers[0]
    if name != "__init__":  # the class's docstring has its arguments
        assert one.__doc__
        assert other.__doc__
    assert name in OTHER_WORDS or blocking(str(other.__doc__)) == str(one.__doc__)
    assert not inspect.iscoroutinefunction(one)
    assert inspect.iscoroutinefunction(other) or inspect.isasyncgenfunction(other) or name in AT_ONCE


@pytest.mark.parametrize("name", ["enqueue", "poll", "wait", "cancel"])
def test_a_module_function_is_the_method_of_the_default_fleet(name: str) -> None:
    assert parameters(getattr(default, name)) == parameters(getattr(Fleet, name))[1:]
