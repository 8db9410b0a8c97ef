"""The page "A job's way" names the files that a real job passes, in the order of their first use."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.worker.tracing import PACKAGE, Event, traced

PAGE = PACKAGE.parent / "docs" / "internals" / "a-jobs-way.md"
TOOLS = re.compile(r"(codec|model|store(?!/calls))/|clock\.py")
"""Files that many steps use. The page lists them apart, in no order."""
BESIDE = {"worker/in_process.py", "worker/child/lanes.py", "services/long_lived.py"}
"""The loops around the engine: they check every 20 ms whether the worker is to stop, and restart tasks that fail."""
BACKGROUND = {"jobfleet-keeper", "jobfleet-listener"}
"""The threads of the worker's duties, and of the client that waits."""
STEP = re.compile(r"^\d+\. `([\w/]+\.py)`", re.MULTILINE)


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


@pytest.mark.not_on("cluster", reason="the page has the files of one server")
def test_a_plain_enqueue_passes_the_files_of_the_page(redis_url: str) -> None:
    passed, used = parted([event.path for event in traced("enqueue", redis_url)])

    assert passed == steps("The producer")
    assert used <= tools()
    assert len(passed) <= 9


@pytest.mark.not_on("cluster", "sentinel", reason="the page has the files of one server")
def test_a_plain_job_passes_the_files_of_the_page_from_claim_to_settle(redis_url: str) -> None:
    events = [event for event in traced("run", redis_url) if event.thread not in BACKGROUND]
    admitted = last(events, lambda event: event.name == "Engine.admitted")
    answered = last(events[:admitted], lambda event: event.path == "store/calls/lease.py")
    begin = last(events[:answered], lambda event: event.path == "worker/child/claimer.py")
    end = last(events, lambda event: event.name == "Engine.dropped")
    later = [event for event in events[admitted : end + 1] if not event.is_claim]  # without the next claims
    passed, used = parted([event.path for event in [*events[begin:admitted], *later]])
    assert passed == steps("The child")
    assert used <= tools()
    assert len(passed) <= 12


@pytest.mark.parametrize("title", ["The producer", "The child", "The answer", "Tools"])
def test_each_file_of_a_section_is_named_once(title: str) -> None:
    named = re.findall(r"`([\w/]+\.py)`", section(title)) if title == "Tools" else steps(title)

    assert named
    assert len(named) == len(set(named))


def test_each_file_on_the_page_exists_and_each_step_has_the_name_that_it_begins_with() -> None:
    page = PAGE.read_text()
    scripts = {path.name for path in PACKAGE.glob("store/lua/**/*.lua")}

    modules = [path for path in re.findall(r"`([\w/]+\.py)`", page) if not path.startswith("tests/")]
    files = [PACKAGE / path for path in modules]
    files += [PACKAGE / "store" / path for path in re.findall(r"`(lua/[\w/]+\.lua)`", page)]
    first = re.findall(r"^\d+\. `([\w/]+\.py)`: `(?:\w+\.)?(\w+)`", page, re.MULTILINE)

    assert [path for path in files if not path.is_file()] == []
    assert {*re.findall(r"`(\w+\.lua)`", page)} - scripts == set()
    assert len(first) > 5
    wrong = [
        (path, name) for path, name in first if not re.search(rf"(def|class) {name}\b", (PACKAGE / path).read_text())
    ]
    assert wrong == []
