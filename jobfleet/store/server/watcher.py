"""The interface of a watcher: it sees each exchange with a server, and may change it.

Production has none. `jobfleet.testing` has one for its clock and its faults, `jobfleet worker --chaos` for its losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from jobfleet.store.call import Command


class Watcher(Protocol):
    """Sees the exchanges of all stores that a target opens. Any thread may call it."""

    def sending(self, commands: Sequence[Command]) -> Sequence[Command]:
        """Return the commands to send in place of these, one for each; or none, so that nothing is exchanged.

        Raises:
            BaseException: Nothing is to be sent; the caller of the store gets the exception.
        """

    def received(self, commands: Sequence[Command], replies: list[Any]) -> list[Any]:
        """Return what the store gets in place of these replies; a `ConnectionError` is a lost reply.

        Args:
            commands: The commands as the store made them.
            replies: A reply or an exception for each.

        Raises:
            BaseException: The replies do not arrive; the caller of the store gets the exception.
        """
