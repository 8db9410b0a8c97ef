"""A batch of journal events: when the archive reads it, and the rows of the archive that it becomes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from jobfleet.codec import Limits, read_fields, read_header, read_record
from jobfleet.codec.frames import is_encrypted
from jobfleet.errors import BadSignature, EncodingError, JobNotFound, UnknownKey
from jobfleet.model import JobStatus, split_id, suffix_time_us
from jobfleet.model.audit import NOBODY, from_word
from jobfleet.model.fields import FIELDS
from jobfleet.model.life import event_of, line_of
from jobfleet.retry.tries import Tries
from jobfleet.store.journal import Event
from jobfleet.store.keys import is_blocked
from jobfleet.store.rows import NOT_READ, report

if TYPE_CHECKING:
    from jobfleet.codec.seals import Seals


# Turns a batch of journal events into rows of jobs, attempts and results. Pure.
#
# A row is a mapping from column to value; columns that no event of the batch sets are absent. Times are µs since
# 1970; the writer converts them to the database's type.


Row = dict[str, Any]
Reader = Callable[[Event], dict[str, Any]]
"""Decodes the record of an event."""
MOVED = "moved:"
REPLACED_BY = "replaced-by:"


@dataclass(slots=True)
class Folded:
    """The rows of a batch.

    Attributes:
        jobs: Rows of jobs by id.
        results: Rows of results by id, for jobs that have ended.
        attempts: Rows of attempts by id and fencing token.
        life: Lines of the lives of jobs, by id, time and first word.
        forgotten: The numbers of the events by which jobs were forgotten, by id. Rows of earlier events are deleted.
    """

    jobs: dict[str, Row] = field(default_factory=dict)
    results: dict[str, Row] = field(default_factory=dict)
    attempts: dict[tuple[str, int], Row] = field(default_factory=dict)
    life: dict[tuple[str, int, str], Row] = field(default_factory=dict)
    forgotten: dict[str, int] = field(default_factory=dict)


def fold(events: Iterable[Event], limits: Limits, seals: Seals | None = None) -> Folded:
    """Fold events into one row per job, attempt and result. Order and repetition of events make no difference.

    Args:
        events: The events; those of a lane are ordered by their number.
        limits: Limits of a result's size and depth.
        seals: Checks signed records; None without keys.
    """
    folded = Folded()
    read = partial(_read, limits, seals)
    for event in sorted(events, key=_by_number):
        if event.event == "forgotten":
            _forget(folded, event)
            continue
        apply = APPLIERS.get(event.event)
        try:
            if apply is not None:
                row = folded.jobs.get(event.id)
                if row is None:
                    row = folded.jobs[event.id] = {"id": event.id, "queue": _queue(event.id)}
                row["seq"], row["updated_at"] = event.seq, event.at
                apply(folded, row, event, read)
            _live(folded, event)
        except NOT_READ as error:  # a foreign client's words
            report([f"journal has the event {event.event!r} of {event.id!r}, number {event.seq}: {error}"])
    return folded


def _forget(folded: Folded, event: Event) -> None:
    folded.forgotten[event.id] = event.seq
    folded.jobs.pop(event.id, None)
    folded.results.pop(event.id, None)
    folded.attempts = {key: row for key, row in folded.attempts.items() if key[0] != event.id}
    folded.life = {key: row for key, row in folded.life.items() if key[0] != event.id}


def _live(folded: Folded, event: Event) -> None:
    """Take the lines of a job's life from an event: those beside the job, and what the event itself is about."""
    lines = list(Tries.parse(event.tries).history) if event.tries and event.event != "claimed" else []
    if event.event in ASKED:
        who, text = ASKED[event.event](event.words)
        lines.append(line_of(event.event, event.at, f"{who} {text}"))
    elif event.event == "cancelled" and len(event.words) > ASKED_AT:  # the run that it ended was asked to stop before
        lines.append(line_of(event.event, int(event.words[ASKED_AT]), event.words[ASKED_AT - 2]))
    for line in lines:
        word, at, text = (*line.split(" ", 2), "", "")[:3]
        if event_of(line).at is not None:
            key = (event.id, int(at), word)
            folded.life[key] = {"job_id": event.id, "at_us": int(at), "word": word, "text": text}


def _by_number(event: Event) -> int:
    return event.seq


def _queue(job_id: str) -> str:
    try:
        return split_id(job_id).queue
    except JobNotFound:
        return ""


def describe(row: Row, job_id: str, envelope: bytes) -> None:
    """Set the columns that come from a job's envelope, and the envelope itself."""
    if not envelope or row.get("envelope") == envelope:
        return
    row["envelope"] = envelope
    try:
        header = read_header(envelope)
    except EncodingError:
        return
    described(row, job_id, header)


def described(row: Row, job_id: str, header: Mapping[str, Any]) -> None:
    """Set the columns that come from a header or from the fields of a record."""
    function = header.get("function")
    row["function"] = function
    row["name"] = header.get("name", function)
    row["enqueued_at"] = header.get("enqueued_at") or suffix_time_us(split_id(job_id).suffix)
    for one in FIELDS:
        if one.name in header:
            row[one.column] = header[one.name]


def _waits(row: Row, due: int, at: int, tries: Tries | None) -> None:
    """Set the columns of a job that waits: blocked, retrying, scheduled or queued."""
    status = JobStatus.QUEUED
    if is_blocked(due):
        status = JobStatus.BLOCKED
    elif due > at:
        status = JobStatus.RETRYING if tries is not None else JobStatus.SCHEDULED
    row.update(
        status=status.value,
        scheduled_at=None if is_blocked(due) else due,
        completed_at=None,
        cancel_requested_by=None,
        moved_to=None,
        error=_last_error(tries),
    )


def _enqueued(folded: Folded, row: Row, event: Event, _read: Reader) -> None:
    describe(row, event.id, event.envelope)
    folded.results.pop(event.id, None)
    _waits(row, int(event.words[1]), event.at, None)
    row.update(priority=int(event.words[0]), attempt=0, retry_count=0, started_at=None, worker=None, fence=None)


def _rescheduled(_folded: Folded, row: Row, event: Event, _read: Reader) -> None:
    _waits(row, int(event.words[1]), event.at, _tries(event))
    row["priority"] = int(event.words[0])


def _edited(folded: Folded, row: Row, event: Event, read: Reader) -> None:
    describe(row, event.id, event.envelope)
    _rescheduled(folded, row, event, read)


def _unblocked(_folded: Folded, row: Row, event: Event, _read: Reader) -> None:
    _waits(row, int(event.words[0]), event.at, None)


def _replayed(folded: Folded, row: Row, event: Event, _read: Reader) -> None:
    describe(row, event.id, event.envelope)
    folded.results.pop(event.id, None)
    _waits(row, event.at, event.at, Tries.parse(event.tries))
    row.update(attempt=0, retry_count=0, started_at=None, worker=None, fence=None)


def _claimed(folded: Folded, row: Row, event: Event, _read: Reader) -> None:
    tries = Tries.parse(event.tries)
    run = {"attempt": tries.attempt, "started_at": event.at, "worker": event.words[0]}
    row.update(
        run,
        status=JobStatus.RUNNING.value,
        retry_count=tries.failures,
        fence=event.token,
        scheduled_at=None,
        completed_at=None,
        error=_last_error(tries),
    )
    _attempt(folded, event, run, status=JobStatus.RUNNING.value)


def _given_back(folded: Folded, row: Row, event: Event, _read: Reader) -> None:
    """Apply an event retried, released, parked or withheld."""
    describe(row, event.id, event.envelope)
    tries = _tries(event)
    _waits(row, int(event.words[0]), event.at, tries)
    if tries is not None:
        row.update(attempt=tries.attempt - 1, retry_count=tries.failures)
    error = None if event.event in ("released", "withheld") else _last_error(tries)
    _attempt(folded, event, {}, status=event.event, ended_at=event.at, error=error)


def _ended(folded: Folded, row: Row, event: Event, read: Reader) -> None:
    """Apply an event completed or failed."""
    describe(row, event.id, event.envelope)
    fields = read(event)
    if not event.envelope and fields:
        described(row, event.id, fields)
    failed = event.event == "failed"
    duration = int(event.words[1 if failed else 0])
    reason = event.words[0] if failed else None
    error = (fields.get("error") or _last_error(_tries(event)) or reason) if failed else None
    run: Row = {name: fields[name] for name in ("started_at", "worker") if name in fields}
    run["attempt"] = fields.get("attempt", 1)
    row.update(
        run,
        status=event.event,
        retry_count=fields.get("retry_count", 0),
        fence=event.token,
        scheduled_at=None,
        completed_at=event.at,
        error=error,
        cancel_requested_by=None,
        moved_to=None,
    )
    folded.results[event.id] = {
        "id": event.id,
        "seq": event.seq,
        "status": event.event,
        "result": fields.get("value"),
        "error": error,
        "error_type": fields.get("error_type"),
        "error_class": (fields.get("error_class") or reason) if failed else None,
        "traceback": fields.get("traceback"),
        "duration": duration / 1e6,
        "record": event.record or None,
    }
    _attempt(folded, event, run, status=event.event, ended_at=event.at, error=error)


def _read(limits: Limits, seals: Seals | None, event: Event) -> dict[str, Any]:
    """Decode a record. An encrypted one stays closed: the columns have what everybody can read."""
    record = event.record
    if seals is not None and record and not is_encrypted(record):
        record = seals.open_record(event.id, record, event.event, event.token)
    try:
        return read_record(record, limits=limits)
    except (BadSignature, UnknownKey):
        try:
            return read_fields(record) if is_encrypted(record) else {}
        except EncodingError:
            return {}


def _closed(folded: Folded, row: Row, event: Event, _read: Reader) -> None:
    """Apply an event cancelled or expired."""
    describe(row, event.id, event.envelope)
    started, worker, by, reason = (*event.words[:4], "-", "-", "-", "-")[:4]
    moved_to = reason.removeprefix(MOVED) if reason.startswith(MOVED) else None
    who = None if by == NOBODY else from_word(by).replace(REPLACED_BY, "replaced by ", 1)
    error = _why(event.event, who, moved_to)
    tries = _tries(event)
    run: Row = {"started_at": int(started), "worker": worker} if event.token else {}
    if tries is not None or not event.token:
        has_run = event.token and event.event != "expired"  # one that expires was claimed at most
        run["attempt"] = (tries or Tries()).attempt - (0 if has_run else 1)
    row.update(
        run,
        status=event.event,
        scheduled_at=None,
        completed_at=event.at,
        error=error,
        cancel_requested_by=who if event.event == "cancelled" else None,
        moved_to=moved_to,
    )
    duration = (event.at - int(started)) / 1e6 if event.token else None
    folded.results[event.id] = {
        "id": event.id, "seq": event.seq, "status": event.event, "result": None, "error": error, "error_type": None,
        "error_class": None, "traceback": None, "duration": duration, "record": None,
    }  # fmt: skip
    if event.token:
        _attempt(folded, event, run, status=event.event, ended_at=event.at, error=error)


def _attempt(folded: Folded, event: Event, run: Mapping[str, Any], **columns: Any) -> None:
    key = (event.id, event.token)
    row = folded.attempts.get(key)
    if row is None:
        row = folded.attempts[key] = {"job_id": event.id, "fence": event.token, "ended_at": None, "error": None}
    row.update(run, seq=event.seq, **columns)


def _why(event: str, who: str | None, moved_to: str | None) -> str:
    if moved_to:
        return f"moved to {moved_to} by {who}" if who else f"moved to {moved_to}"
    if event == "expired":
        return "not started in time"
    if who and who.startswith("replaced by "):
        return who
    return f"cancelled by {who}" if who else "cancelled"


def _tries(event: Event) -> Tries | None:
    return Tries.parse(event.tries) if event.tries else None


def _last_error(tries: Tries | None) -> str | None:
    return tries.last_error if tries is not None else None


APPLIERS: dict[str, Callable[[Folded, Row, Event, Reader], None]] = {
    "enqueued": _enqueued,
    "debounced": _enqueued,
    "rescheduled": _rescheduled,
    "edited": _edited,
    "unblocked": _unblocked,
    "replayed": _replayed,
    "claimed": _claimed,
    "retried": _given_back,
    "released": _given_back,
    "withheld": _given_back,
    "parked": _given_back,
    "completed": _ended,
    "failed": _ended,
    "cancelled": _closed,
    "expired": _closed,
}


ASKED: dict[str, Callable[[Sequence[str]], tuple[str, str]]] = {
    "edited": lambda words: (words[2], words[3] if len(words) > 3 else ""),
    "signalled": lambda words: (words[-1], " ".join(words[:-1])),  # a name may have spaces
}
"""Who asked for what, by the events that say it in no line of the job's tries, from their words."""
ASKED_AT = 4
"""The word of an event `cancelled` that says when it was asked for; the second one before says by whom."""


# Decides whether the archive waits for the end of a burst of events. Pure.


L = TypeVar("L")

BURST = 20_000
"""Events per second, over all lanes, that are a burst. The reaper and its database would need most of a core for them,
which the jobs may need more."""

BUSY, BACKLOG = 5_000, 2_000
"""Fewer events per second are a burst, too, if at least so many due jobs wait: a slow or busy machine has fewer."""

WINDOW = 0.1
"""The shortest time in seconds over which events are counted, so that a few events at once do not count as a burst."""

CALM = 0.3
"""Seconds without a burst after which it is over. The jobs may pause for a moment."""

PATIENCE = 10.0
"""The longest time in seconds for which events wait for the end of a burst."""


class Pace:
    """The pace of the events that come, and how long they wait for the archive.

    Args:
        room: The most events that may wait in a lane.
        patience: The longest time in seconds for which events wait.
        now: The time of the monotonic clock.
    """

    def __init__(self, room: int, patience: float, now: float) -> None:
        self._room = room
        self._patience = patience
        self._counts: Mapping[Any, int] = {}
        self._rate = 0.0
        self._read_at = now
        self._counted_at = self._burst_at = float("-inf")

    def has_read_all(self, at: float) -> None:
        """Note that all events from before a time were read.

        Args:
            at: A time of the monotonic clock.
        """
        self._read_at = at

    def busy_lanes(self, counts: Mapping[L, int], now: float) -> list[L]:
        """Return the lanes with new events, if these are so many that waiting jobs would make them a burst.

        Args:
            counts: The number of the last event of each lane.
            now: The time of the monotonic clock.
        """
        new = {lane: number - self._counts.get(lane, number) for lane, number in counts.items()}
        self._rate = sum(new.values()) / max(WINDOW, now - self._counted_at)
        self._counts, self._counted_at = dict(counts), now
        return [lane for lane, came in new.items() if came] if BUSY <= self._rate < BURST else []

    def should_wait(self, low: Mapping[L, int], due: int, now: float) -> bool:
        """Whether a burst continues, and its events may still wait.

        Args:
            low: The number up to which the events of each lane are acknowledged. Events of a lane that is not in it do
                not wait.
            due: The number of due jobs in the busy lanes.
            now: The time of the monotonic clock.
        """
        if self._rate >= BURST or (self._rate >= BUSY and due >= BACKLOG):
            self._burst_at = now
        if now - self._burst_at > CALM or now - self._read_at > self._patience:
            return False
        return all(lane in low and number - low[lane] <= self._room for lane, number in self._counts.items())
