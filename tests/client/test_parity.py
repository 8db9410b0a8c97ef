"""`Fleet` and `AsyncFleet`, `JobHandle` and `AsyncJobHandle`: the same verbs, with the same arguments and words."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import pytest

from jobfleet import AsyncFleet, AsyncJobHandle, Fleet, JobHandle
from jobfleet.fleet import default

ONLY_SYNC = {
    "close": "its twin is aclose",
    "of": "for the command line, which blocks",
}
ONLY_ASYNC = {"aclose": "its twin is close", "sharing": "made by Fleet.for_running_loop"}
OTHER_WORDS = {
    "enqueue_many": "iterated, or awaited",
    "for_running_loop": "of a Fleet it is another client",
    "job": "whose aenqueue it is",
    "run_worker": "to be cancelled, and in a thread",
}
OTHER_ANSWER = {"enqueue_many", "for_running_loop"}
AT_ONCE = {"enqueue_many", "job", "for_running_loop", "counted"}
PAIRS = [(Fleet, AsyncFleet), (JobHandle, AsyncJobHandle)]


def verbs(kind: type) -> dict[str, Callable[..., Any]]:
    return {name: method for name, method in inspect.getmembers(kind, callable) if not name.startswith("_")}


def parameters(method: Callable[..., Any]) -> list[tuple[str, Any, Any, Any]]:
    signature = inspect.signature(method)
    return [(one.name, one.kind, one.default, one.annotation) for one in signature.parameters.values()]


def awaited(answer: str) -> str:
    """An async answer in sync words."""
    return re.sub(r"\bAsync(Iterator|JobHandle|Fleet)\b", r"\1", answer)


SHARED = [
    (f"{sync.__name__}.{name}", method, verbs(asynchronous)[name])
    for sync, asynchronous in PAIRS
    for name, method in verbs(sync).items()
    if name in verbs(asynchronous)
]
by_name = pytest.mark.parametrize(("name", "one", "other"), SHARED, ids=[name for name, *_ in SHARED])


def test_both_fleets_have_the_same_verbs() -> None:
    assert verbs(Fleet).keys() - verbs(AsyncFleet).keys() == ONLY_SYNC.keys()
    assert verbs(AsyncFleet).keys() - verbs(Fleet).keys() == ONLY_ASYNC.keys()


def test_both_handles_have_the_same_verbs() -> None:
    assert verbs(JobHandle).keys() == verbs(AsyncJobHandle).keys()


def test_both_fleets_are_made_alike() -> None:
    assert parameters(Fleet.__init__) == parameters(AsyncFleet.__init__)


@by_name
def test_a_verb_takes_the_same_arguments(name: str, one: Callable[..., Any], other: Callable[..., Any]) -> None:
    assert parameters(one) == parameters(other)


@by_name
def test_a_verb_answers_the_same(name: str, one: Callable[..., Any], other: Callable[..., Any]) -> None:
    answers = [str(inspect.signature(method).return_annotation) for method in (one, other)]

    if name.rpartition(".")[2] not in OTHER_ANSWER:
        assert awaited(answers[1]) == answers[0]


@by_name
def test_a_verb_is_told_in_the_same_words(name: str, one: Callable[..., Any], other: Callable[..., Any]) -> None:
    assert one.__doc__
    assert other.__doc__
    if name.rpartition(".")[2] not in OTHER_WORDS:
        assert other.__doc__ == one.__doc__


@by_name
def test_a_verb_blocks_here_and_is_awaited_there(name: str, one: Callable[..., Any], other: Callable[..., Any]) -> None:
    verb = name.rpartition(".")[2]
    is_awaited = inspect.iscoroutinefunction(other) or inspect.isasyncgenfunction(other)

    assert not inspect.iscoroutinefunction(one)
    assert is_awaited or verb in AT_ONCE or name in {"JobHandle.events", "JobHandle.logs"}


@pytest.mark.parametrize("name", ["enqueue", "poll", "wait", "cancel"])
def test_a_module_function_is_the_verb_of_the_default_fleet(name: str) -> None:
    assert parameters(getattr(default, name)) == parameters(getattr(Fleet, name))[1:]
