"""Whether the event loop of a quarantine process is alive. Its child checks this regularly."""

from __future__ import annotations


class Pulse:
    """Counts for how long no sign of life has arrived.

    Time is counted in looks: a child that was itself frozen or blocked accuses nobody.

    Args:
        after: Seconds without a turn of the loop after which a process hangs.

    Attributes:
        still: Seconds since the loop turned last.
        is_hung: Whether it hangs.
    """

    def __init__(self, after: float) -> None:
        self._after = after
        self._has_begun = False
        self.still = 0.0
        self.is_hung = False

    def turned(self) -> None:
        """A sign of life has arrived. Before the first one the process loads modules, which may take any time."""
        self._has_begun = True
        self.still = 0.0
        self.is_hung = False

    def look(self, passed: float) -> bool:
        """Check again, so many seconds after the last check. Returns whether the process hangs since this check."""
        if self._has_begun:
            self.still += passed
        was_hung, self.is_hung = self.is_hung, self.still >= self._after
        return self.is_hung and not was_hung
