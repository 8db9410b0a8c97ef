"""The rows of an outbox as the relay and the commands see them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol


class Row(NamedTuple):
    """A row that is due.

    Attributes:
        seq: Its number; rows are relayed in the order of these.
        id: The id of the job.
        job: The job, as `jobfleet.operations.outbox.packed` has packed it.
        tries: How often it was postponed.
        age_us: Time since it was written, µs, by the clock of the database.
    """

    seq: int
    id: str
    job: bytes
    tries: int
    age_us: int


class Refused(NamedTuple):
    """A row that can never be enqueued as it is; it stays, with its error."""

    seq: int
    error: str


class Postponed(NamedTuple):
    """A row that is tried again after some µs."""

    seq: int
    error: str
    pause_us: int


@dataclass(slots=True)
class Verdict:
    """How claimed rows ended; those that are not named stay as they are.

    Attributes:
        done: The numbers of the rows whose jobs are in Redis; they are deleted.
        refused: The bad rows.
        postponed: The rows that are tried again later.
    """

    done: list[int] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    postponed: list[Postponed] = field(default_factory=list)


class Source(Protocol):
    """Where the relay gets rows. `finish` or `release` follows each claim that has returned rows.

    Attributes:
        notifies: Whether `wait` waits for an announcement, so that no polling is needed.
    """

    notifies: bool

    async def claim(self, limit: int) -> Sequence[Row]:
        """Return the first rows that are due, and lock them, if the database can. Raises `OutboxUnavailable`."""

    async def finish(self, verdict: Verdict) -> None:
        """Delete, mark and postpone the claimed rows, and commit. Raises `OutboxUnavailable`."""

    async def waiting(self, ids: Collection[str]) -> AbstractSet[str]:
        """Return those of some jobs that are rows which wait. It comes after a claim. Raises `OutboxUnavailable`."""

    async def release(self) -> None:
        """Unlock the claimed rows without a change."""

    async def wait(self, seconds: float) -> None:
        """Wait until rows are announced, at most for some seconds. Returns at once if the database cannot notify."""

    async def close(self) -> None:
        """Close the connection."""


class Counts(NamedTuple):
    """The state of an outbox.

    Attributes:
        waiting: Rows that are not relayed yet.
        refused: Bad rows.
        lag: Age of the oldest waiting row in seconds; 0 without one.
        refused_for: Time since the oldest bad row was refused, in seconds; 0 without one.
        error: The error of the oldest bad row; else that of the oldest waiting row; empty without one.
    """

    waiting: int
    refused: int
    lag: float
    refused_for: float
    error: str


class Listed(NamedTuple):
    """A row of the list.

    Attributes:
        seq: Its number.
        id: The id of the job.
        job: The packed job.
        age: Seconds since it was written.
        tries: How often it was tried without success.
        is_refused: Whether it is bad.
        error: Its last error; empty without one.
    """

    seq: int
    id: str
    job: bytes
    age: float
    tries: int
    is_refused: bool
    error: str
