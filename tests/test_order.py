"""The order in which several processes run the tests."""

from __future__ import annotations

from itertools import groupby

import pytest

from tests.support.order import ordered

QUICK = [f"quick{number % 7}.{number}" for number in range(200)]
LATE = [f"late{file}.{number}" for file, count in enumerate((20, 5, 1)) for number in range(count)]
SLOW = [f"slow{file}.{number}" for file, count in enumerate((9, 1, 4, 12, 3, 3, 2)) for number in range(count)]
ITEMS = [*QUICK[:100], *SLOW, *QUICK[100:]]


def is_slow(item: str) -> bool:
    return item.startswith("slow")


def is_late(item: str) -> bool:
    return item.startswith("late")


def file_of(item: str) -> str:
    return item.partition(".")[0]


def in_order(items: list[str], processes: int) -> list[str]:
    return ordered(items, processes, is_slow=is_slow, file_of=file_of, is_late=is_late)


@pytest.mark.parametrize("processes", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize(
    "items", [[*LATE, *ITEMS], QUICK, SLOW, LATE, ITEMS[:3], []], ids=["all", "quick", "slow", "late", "few", "none"]
)
def test_each_item_is_run_once(items: list[str], processes: int) -> None:
    assert sorted(in_order(items, processes)) == sorted(items)


@pytest.mark.parametrize("processes", [2, 3, 4, 6])
def test_each_process_begins_with_its_share_of_the_slow_items(processes: int) -> None:
    left, parts = in_order(ITEMS, processes), []
    for remaining in range(processes, 0, -1):  # as worksteal hands them out
        size = len(left) // remaining
        parts.append(left[:size])
        del left[:size]

    shares = [[item for item in part if is_slow(item)] for part in parts]
    assert all(part[: len(share)] == share for part, share in zip(parts, shares, strict=True))
    assert max(map(len, shares)) <= max(12, -(-len(SLOW) // processes) + 3)
    assert min(map(len, shares)) > 0


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_each_process_ends_with_its_share_of_the_late_items(processes: int) -> None:
    left = in_order([*LATE, *ITEMS], processes)
    for remaining in range(processes, 0, -1):
        size = len(left) // remaining
        part, left = left[:size], left[size:]
        share = [item for item in part if is_late(item)]
        assert part[len(part) - len(share) :] == share
    assert left == []


def test_the_slow_items_of_a_file_stay_together_in_their_order() -> None:
    found = [item for item in in_order(ITEMS, 4) if is_slow(item)]

    files = [(file, list(items)) for file, items in groupby(found, file_of)]
    assert len(files) == len({file for file, _ in files})
    assert all(items == [item for item in SLOW if file_of(item) == file] for file, items in files)


def test_the_quick_items_keep_their_order() -> None:
    kept = [item for item in ITEMS if not is_slow(item)]

    assert [item for item in in_order(ITEMS, 4) if not is_slow(item)] == kept


@pytest.mark.parametrize("number", range(4))
@pytest.mark.first(2)
def test_the_cases_after_the_first_ones_are_slow(request: pytest.FixtureRequest, number: int) -> None:
    assert (request.node.get_closest_marker("slow") is not None) == (number >= 2)
