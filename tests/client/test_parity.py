"""Every object that a client gives has a twin: the same methods, with the same arguments, answers and docstrings."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobfleet import AsyncFleet, AsyncJobHandle, Fleet, JobHandle
from jobfleet.client._async.connection import AsyncReceiptIterator
from jobfleet.client._async.cron import AsyncCronEntries
from jobfleet.client._async.events import reading as async_reading
from jobfleet.client._async.events import streaming as async_streaming
from jobfleet.client._async.events import tail as async_tail
from jobfleet.client._async.flows import AsyncFlows
from jobfleet.client._async.jobs import AsyncReceipts
from jobfleet.client._async.limits import AsyncGroups, AsyncLimits
from jobfleet.client._sync.cron import CronEntries
from jobfleet.client._sync.events import reading, streaming, tail
from jobfleet.client._sync.flows import Flows
from jobfleet.client._sync.jobs import Receipts
from jobfleet.client._sync.limits import Groups, Limits
from jobfleet.fleet import default
from jobfleet.model import Job, JobStatus, Receipt
from tests.support.each import each

ROOT = Path(__file__).parents[2]
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
OTHER_ANSWER = {"for_running_loop"}
AT_ONCE = {"enqueue_many", "for_running_loop", "counted", "logs", "map", "stream", "streaming", "__init__"}
"""Methods that neither block nor are awaited: what they give is iterated, awaited or called."""

PAIRS: list[tuple[type, type]] = [
    (Fleet, AsyncFleet),
    (JobHandle, AsyncJobHandle),
    (Flows, AsyncFlows),
    (CronEntries, AsyncCronEntries),
    (Limits, AsyncLimits),
    (Groups, AsyncGroups),
    (Receipts, AsyncReceipts),
]
ITERATORS = [
    ("logs", reading, async_reading), ("streaming", streaming, async_streaming), ("tail", tail, async_tail)
]  # fmt: skip


def methods(kind: type) -> dict[str, Callable[..., Any]]:
    """The public methods of a class, how it is made, and how it is called."""
    own = {name: method for name, method in inspect.getmembers(kind, callable) if not name.startswith("_")}
    own["__init__"] = kind.__init__  # type: ignore[misc]
    if "__call__" in vars(kind):
        own["__call__"] = vars(kind)["__call__"]
    return own


def blocking(text: str) -> str:
    """A text about what is awaited, as it reads where it blocks."""
    text = re.sub(r"\bAsync(?=[A-Z])", "", text.replace("`await ", "`"))
    return re.sub(r"\basync (for|with)\b", r"\1", text)


def parameters(method: Callable[..., Any]) -> list[tuple[str, Any, Any, str]]:
    signature = inspect.signature(method)
    return [(one.name, one.kind, one.default, blocking(str(one.annotation))) for one in signature.parameters.values()]


SHARED = [
    (f"{sync.__name__}.{name}", method, methods(asynchronous)[name])
    for sync, asynchronous in PAIRS
    for name, method in methods(sync).items()
    if name in methods(asynchronous)
] + [(f"iterator.{name}", one, other) for name, one, other in ITERATORS]
by_name = each("name, one, other", SHARED)


def test_every_object_that_a_client_gives_is_a_pair() -> None:
    sync, asynchronous = Fleet(URL), AsyncFleet(URL)
    receipt = Receipt("mail.0.x", True, JobStatus.QUEUED)
    job = Job("Sum", "app.add")

    given = [
        (sync.flows, asynchronous.flows),
        (sync.cron, asynchronous.cron),
        (sync.limits, asynchronous.limits),
        (sync.groups, asynchronous.groups),
        (JobHandle[Any](sync, receipt), AsyncJobHandle[Any](asynchronous, receipt)),
    ]
    with pytest.warns(RuntimeWarning, match="nothing was enqueued"):
        kinds: set[tuple[type, type]] = {(type(sync.enqueue_many([job])), type(asynchronous.enqueue_many([job])))}
    kinds |= {(type(one), type(other)) for one, other in given} | {(Fleet, AsyncFleet)}

    assert kinds == set(PAIRS)
    assert AsyncReceiptIterator in AsyncReceipts.__mro__


def test_every_property_of_a_client_that_is_an_object_with_methods_is_a_pair() -> None:
    names = {name for name, value in inspect.getmembers(Fleet) if isinstance(value, property)}

    assert names == {name for name, value in inspect.getmembers(AsyncFleet) if isinstance(value, property)}
    assert names == {"flows", "cron", "limits", "groups", "breakers", "config", "hooks", "job", "listener", "store"} | {
        "buffered"
    }  # a number


def test_both_fleets_have_the_same_methods() -> None:
    assert methods(Fleet).keys() - methods(AsyncFleet).keys() == ONLY_SYNC.keys()
    assert methods(AsyncFleet).keys() - methods(Fleet).keys() == ONLY_ASYNC.keys()


@pytest.mark.parametrize(("one", "other"), PAIRS[1:], ids=[one.__name__ for one, _ in PAIRS[1:]])
def test_both_twins_have_the_same_methods(one: type, other: type) -> None:
    assert methods(one).keys() == methods(other).keys()


@pytest.mark.parametrize(("one", "other"), PAIRS, ids=[one.__name__ for one, _ in PAIRS])
def test_both_twins_have_the_same_docstring(one: type, other: type) -> None:
    if one is not Fleet:  # one blocks and is safe for threads, the other belongs to its event loop
        assert blocking(str(other.__doc__)) == one.__doc__
    for name, value in inspect.getmembers(one, lambda value: isinstance(value, property)):
        assert blocking(str(getattr(other, name).__doc__)) == value.__doc__


@by_name
def test_a_method_takes_the_same_arguments(name: str, one: Callable[..., Any], other: Callable[..., Any]) -> None:
    assert parameters(one) == parameters(other)


@by_name
def test_a_method_answers_the_same(name: str, one: Callable[..., Any], other: Callable[..., Any]) -> None:
    answers = [str(inspect.signature(method).return_annotation) for method in (one, other)]

    assert "_empty" not in answers[0]
    if name.rpartition(".")[2] not in OTHER_ANSWER:
        assert blocking(answers[1]) == answers[0]


@by_name
def test_a_method_has_the_same_docstring(name: str, one: Callable[..., Any], other: Callable[..., Any]) -> None:
    verb = name.rpartition(".")[2]
    if verb != "__init__":  # the class's docstring has its arguments
        assert one.__doc__
        assert other.__doc__
    if verb not in OTHER_WORDS:
        assert blocking(str(other.__doc__)) == str(one.__doc__)


@by_name
def test_a_method_blocks_here_and_is_awaited_there(
    name: str, one: Callable[..., Any], other: Callable[..., Any]
) -> None:
    verb = name.rpartition(".")[2]
    is_awaited = inspect.iscoroutinefunction(other) or inspect.isasyncgenfunction(other)

    assert not inspect.iscoroutinefunction(one)
    assert is_awaited or verb in AT_ONCE or name == "JobHandle.events"


@pytest.mark.parametrize("name", ["enqueue", "poll", "wait", "cancel"])
def test_a_module_function_is_the_method_of_the_default_fleet(name: str) -> None:
    assert parameters(getattr(default, name)) == parameters(getattr(Fleet, name))[1:]


def test_the_blocking_twins_are_made_from_the_awaited_ones() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "unasync", "--check"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
