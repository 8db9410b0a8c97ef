"""What Redis's clock shows, as far as a store can tell from here: never less than it shows, and little more.

TIME was asked at `asked` on the monotonic clock and answered `stamp`, so Redis read its clock no sooner than `asked`.
At a later moment its clock shows at most `stamp + (moment - asked)`. A deadline made from that is never too early.
"""

from __future__ import annotations

from typing import Any

from jobfleet.store.call import Command

ASK: Command = ("TIME",)
FRESH = 60.0
"""Seconds for which an estimate is believed: clocks drift, and that of a server may be set back."""


class ServerClock:
    """An upper estimate of one server's clock."""

    __slots__ = ("_asked", "_offset")

    def __init__(self) -> None:
        self._offset: float | None = None
        self._asked = 0.0

    def is_known(self, now: float) -> bool:
        """Whether there is an estimate to go by, at a moment of the monotonic clock."""
        return self._offset is not None and now - self._asked < FRESH

    def learn(self, reply: Any, asked: float) -> None:
        """Take the answer to `ASK`, which was sent at `asked`."""
        seconds, micros = reply
        self._offset, self._asked = int(seconds) * 1e6 + int(micros) - asked * 1e6, asked

    def forget(self) -> None:
        """Believe the estimate no more: the server is another one, or its clock was set."""
        self._offset = None

    def at(self, moment: float) -> int:
        """What the server's clock shows at most at a moment of the monotonic clock, µs; 0 while nothing is known.

        A deadline of 0 has passed: a call that is sent with it is refused, and sent again once the clock is known.
        """
        return 0 if self._offset is None else round(self._offset + moment * 1e6)
