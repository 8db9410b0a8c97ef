"""The stacks of a child as text, bounded."""

from __future__ import annotations

from collections.abc import Iterable

MOST_BYTES = 1 << 16
"""Bytes of the stacks of a child; what is longer is cut at a line."""
CUT = "… (cut)"


def bounded(lines: Iterable[str], most: int = MOST_BYTES) -> str:
    """Join lines up to a number of bytes; the rest is not even made."""
    kept: list[str] = []
    left = most - len(CUT.encode())
    for line in lines:
        left -= len(line.encode(errors="replace")) + 1
        if left < 0:
            return "\n".join([*kept, CUT])
        kept.append(line)
    return "\n".join(kept)
