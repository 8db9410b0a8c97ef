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
    items: Sequence[T], processes: int, *, is_slow: Callable[[T], bool], file_of: Callable[[T], object]
) -> list[T]:
    """Return the items in as many equal parts as there are processes, each with its slow items first.

    `--dist worksteal` gives each process one part. A process without work gets the end of another part. If slow items
    were at the end, a few of them would remain while most processes have nothing to do.

    The slow items of a file stay together, because each process that runs one of them sets up the fixtures of the
    module.

    Args:
        items: The tests in the order of collection.
        processes: The number of processes.
        is_slow: Whether a test is slow.
        file_of: The file of a test.
    """
    files: dict[object, list[T]] = {}
    quick: list[T] = []
    for item in items:
        (files.setdefault(file_of(item), []) if is_slow(item) else quick).append(item)
    parts: list[list[T]] = [[] for _ in range(processes)]
    for file in sorted(files.values(), key=len, reverse=True):
        min(parts, key=len).extend(file)
    result: list[T] = []
    for number, part in enumerate(parts):
        size = (len(items) - len(result)) // (processes - number)
        count = max(0, size - len(part))
        result += [*part, *quick[:count]]
        del quick[:count]
    return result + quick
