"""The order of the tests of a run by several processes: each process begins with its share of the slow tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

CASES = pytest.StashKey[Counter[str]]()
"""How many cases of a test with the mark `first` were collected."""
E2E = Path(__file__).parents[1] / "e2e"
T = TypeVar("T")


def leave_to_the_slow_run(item: pytest.Item, cases: Counter[str]) -> None:
    """Mark a case as slow if as many cases of its test run in the gate as the mark `first` says.

    Args:
        item: The case.
        cases: How many cases of each test came before.
    """
    mark = item.get_closest_marker("first")
    if mark is None:
        return
    name = item.nodeid.partition("[")[0]
    cases[name] += 1
    if cases[name] > mark.args[0]:
        item.add_marker("slow")


def is_slow(item: pytest.Item) -> bool:
    """Whether a test starts workers or has a time limit of its own."""
    if item.path.is_relative_to(E2E) or item.get_closest_marker("timeout") is not None:
        return True
    return isinstance(item, pytest.Function) and "programs" in item.fixturenames


def file_of(item: pytest.Item) -> Path:
    """The file of a test."""
    return item.path


def ordered(
    items: Sequence[T],
    processes: int,
    *,
    is_slow: Callable[[T], bool],
    file_of: Callable[[T], object],
    is_late: Callable[[T], bool],
) -> list[T]:
    """Return the items in as many equal parts as there are processes, each with its slow items first, late ones last.

    `--dist worksteal` gives each process one part. A process without work gets the end of another part. If slow items
    were at the end, a few of them would remain while most processes have nothing to do.

    The slow items of a file stay together, because each process that runs one of them sets up the fixtures of the
    module; so do the late ones, which wait for their tools.

    Args:
        items: The tests in the order of collection.
        processes: The number of processes.
        is_slow: Whether a test is slow.
        file_of: The file of a test.
        is_late: Whether a test waits for a tool that is fetched.
    """
    slow: dict[object, list[T]] = {}
    late: dict[object, list[T]] = {}
    quick: list[T] = []
    for item in items:
        if is_late(item):
            late.setdefault(file_of(item), []).append(item)
        else:
            (slow.setdefault(file_of(item), []) if is_slow(item) else quick).append(item)
    parts: list[tuple[list[T], list[T]]] = [([], []) for _ in range(processes)]
    for place, files in enumerate((slow, late)):
        for file in sorted(files.values(), key=len, reverse=True):
            min(parts, key=lambda part: len(part[0]) + len(part[1]))[place].extend(file)
    result: list[T] = []
    for number, (first, last) in enumerate(parts):
        is_last = number == processes - 1
        size = (len(items) - len(result)) // (processes - number)
        count = len(quick) if is_last else max(0, size - len(first) - len(last))
        result += [*first, *quick[:count], *last]
        del quick[:count]
    return result
