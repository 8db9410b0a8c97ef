"""The arithmetic that `scripts/soak` judges by."""

from __future__ import annotations

import pytest

from tests.support.slope import growth


def line(*values: float, allowed: float = 3.0) -> tuple[float, float, bool]:
    found = growth(
        "threads", [(1000.0 * place, value) for place, value in enumerate(values)], step=10_000, allowed=allowed
    )
    return round(found.slope, 6), round(found.whole, 6), found.is_flat


def test_a_leak_of_one_in_a_thousand_jobs_is_seen() -> None:
    assert line(5, 6, 7, 8, 9) == (10.0, 4.0, False)


def test_what_swings_or_shrinks_is_flat() -> None:
    assert line(5, 9, 4, 9, 5) == (0.0, 0.0, True)
    assert line(9, 5, 1) == (-40.0, -8.0, True)


def test_an_outlier_is_no_leak() -> None:
    assert line(5, 5, 5, 5, 5, 5, 5, 9)[2]


def test_growth_within_what_is_allowed_is_flat() -> None:
    assert line(5, 6, 7, 8, allowed=3.0)[2]
    assert not line(5, 6, 7, 8, allowed=2.9)[2]


@pytest.mark.parametrize("samples", [[], [(1.0, 5.0)], [(1.0, 5.0), (1.0, 6.0)]])
def test_a_line_needs_two_places(samples: list[tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="two samples"):
        growth("threads", samples, step=1, allowed=1)
