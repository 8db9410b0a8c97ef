"""Strict sequences: groups whose jobs run one at a time, in the order of their enqueue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from jobfleet.model.status import JobStatus

SequenceState = Literal["open", "parked", "failing"]


@dataclass(frozen=True, slots=True)
class SequenceInfo:
    """A strict sequence.

    Attributes:
        queue: The queue of its jobs.
        group: Its name.
        state: ``open`` if it continues by itself; ``parked`` if its head has failed, and nothing starts until somebody
            decides; ``failing`` if its head has failed, and the jobs behind it fail in these moments.
        head: The id of its head: the only job of it that may run.
        status: The status of the head; None if the head is not known any more.
        due: When the head is due, if that is later.
        error: The error of the last run of the head.
        waiting: How many jobs wait behind the head.
        behind: The ids of the first of these, in order; only `groups.show` fills it.
        signal: The signal that the head waits for since a run; None if it waits for none.
    """

    queue: str
    group: str
    state: SequenceState
    head: str
    status: JobStatus | None
    due: datetime | None
    error: str | None
    waiting: int
    behind: tuple[str, ...] = ()
    signal: str | None = None
