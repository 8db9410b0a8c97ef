"""The rows of listings, and the states in which one job can be found; with keys, what a state holds is opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from jobfleet.errors import JobNotFound
from jobfleet.model import JobStatus, split_id
from jobfleet.store.records import RunRecord

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals


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


def has_id(row: Waiting | Running | DeadLetter) -> bool:
    """Whether the id of a row is a job id; `doctor` reports other rows."""
    if not isinstance(row, DeadLetter) and not row.wrong:  # the listing has checked it
        return True
    try:
        split_id(row.id)
    except JobNotFound:
        return False
    return True


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
    def proof(self) -> str:
        """What proves that the job has completed, without its record; empty if there is none. See `Seals.proof`."""
        return self.reason if self.reason.startswith("s:") else ""

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


def opened(seals: Seals, job_id: str, found: Found) -> Found:
    """Return the state of a job with its envelope, record and progress opened; what is not accepted is refused."""
    match found:
        case Final(body=body, progress=progress):
            body = seals.open_ending(job_id, found.status, found.token, found.proof, body)
            return replace(found, body=body, progress=_progress(seals, job_id, progress))
        case Dead(record=record, progress=progress):
            record, progress = seals.open_record(job_id, record, JobStatus.FAILED), _progress(seals, job_id, progress)
            return replace(found, record=record, progress=progress)
        case InRun(envelope=envelope, progress=progress) | InWait(envelope=envelope, progress=progress):
            envelope, progress = seals.open_envelope(job_id, envelope), _progress(seals, job_id, progress)
            return replace(found, envelope=envelope, progress=progress)
    return found


def opened_letter(seals: Seals, job_id: str, record: bytes, envelope: bytes) -> tuple[bytes, bytes]:
    """Open the record and the envelope of a dead letter."""
    return seals.open_record(job_id, record, JobStatus.FAILED), seals.open_envelope(job_id, envelope)


def opened_ending(seals: Seals, job_id: str, value: bytes) -> bytes:
    """Open the stored ending of a job: a line of fields, and its record or envelope; nothing of no ending."""
    if not value:
        return value
    line, newline, body = value.partition(b"\n")
    words = line.decode("utf-8", "replace").split(" ")
    status, token, proof = words[0], words[2] if len(words) > 2 else "", words[6] if len(words) > 6 else ""
    opened = seals.open_ending(job_id, status, int(token) if token.isdecimal() else -1, proof, body)
    return line + newline + opened


def _progress(seals: Seals, job_id: str, record: bytes) -> bytes:
    return seals.open_value(record, "progress", job_id)
