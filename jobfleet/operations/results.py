"""Convert stored rows to `JobResult`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any, NamedTuple

from jobfleet.clock import moment
from jobfleet.codec import Limits, decode, header_or_empty, is_record, is_refused, read_fields, read_record
from jobfleet.codec.frames import PAYLOAD
from jobfleet.errors import BadSignature, EncodingError, JobNotFound, UnknownKey
from jobfleet.model import ErrorType, JobResult, JobStatus, split_id, suffix_time_us
from jobfleet.model.fields import PLAIN_TEXTS
from jobfleet.model.result import JobWait
from jobfleet.retry.tries import Tries
from jobfleet.store.calls.run import BY_TOKEN
from jobfleet.store.keys import due_of_score, is_blocked
from jobfleet.store.records import Dead, DeadLetter, Final, Found, InRun, InWait, Running, Unknown, Waiting

LETTERS = {"co": JobStatus.COMPLETED, "fa": JobStatus.FAILED, "ca": JobStatus.CANCELLED, "ex": JobStatus.EXPIRED}

_REFUSED = " refused"
"""Where the reason is noted for which a record is not accepted; no field of a record has this name."""
BAD_SIGNATURE = "bad-signature"
REPLACED_BY = "replaced-by:"
"""The prefix that replace.lua writes before the id of the new job, in the field that names who cancelled a job."""


class _Forged(str):
    """Why a record is not accepted: its signature is wrong, or it has none."""

    __slots__ = ()


class StoredValue(NamedTuple):
    """In place of a result whose value is in the payload store.

    Attributes:
        record: The record of the result.
    """

    record: bytes


def result_of(
    job_id: str,
    found: Found,
    now_us: int,
    *,
    limits: Limits,
    is_checked: bool = False,
    marks_stored: bool = False,
) -> JobResult[Any]:
    """Convert a stored job.

    Args:
        job_id: Its id.
        found: The stored form.
        now_us: The time of Redis, µs since 1970.
        limits: The limits of its result record.
        is_checked: Whether to raise an error if its record is not accepted. A listing shows the job without its result.
        marks_stored: Whether a value that is in the payload store is a `StoredValue`; else it is None.

    Raises:
        JobNotFound: The job is unknown.
        BadSignature, UnknownKey: Its record is sealed, and is not accepted or cannot be opened here.
    """
    match found:
        case Final():
            ended = _ended(job_id, found, limits, is_checked=is_checked)
            return (
                replace(ended, result=StoredValue(found.body)) if marks_stored and _is_stored(ended, found) else ended
            )
        case Dead(record, progress, reason, tries):
            fields = _fields_of(record, limits, is_checked=is_checked)
            return _failed(job_id, fields, progress, reason, tries=tries)
        case InRun():
            return running_result(Running(job_id, 0, found.run, found.tries, found.envelope, found.progress), now_us)
        case InWait(_, due, tries, envelope, progress, awaited):
            return waiting_result(Waiting(job_id, due, tries, envelope, awaited=awaited), now_us, progress)
        case Unknown():
            raise JobNotFound(job_id)


def waiting_result(row: Waiting, now_us: int, progress: bytes = b"") -> JobResult[Any]:
    """Convert a waiting job; `now_us` is the time of Redis, µs since 1970."""
    tries, due = Tries.parse(row.tries), due_of_score(row.due)
    status, is_due_unknown = JobStatus.QUEUED, is_blocked(due)
    if is_due_unknown:
        status = JobStatus.BLOCKED
    elif due > now_us:
        status = JobStatus.RETRYING if row.tries else JobStatus.SCHEDULED
    return JobResult(
        id=row.id,
        status=status,
        scheduled_at=None if is_due_unknown else moment(due),
        parked_since=moment(tries.parked_since),
        wait=_wait_of(row.awaited),
        error=tries.last_error,
        **_described(row.id, header_or_empty(row.envelope)),
        **_spent(tries, runs=False),
        **_progress(progress),
    )


def _wait_of(awaited: str) -> JobWait | None:
    """What a job waits for, of the words of a row."""
    since, is_one, signal = awaited.partition(" ")
    if not is_one:
        return None
    name = signal.removeprefix(BY_TOKEN)
    return JobWait(name, only_token=name != signal, since=moment(int(since)))


def running_result(row: Running, now_us: int) -> JobResult[Any]:
    """Convert a running job; `now_us` is the time of Redis, µs since 1970."""
    tries, run = Tries.parse(row.tries), row.run
    return JobResult(
        id=row.id,
        status=JobStatus.RUNNING,
        started_at=moment(run.claimed),
        duration=timedelta(microseconds=max(0, now_us - run.claimed)),
        fence=run.token,
        worker=run.child,
        cancel_requested_by=run.cancel_by or None,
        **_stopping(run.cancel_at, run.stage),
        error=tries.last_error,
        **_described(row.id, header_or_empty(row.envelope)),
        **_spent(tries, runs=True),
        **_progress(row.progress),
    )


def letter_result(letter: DeadLetter, *, limits: Limits) -> JobResult[Any]:
    """Convert a dead letter."""
    ended = int(letter.entry.partition("-")[0]) * 1000
    fields = header_or_empty(letter.envelope)
    with suppress(EncodingError):
        fields |= _fields_of(letter.record, limits, is_checked=False)
    return _failed(letter.id, fields, b"", letter.reason, tries=letter.tries, at=ended)


def _fields_of(record: bytes, limits: Limits, *, is_checked: bool) -> Mapping[str, Any]:
    """Decode a record; what is not accepted is left out, and the reason is its error."""
    try:
        return read_record(record, limits=limits)
    except (BadSignature, UnknownKey) as error:
        if is_checked:
            raise
        fields: dict[str, Any] = {}
        with suppress(EncodingError):
            fields = read_fields(record)
        reason = _Forged(error) if isinstance(error, BadSignature) else str(error)
        return {**fields, _REFUSED: reason} if is_refused(record) else fields


def _ended(job_id: str, found: Final, limits: Limits, *, is_checked: bool) -> JobResult[Any]:
    if is_record(found.body):
        fields = _fields_of(found.body, limits, is_checked=is_checked)
        if isinstance(fields.get(_REFUSED), _Forged):  # its status is a claim, too
            fields = {**fields, "error_class": BAD_SIGNATURE, "error_type": None, "traceback": None}
            return _failed(job_id, fields, b"", BAD_SIGNATURE, at=found.at, token=found.token)
        if found.status == JobStatus.FAILED:
            return _failed(job_id, fields, found.progress, found.reason, at=found.at, token=found.token)
        return JobResult(
            id=job_id,
            status=JobStatus(found.status),
            result=fields.get("value"),
            error=fields.get(_REFUSED),
            completed_at=moment(found.at),
            fence=found.token or None,
            **_ran(fields),
            **_described(job_id, fields),
            **_progress(found.progress),
        )
    by = None if found.by == "-" else found.by.replace(REPLACED_BY, "replaced by ", 1)
    moved_to = found.moved_to or None
    status = JobStatus(found.status)
    tries = spent_in(found)
    # The code of a job that has expired did not run again, although it may have been claimed.
    has_run = status is JobStatus.COMPLETED or (bool(found.started) and status is not JobStatus.EXPIRED)
    return JobResult(
        id=job_id,
        status=status,
        error=_why(status, by, moved_to),
        started_at=moment(found.started),
        completed_at=moment(found.at),
        duration=timedelta(microseconds=found.at - found.started) if found.started else None,
        fence=found.token or None,
        worker=None if found.child == "-" else found.child,
        cancel_requested_by=by if status is JobStatus.CANCELLED else None,
        moved_to=moved_to,
        **_stopping(found.cancel_at, found.stage),
        **_described(job_id, header_or_empty(found.body)),
        **_spent(tries, runs=has_run),
        **_progress(found.progress),
    )


def _is_stored(ended: JobResult[Any], found: Final) -> bool:
    if ended.result is not None or ended.status is not JobStatus.COMPLETED or is_refused(found.body) or not found.body:
        return False
    try:
        return PAYLOAD in read_fields(found.body)
    except EncodingError:
        return False


def _stopping(at: int, stage: str) -> dict[str, Any]:
    """When a run was asked to stop, and the stage of the stop; empty for a run that was not asked."""
    return {"cancel_requested_at": moment(at), "stop_stage": stage or "requested"} if at else {}


def _why(status: JobStatus, by: str | None, moved_to: str | None) -> str | None:
    if moved_to:
        return f"moved to {moved_to} by {by}" if by else f"moved to {moved_to}"
    if status is JobStatus.CANCELLED:
        if by and by.startswith("replaced by "):
            return by
        return f"cancelled by {by}" if by else "cancelled"
    return "not started in time" if status is JobStatus.EXPIRED else None


def _failed(
    job_id: str,
    fields: Mapping[str, Any],
    progress: bytes,
    reason: str,
    *,
    tries: str = "",
    at: int = 0,
    token: int = 0,
) -> JobResult[Any]:
    kind = fields.get("error_type")
    return JobResult(
        id=job_id,
        status=JobStatus.FAILED,
        error=fields.get(_REFUSED) or fields.get("error") or Tries.parse(tries).last_error or reason,
        error_type=ErrorType(kind) if kind in ("transient", "permanent") else None,
        error_class=fields.get("error_class") or reason,
        traceback=fields.get("traceback"),
        completed_at=moment(at),
        fence=token or None,
        **_ran(fields),
        **_described(job_id, fields),
        **_progress(progress),
    )


def _described(job_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    place = split_id(job_id)
    function = str(fields.get("function", ""))
    described: dict[str, Any] = {
        "function": function,
        "name": str(fields.get("name", function)),
        "queue": place.queue,
        "enqueued_at": moment(fields.get("enqueued_at") or suffix_time_us(place.suffix)),
        "tags": tuple(fields.get("tags", ())),
        "metadata": fields.get("metadata", {}),
    }
    for name in PLAIN_TEXTS:
        if name in fields:
            described[name] = fields[name]
    for name in ("callback", "callback_of"):
        if isinstance(fields.get(name), str):
            described[name] = fields[name]
    return described


def _ran(fields: Mapping[str, Any]) -> dict[str, Any]:
    duration = fields.get("duration")
    return {
        "started_at": moment(fields.get("started_at")),
        "duration": timedelta(microseconds=duration) if isinstance(duration, int) else None,
        "worker": fields.get("worker"),
        "attempt": fields.get("attempt", 1),
        "retry_count": fields.get("retry_count", 0),
        "runs": fields.get("runs", fields.get("attempt", 1)),
    }


def _spent(tries: Tries, *, runs: bool) -> dict[str, Any]:
    """What open or unfinished jobs have spent; `runs` says whether a run counts that is not in the history."""
    return {"attempt": tries.attempt - 1 + runs, "retry_count": tries.failures, "runs": tries.runs + runs}


def spent_in(found: Final) -> Tries:
    """What a job had spent that ended without a record of a worker."""
    try:
        return Tries.parse("\n".join([found.spent, *found.past]) if found.spent else "")
    except ValueError:  # not written by jobfleet
        return Tries()


def _progress(record: bytes) -> dict[str, Any]:
    if not record:
        return {}
    try:
        value, message, details = decode(record)
    except (EncodingError, TypeError, ValueError):
        return {}
    return {"progress": value, "progress_message": message, "progress_details": details}
