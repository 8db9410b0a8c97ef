"""The loop of a screen: read, draw, wait for keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from jobfleet.cli.terminal.full_screen import FullScreen
from jobfleet.clock import monotonic


class Shown(Protocol):
    """What a screen shows."""

    @property
    def is_stale(self) -> bool:
        """Whether it has to be read before it is drawn again, because a key has changed what is shown."""

    @property
    def is_due(self) -> bool:
        """Whether a key has asked for an action that is not done yet."""

    def read(self) -> None:
        """Read what is shown."""

    def frame(self, columns: int, rows: int) -> Sequence[str]:
        """The lines of a screen of this size."""

    def press(self, key: str) -> bool:
        """Press a key; return whether this ends the loop."""

    def act(self) -> None:
        """Do the action that is due. It may take a while, so the screen is drawn before."""


def run(screen: FullScreen, shown: Shown, *, every: float) -> None:
    """Show something until a key ends it.

    Args:
        screen: The terminal.
        shown: What it shows. It was read once.
        every: Time between two reads, in seconds.
    """
    due = monotonic() + every
    screen.draw(shown.frame(*screen.size))
    while True:
        for key in screen.wait(due - monotonic()):
            if shown.press(key):
                return
            if shown.is_due:
                screen.draw(shown.frame(*screen.size))
                shown.act()
            if shown.is_stale:
                shown.read()
                due = monotonic() + every
            screen.draw(shown.frame(*screen.size))  # the next key is for what this one has changed
        if monotonic() >= due:
            shown.read()
            due = monotonic() + every
        screen.draw(shown.frame(*screen.size))
