"""The option `keep_last` of functions: its check, and its value in a published record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jobfleet.errors import InvalidJob

KEEP_LAST = "keep_last"
KEEP_LAST_MAX = 100_000


def keep_last_of(options: dict[str, Any]) -> dict[str, int]:
    """Remove `keep_last` from the options of a decorator; return it, if it is given."""
    most = options.pop(KEEP_LAST, None)
    if most is None:
        return {}
    if isinstance(most, bool) or not isinstance(most, int) or not 1 <= most <= KEEP_LAST_MAX:
        raise InvalidJob(
            f"keep_last is {most!r}; give a whole number from 1 to {KEEP_LAST_MAX:,}, or leave it out to keep all.",
            field=KEEP_LAST,
        )
    return {KEEP_LAST: most}


def keep_last_in(options: Mapping[str, Any]) -> int | None:
    """The number of ended jobs of a published function that keep their results; None for all."""
    most = options.get(KEEP_LAST)
    return most if isinstance(most, int) and not isinstance(most, bool) and most > 0 else None
