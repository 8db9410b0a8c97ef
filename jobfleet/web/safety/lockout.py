"""Limits by name or address: logins are delayed after failures, and requests have a rate."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from jobfleet.clock import monotonic

KEYS_MOST = 10_000
"""Names and addresses that are remembered; beyond that, the oldest are forgotten."""
FIRST_DELAY, LONGEST_DELAY = 1.0, 16.0
"""Seconds that a login waits after the failures that are free, and at most."""
FORGOTTEN_AFTER = 1800.0
"""Seconds without a failure after which failures are forgotten."""


@dataclass(slots=True)
class _Failures:
    count: int = 0
    last: float = 0.0


class Delays:
    """Delays logins after failures, each time for twice as long. A right password is let through after the delay.

    Args:
        free: Failures before the first delay.
    """

    def __init__(self, free: int) -> None:
        self._free = free
        self._failures: OrderedDict[str, _Failures] = OrderedDict()

    def of(self, key: str) -> float:
        """Seconds that a login waits before its password is looked at."""
        found = self._failures.get(key)
        if found is None or monotonic() - found.last > FORGOTTEN_AFTER or found.count < self._free:
            return 0.0
        return min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(found.count - self._free, 10))

    def failed(self, key: str) -> None:
        """Record a failed login."""
        now = monotonic()
        found = self._failures.pop(key, None)
        if found is None or now - found.last > FORGOTTEN_AFTER:
            found = _Failures()
        found.count, found.last = found.count + 1, now
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
