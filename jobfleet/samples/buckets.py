"""Histograms of durations, with buckets on a logarithmic scale: two per power of two, from 64 µs to 19 hours.

A bucket is at most half as wide as its least duration, be it a millisecond or an hour. A histogram of a function has
about ten buckets that are not empty. Histograms of processes and of times add up; percentiles do not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FIRST_BITS = 6
"""The first bucket has all durations below 2 to this power, in µs."""
BUCKETS = 62
"""Number of buckets; the last one has all longer durations, too."""

Spread = Mapping[int, int]
"""Number of durations by bucket; empty buckets are left out."""


def bucket_of(duration_us: int) -> int:
    """Return the bucket of a duration in µs; a negative one counts as 0."""
    bits = duration_us.bit_length()
    if bits <= FIRST_BITS or duration_us < 0:
        return 0
    bucket = 2 * (bits - FIRST_BITS) - 1 + (duration_us >> (bits - 2) & 1)
    return bucket if bucket < BUCKETS else BUCKETS - 1


def bounds(bucket: int) -> tuple[int, int]:
    """Return the least duration in a bucket and the first one beyond it, in µs."""
    if bucket == 0:
        return 0, 1 << FIRST_BITS
    octave, upper = divmod(bucket - 1, 2)
    half = 1 << (FIRST_BITS + octave - 1)
    low = (2 + upper) * half
    return low, low + half


def quantiles(spread: Spread, shares: Sequence[float]) -> list[int]:
    """Return the durations in µs below which these shares of a histogram lie; within a bucket they are interpolated.

    Args:
        spread: The histogram; at least one duration.
        shares: Ascending numbers between 0 and 1.
    """
    whole = sum(spread.values())
    found: list[int] = []
    before = 0
    ordered = sorted((bucket, count) for bucket, count in spread.items() if count)
    for bucket, count in ordered:
        low, high = bounds(bucket)
        while len(found) < len(shares) and shares[len(found)] * whole <= before + count:
            inside = (shares[len(found)] * whole - before) / count
            found.append(round(low + inside * (high - low)))
        before += count
    last = bounds(ordered[-1][0])[1]
    return found + [last] * (len(shares) - len(found))
