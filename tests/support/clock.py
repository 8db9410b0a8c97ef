"""A clock that a test sets."""

from __future__ import annotations


class Clock:
    """A clock that stands still until a test moves it.

    Attributes:
        now: What it shows, in seconds.
    """

    now = 1_000.0

    def __call__(self) -> float:
        return self.now
