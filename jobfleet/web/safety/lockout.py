"""Limits by name or address: failed logins lock out for a time, and requests have a rate."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from jobfleet.clock import monotonic

KEYS_MOST = 10_000
"""Names and addresses that are remembered; beyond that, the oldest are forgotten."""
FIRST_LOCK, LONGEST_LOCK = 30.0, 900.0


@dataclass(slots=True)
class _Failures:
    count: int = 0
    locked_until: float = 0.0
    last: float = 0.0


class Lockout:
    """Locks out after failed logins, each time for twice as long.

    Args:
        most: Failures before the first lock.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def left(self, key: str) -> float:
        """Seconds until a key is no longer locked out; 0 if it is not."""
        found = self._failures.get(key)
        return 0.0 if found is None else max(0.0, found.locked_until - monotonic())

    def failed(self, key: str) -> None:
        """Record a failed login. Failures are forgotten after a time without one."""
        now = monotonic()
        found = self._failures.pop(key, None)
        if found is None or now - found.last > 2 * LONGEST_LOCK:
            found = _Failures()
        found.count, found.last = found.count + 1, now
        if found.count >= self._most:
            found.locked_until = now + min(LONGEST_LOCK, FIRST_LOCK * 2 ** min(found.count - self._most, 10))
        self._failures[key] = found
        if len(self._failures) > KEYS_MOST:
            self._failures.popitem(last=False)

    def succeeded(self, key: str) -> None:
        """Forget the failures of a key."""
        self._failures.pop(key, None)


class Rate:
    """A token bucket per key.

    Args:
        per_second: Requests per second.
        burst: Requests at once.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, key: str) -> float:
        """Take a token; return 0, or the seconds until there is one."""
        now = monotonic()
        tokens, at = self._buckets.pop(key, (self._burst, now))
        tokens = min(self._burst, tokens + (now - at) * self._per_second)
        is_free = tokens >= 1.0
        self._buckets[key] = (tokens - 1.0 if is_free else tokens, now)
        if len(self._buckets) > KEYS_MOST:
            self._buckets.popitem(last=False)
        return 0.0 if is_free else (1.0 - tokens) / self._per_second
