"""What a process takes of its machine, as /proc says."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

PAGE = os.sysconf("SC_PAGE_SIZE")


class Footprint(NamedTuple):
    """What can leak.

    Attributes:
        threads: How many it has.
        descriptors: How many it holds open.
    """

    threads: int
    descriptors: int


def footprint(pid: int) -> Footprint:
    """What a process takes; zeros when it is gone."""
    counts = []
    for folder in ("task", "fd"):
        count = 0
        with suppress(OSError):
            count = sum(1 for _ in Path(f"/proc/{pid}/{folder}").iterdir())
        counts.append(count)
    return Footprint(*counts)


def resident(pid: int) -> int:
    """Its resident memory in bytes; zero when it is gone."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE
    return 0
