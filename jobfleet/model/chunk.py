"""A chunk of the output stream of a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Chunk:
    """One chunk of a job's output stream.

    Attributes:
        value: What the job has emitted.
        position: Where the stream continues after this chunk: give it as `after` to another read.
        epoch: The fencing token of the run that has emitted it. It grows with each run.
        number: Its number among the chunks of that run, from 1.
        is_restart: Whether a later run begins here: the chunks before it are of an earlier run, which failed, died
            or waited.
        dropped: The number of chunks before this one that the stream did not keep long enough for this reader, or that
            a failover has lost.
    """

    value: Any
    position: str
    epoch: int
    number: int
    is_restart: bool = False
    dropped: int = 0
