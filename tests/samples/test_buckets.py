"""Buckets of durations, and the percentiles from them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobfleet.samples import BUCKETS, bounds, bucket_of, quantiles


@given(st.integers(0, 2**50))
def test_a_duration_is_within_the_bounds_of_its_bucket(duration: int) -> None:
    bucket = bucket_of(duration)
    low, high = bounds(bucket)

    assert low <= duration
    assert duration < high or bucket == BUCKETS - 1
    assert bucket == 0 or high <= 1.5 * low


def test_the_buckets_follow_each_other_without_a_gap() -> None:
    edges = [bounds(bucket) for bucket in range(BUCKETS)]

    assert [high for _, high in edges[:-1]] == [low for low, _ in edges[1:]]


@given(st.lists(st.integers(64, 10**10), min_size=1, max_size=300))
def test_percentiles_are_exact_to_a_bucket(durations: list[int]) -> None:
    spread: dict[int, int] = {}
    for duration in durations:
        spread[bucket_of(duration)] = spread.get(bucket_of(duration), 0) + 1
    shares = (0.5, 0.95, 0.99)

    found = quantiles(spread, shares)

    exact = [sorted(durations)[max(0, math.ceil(share * len(durations)) - 1)] for share in shares]
    assert found == sorted(found)
    for guess, true in zip(found, exact, strict=True):
        low, high = bounds(bucket_of(true))
        assert low <= guess <= high


@pytest.mark.parametrize("duration", [-5, 0, 63])
def test_the_least_durations_share_a_bucket(duration: int) -> None:
    assert bucket_of(duration) == 0
