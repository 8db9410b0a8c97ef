"""The resolutions in which samples are kept, and the chunks of their steps.

A chunk has the points of all series for a span of time, in one hash: ten minutes of ten seconds, or four hours of
minutes. Thus a window is at most thirteen hashes, a chunk ends as a whole, and no key is ever swept.
"""

from __future__ import annotations

from typing import NamedTuple

SECOND_US = 1_000_000


class Resolution(NamedTuple):
    """A resolution.

    Attributes:
        name: Its name in keys.
        step: The duration of a step in seconds.
        length: The number of steps in a chunk.
        kept: For how long a step is kept, in seconds.
    """

    name: str
    step: int
    length: int
    kept: int

    def step_at(self, at_us: int) -> int:
        """Return the number of the step that has this time, counted since 1970."""
        return at_us // (self.step * SECOND_US)

    def place(self, index: int) -> tuple[str, int]:
        """Return the chunk of a step, and its number within it."""
        chunk, step = divmod(index, self.length)
        return f"{self.name}:{chunk}", step

    @property
    def ttl_ms(self) -> int:
        """For how long a chunk is stored after its last write: then its first step is no longer needed."""
        return (self.kept + 2 * self.step * self.length) * 1000


FINE = Resolution("10s", 10, 60, 2 * 3600)
COARSE = Resolution("1m", 60, 240, 48 * 3600)
HOUR_S = 3600
ARCHIVED_S = 90 * 24 * 3600
"""For how long an archive keeps the points of hours, in seconds."""
