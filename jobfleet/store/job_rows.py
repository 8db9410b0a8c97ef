"""The rows of listings, and the states in which one job can be found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from jobfleet.store.records import RunRecord


class Waiting(NamedTuple):
    """A row of the listing of waiting jobs; `wrong` is the reason if it cannot be read."""

    id: str
    due: int
    tries: str
    envelope: bytes
    wrong: str = ""


class Running(NamedTuple):
    """A row of the listing of running jobs; `wrong` is the reason if it cannot be read."""

    id: str
    deadline: int
    run: RunRecord
    tries: str
    envelope: bytes
    progress: bytes
    wrong: str = ""


class Finished(NamedTuple):
    """A row of the listing of finished jobs."""

    entry: str
    suffix: str
    outcome: str
    duration: int


class DeadLetter(NamedTuple):
    """A row of the dead letters."""

    entry: str
    id: str
    reason: str
    band: int
    tries: str
    meta: str
    record: bytes
    envelope: bytes


@dataclass(frozen=True, slots=True)
class Final:
    """The ending of a job: the fields of `result:<id>`, and its record or envelope.

    `spent` has the counts of its tries, for a job without a record.
    """

    status: str
    at: int
    token: int
    started: int
    child: str
    by: str
    reason: str
    body: bytes
    progress: bytes
    cancel_at: int = 0
    stage: str = ""
    spent: str = ""

    @property
    def moved_to(self) -> str:
        """The id of the job in the queue that it was moved to; empty if it was not moved."""
        return self.reason.removeprefix("moved:") if self.reason.startswith("moved:") else ""


@dataclass(frozen=True, slots=True)
class Dead:
    """A failed job whose result was deleted, but whose dead letter still exists."""

    record: bytes
    progress: bytes
    reason: str
    tries: str


@dataclass(frozen=True, slots=True)
class InRun:
    """A running job."""

    run: RunRecord
    progress: bytes
    tries: str
    envelope: bytes


@dataclass(frozen=True, slots=True)
class InWait:
    """A waiting job."""

    band: int
    due: int
    tries: str
    envelope: bytes
    progress: bytes


@dataclass(frozen=True, slots=True)
class Unknown:
    """No such job."""


Found = Final | Dead | InRun | InWait | Unknown
