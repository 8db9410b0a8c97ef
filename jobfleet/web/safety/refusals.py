"""Which refusals the audit gets: few per name, so that nobody can push the actions of operators out of it."""

from __future__ import annotations

from collections import OrderedDict

from jobfleet.web.safety.lockout import KEYS_MOST, Rate

CODES = frozenset(
    {"unauthenticated", "forbidden", "cross-site", "wrong-host", "behind-proxy", "locked-out"}
)  # fmt: skip
"""The refusals of safety; a request that is only wrong is not one of them."""
PER_MINUTE, PER_HOUR = 1, 20
"""Entries of a name, or of the address of a stranger, per minute; and of a name, or of all strangers, per hour."""


class Refusals:
    """Counts refusals, and lets some of them into the audit."""

    def __init__(self) -> None:
        self._minute = Rate(PER_MINUTE / 60, PER_MINUTE)
        self._hour = Rate(PER_HOUR / 3600, PER_HOUR)
        self._waiting: OrderedDict[str, int] = OrderedDict()

    def count(self, name: str, address: str) -> int:
        """Count a refusal; return how many the audit is to record in one entry now, 0 for none.

        Args:
            name: Who has sent the request; empty for a stranger.
            address: The address that it came from.
        """
        found = self._waiting.pop(name, 0) + 1
        if self._minute.wait(f"name {name}" if name else address) or self._hour.wait(name):
            self._waiting[name] = found
            if len(self._waiting) > KEYS_MOST:
                self._waiting.popitem(last=False)
            return 0
        return found
