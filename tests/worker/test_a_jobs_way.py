"""The page "A job's way" names the files that a real job passes, in the order of their first use."""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import pytest

import jobfleet
from jobfleet import Fleet
from jobfleet.functions.registry import Registry
from tests.support.waiting import wait_until
from tests.worker.conftest import Working

PACKAGE = Path(jobfleet.__file__).parent
PAGE = PACKAGE.parent / "docs" / "internals" / "a-jobs-way.md"
TOOLS = re.compile(r"(codec|model|store(?!/calls))/|clock\.py")
"""Files that many steps use. The page lists them apart, in no order."""
BESIDE = {"worker/in_process.py", "worker/child/served_queues.py"}
"""The loop around the engine, which checks every 20 ms whether the worker is to stop."""
STEP = re.compile(r"^\d+\. `([\w/]+\.py)`", re.MULTILINE)
CLAIMING = {"Claimer._claim_on", "Claimer._listen"}


class Event(NamedTuple):
    """A call of a function of the package.

    Attributes:
        thread: The name of its thread.
        path: The file of the function.
        name: The qualified name of the function.
        is_claim: Whether it belongs to a claim, and not to the admission of claimed jobs.
    """

    thread: str
    path: str
    name: str
    is_claim: bool


class Trace:
    """Records the calls of functions of the package."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        del argument
        if event == "call" and (path := Path(frame.f_code.co_filename)).is_relative_to(PACKAGE):
            callers = names_of(frame)
            is_claim = bool(CLAIMING & callers) and "Engine.admitted" not in callers
            name = frame.f_code.co_qualname
            thread = threading.current_thread().name
            self.events.append(Event(thread, path.relative_to(PACKAGE).as_posix(), name, is_claim))


def names_of(frame: FrameType | None) -> set[str]:
    names = set[str]()
    while frame is not None:
        names.add(frame.f_code.co_qualname)
        frame = frame.f_back
    return names


def section(title: str) -> str:
    return PAGE.read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def steps(title: str) -> list[str]:
    return STEP.findall(section(title))


def tools() -> set[str]:
    return set(re.findall(r"`([\w/]+\.py)`", section("Tools")))


def parted(files: list[str]) -> tuple[list[str], set[str]]:
    """The files in the order of their first use, and the tools among them."""
    found = [path for path in dict.fromkeys(files) if path not in BESIDE]
    return [path for path in found if not TOOLS.match(path)], {path for path in found if TOOLS.match(path)}


def last(events: list[Event], matches: Callable[[Event], bool]) -> int:
    return max(place for place, event in enumerate(events) if matches(event))


def test_a_plain_enqueue_passes_the_files_of_the_page(fleet: Fleet, registry: Registry) -> None:
    add = registry.register(lambda a, b: a + b, name="test.add", fleet=fleet)
    add.enqueue(1, 2)
    add.enqueue(1, 2)
    trace = Trace()

    sys.setprofile(trace)
    try:
        add.enqueue(3, 4)
    finally:
        sys.setprofile(None)

    passed, used = parted([event.path for event in trace.events])
    assert passed == steps("The producer")
    assert used <= tools()
    assert len(passed) <= 9


def test_a_plain_job_passes_the_files_of_the_page_from_claim_to_settle(
    fleet: Fleet, registry: Registry, working: Working
) -> None:
    add = registry.register(lambda a, b: a + b, name="test.add", fleet=fleet)
    trace = Trace()
    threading.setprofile(trace)
    try:
        with working(slots=2):
            wait_until(fleet.workers, timeout=30, why="the worker has sent its first heartbeat")
            assert add.enqueue(1, 2).wait(timeout=30).result == 3
            assert add.enqueue(3, 4).wait(timeout=30).result == 7
    finally:
        threading.setprofile(None)

    events = [event for event in trace.events if event.thread != "jobfleet-keeper"]
    admitted = last(events, lambda event: event.name == "Engine.admitted")
    answered = last(events[:admitted], lambda event: event.path == "store/calls/lease.py")
    begin = last(events[:answered], lambda event: event.path == "worker/child/claimer.py")
    end = last(events, lambda event: event.name == "Engine.dropped")
    later = [event for event in events[admitted : end + 1] if not event.is_claim]  # without the next claims
    passed, used = parted([event.path for event in [*events[begin:admitted], *later]])
    assert passed == steps("The child")
    assert used <= tools()
    assert len(passed) <= 12


@pytest.mark.parametrize("title", ["The producer", "The child", "Tools"])
def test_each_file_of_the_page_exists_and_is_named_once(title: str) -> None:
    named = re.findall(r"`([\w/]+\.py)`", section(title)) if title == "Tools" else steps(title)

    assert named
    assert len(named) == len(set(named))
    assert [path for path in named if not (PACKAGE / path).is_file()] == []
