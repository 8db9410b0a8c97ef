"""Opens what a job's state holds, in a fleet with keys."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from jobfleet.store.job_rows import Dead, Final, Found, InRun, InWait

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals


def opened(seals: Seals, job_id: str, found: Found) -> Found:
    """Return the state of a job with its envelope, record and progress opened; what is not accepted is refused."""
    match found:
        case Final(body=body, progress=progress):
            body, progress = seals.open_ending(job_id, body), _progress(seals, job_id, progress)
            return replace(found, body=body, progress=progress)
        case Dead(record=record, progress=progress):
            record, progress = seals.open_record(job_id, record), _progress(seals, job_id, progress)
            return replace(found, record=record, progress=progress)
        case InRun(envelope=envelope, progress=progress) | InWait(envelope=envelope, progress=progress):
            envelope, progress = seals.open_envelope(job_id, envelope), _progress(seals, job_id, progress)
            return replace(found, envelope=envelope, progress=progress)
    return found


def opened_letter(seals: Seals, job_id: str, record: bytes, envelope: bytes) -> tuple[bytes, bytes]:
    """Open the record and the envelope of a dead letter."""
    return seals.open_record(job_id, record), seals.open_envelope(job_id, envelope)


def opened_ending(seals: Seals, job_id: str, value: bytes) -> bytes:
    """Open the stored ending of a job: a line of fields, and its record or envelope."""
    line, newline, body = value.partition(b"\n")
    return line + newline + seals.open_ending(job_id, body) if body else value


def _progress(seals: Seals, job_id: str, record: bytes) -> bytes:
    return seals.open_value(record, "progress", job_id)
