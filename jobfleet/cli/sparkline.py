"""Sparklines: a row of numbers as one line of small bars."""

from __future__ import annotations

import sys
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
PLAIN_BARS = "_.:-=+*#"
"""For a terminal whose encoding lacks `BARS`."""
GAP, PLAIN_GAP = "·", " "
"""For a step without a sample."""


def sparkline(values: Sequence[float | None], room: int, *, bars: str = BARS, gap: str = GAP) -> str:
    """Draw numbers from 0 to their maximum. The lowest bar is 0, and only 0.

    Args:
        values: The numbers; None for a gap.
        room: The largest number of bars. Several numbers share a bar if there are more; it has the highest of them.
        bars: The bars, from the lowest to the highest.
        gap: What stands for a gap.
    """
    shown = fitted(values, room)
    most = max((value for value in shown if value is not None), default=0) or 1
    return "".join(gap if value is None else bars[_height(value / most, len(bars))] for value in shown)


def fitted(values: Sequence[float | None], room: int) -> list[float | None]:
    """Return at most `room` numbers, each the maximum of as many neighbours as the others."""
    share = -(-len(values) // max(1, room))
    groups = [values[at : at + share] for at in range(0, len(values), max(1, share))]
    return [max((value for value in group if value is not None), default=None) for group in groups]


def _height(part: float, bars: int) -> int:
    return 0 if part <= 0 else max(1, min(bars - 1, round(part * (bars - 1))))


def drawable() -> dict[str, str]:
    """Return the bars and the gap that the encoding of stdout has, as arguments of `sparkline`."""
    try:
        (BARS + GAP).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return {"bars": PLAIN_BARS, "gap": PLAIN_GAP}
    return {"bars": BARS, "gap": GAP}
