"""An upper estimate of Redis's clock, as tight as a store can know it.

TIME was sent at `asked` on the monotonic clock and returned `stamp`, so Redis read its clock no earlier than `asked`.
At a later moment its clock shows at most `stamp + (moment - asked)`. A deadline from this estimate is never too early.
"""

from __future__ import annotations

from typing import Any

from jobfleet.store.call import Command

ASK: Command = ("TIME",)
FRESH = 60.0
"""Seconds for which an estimate is valid, because clocks drift and a server's clock may be set back."""


class ServerClock:
    """An upper estimate of one server's clock."""

    __slots__ = ("_asked", "_offset")

    def __init__(self) -> None:
        self._offset: float | None = None
        self._asked = 0.0

    def is_known(self, now: float) -> bool:
        """Whether there is a valid estimate at a moment of the monotonic clock."""
        return self._offset is not None and now - self._asked < FRESH

    def learn(self, reply: Any, asked: float) -> None:
        """Process the reply to `ASK`, which was sent at `asked`."""
        seconds, micros = reply
        self._offset, self._asked = int(seconds) * 1e6 + int(micros) - asked * 1e6, asked

    def forget(self) -> None:
        """Discard the estimate, because the server has changed or its clock was set."""
        self._offset = None

    def at(self, moment: float) -> int:
        """Return the maximum of the server's clock at a moment of the monotonic clock, in µs; 0 if unknown.

        A deadline of 0 has passed: a call that is sent with it is refused, and sent again after the clock is known.
        """
        return 0 if self._offset is None else round(self._offset + moment * 1e6)
