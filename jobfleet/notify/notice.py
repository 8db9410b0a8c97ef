"""`Notice`, an event of one job, its fingerprint, and `Notification`, a message about one or more of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import msgpack

from jobfleet.codec import read_header
from jobfleet.codec.frames import read_fields
from jobfleet.errors import EncodingError, JobNotFound
from jobfleet.model import split_id
from jobfleet.model.audit import from_word
from jobfleet.model.signals import FAILED, fingerprint_of
from jobfleet.retry.tries import Tries
from jobfleet.store.journal import Event

EVENTS = (
    "failed", "retried", "completed", "cancelled", "expired", "parked", "replayed", "missed", "regressed", "breaker",
)  # fmt: skip
"""The events that rules can name. A failed job is a dead letter; ``missed`` is a fire outside its misfire window;
``regressed`` a resolved group of dead letters that came back; ``breaker`` a circuit breaker that opened."""

TEXT_MOST = 2_000
REST = "rest"
"""The fingerprint of the notification that combines all kinds of event above a channel's limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One event of one job.

    Attributes:
        event: One of `EVENTS`.
        job_id: Id of the job; for ``missed``, the name of the cron entry; for ``breaker``, of the breaker.
        at_us: Time of the event, in µs of Redis's clock.
        queue: Queue of the job.
        function: Name of the job's function.
        name: Label of the job.
        user: User of the job.
        tags: Tags of the job.
        correlation_id: Correlation id of the job.
        error_class: Class of the error, or the reason: timeout, crashed, ….
        error: Text of the error, or the reason of the cancellation.
        attempt: Number of the run, from 1; 0 if the job did not run.
        worker: The worker that ran the job.
        retry_at_us: For ``retried`` and ``parked``: time of the next run, in µs of Redis's clock.
    """

    event: str
    job_id: str
    at_us: int
    queue: str = ""
    function: str = ""
    name: str = ""
    user: str = ""
    tags: tuple[str, ...] = ()
    correlation_id: str = ""
    error_class: str = ""
    error: str = ""
    attempt: int = 0
    worker: str = ""
    retry_at_us: int = 0

    def dump(self) -> bytes:
        """Encode the notice for Redis. Empty fields are left out, and texts are cut at 2,000 characters."""
        row = asdict(self)
        short = {name: value[:TEXT_MOST] if isinstance(value, str) else value for name, value in row.items()}
        packed: bytes = msgpack.packb({name: value for name, value in short.items() if value})
        return packed

    @classmethod
    def load(cls, data: bytes) -> Notice:
        """Decode the bytes of `dump`, of this version or a later one.

        Args:
            data: The bytes.

        Raises:
            ValueError: The bytes are not a notice.
        """
        row = msgpack.unpackb(data)
        if not isinstance(row, dict) or not {"event", "job_id", "at_us"} <= row.keys():
            raise ValueError("not a notice")
        known: dict[str, Any] = {field.name: row[field.name] for field in fields(cls) if field.name in row}
        return cls(**known | {"tags": tuple(known.get("tags", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """A message for a channel: one event, or the number of events of one kind within the rule's window.

    Attributes:
        id: Id of the notification. A repetition has the same id, so that a receiver can drop it.
        channel: Name of the channel.
        namespace: Namespace of the fleet.
        count: Number of events.
        since_us: Time of the first event, in µs of Redis's clock.
        until_us: Time of the last event, in µs of Redis's clock.
        made_us: Time at which the notification was made, in µs of Redis's clock.
        fingerprint: Fingerprint of the events; `REST` if they are of several kinds.
        notice: The first of the events.
        attempt: Number of the try to send it, from 1.
        is_trial: Whether it is a test of the channel.
    """

    id: str
    channel: str
    namespace: str
    count: int
    since_us: int
    until_us: int
    made_us: int
    fingerprint: str
    notice: Notice
    attempt: int = 1
    is_trial: bool = False

    @property
    def event(self) -> str:
        """One of `EVENTS`, or ``several`` for events of several kinds."""
        return "several" if self.fingerprint == REST else self.notice.event

    @property
    def since(self) -> datetime:
        """Time of the first event."""
        return datetime.fromtimestamp(self.since_us / 1e6, UTC)

    @property
    def until(self) -> datetime:
        """Time of the last event."""
        return datetime.fromtimestamp(self.until_us / 1e6, UTC)

    @property
    def made(self) -> datetime:
        """Time at which the notification was made."""
        return datetime.fromtimestamp(self.made_us / 1e6, UTC)


UNDONE = "undone"
"""The last word of a failure that is one again, because the replay of the job was undone; it is not news."""
_CLASS = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:: (.*))?", re.DOTALL)


def notice_of(event: Event, wanted: Collection[str]) -> Notice | None:
    """Return the notice of an event; None if no rule wants it. Parts that cannot be read are left out.

    Args:
        event: An event of the journal.
        wanted: The names of events in the rules.
    """
    if event.event not in wanted or event.words[3:4] == (UNDONE,):
        return None
    header, record = _read(read_header, event.envelope), _read(read_fields, event.record)
    known = {**header, **record}
    error_class, error = _error(event, record)
    return Notice(
        event=event.event,
        job_id=event.id,
        at_us=event.at,
        queue=_queue(event.id),
        function=_text(known, "function"),
        name=_text(known, "name"),
        user=_text(known, "user"),
        tags=tuple(str(tag) for tag in known.get("tags") or ()),
        correlation_id=_text(known, "correlation_id"),
        error_class=error_class,
        error=error,
        attempt=_attempt(event, record),
        worker=_text(known, "worker"),
        retry_at_us=_due(event),
    )


def _read(reader: Any, data: bytes) -> Mapping[str, Any]:
    if not data:
        return {}
    try:
        fields: dict[str, Any] = reader(data)
    except EncodingError:
        return {}
    return fields


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _queue(job_id: str) -> str:
    try:
        return split_id(job_id)[0]
    except JobNotFound:
        return ""


def _error(event: Event, record: Mapping[str, Any]) -> tuple[str, str]:
    """The class of the error or the reason, and the text."""
    if event.event == "failed":
        return _text(record, "error_class") or (event.words or ("",))[0], _text(record, "error")
    if event.event in {"retried", "parked"}:
        history = _tries(event).history
        last = history[-1].split(" ", 2)[-1] if history else ""
        found = _CLASS.fullmatch(last)
        return (found[1], found[2] or "") if found else ("", last)
    if event.event == "cancelled":
        by, reason = (*event.words, "-", "-", "-", "-")[2:4]
        parts = [f"by {from_word(by)}" if by != "-" else "", reason if reason != "-" else ""]
        return "", " ".join(part for part in parts if part)
    return "", ""


def _tries(event: Event) -> Tries:
    try:
        return Tries.parse(event.tries)
    except ValueError:
        return Tries()


def _attempt(event: Event, record: Mapping[str, Any]) -> int:
    attempt = record.get("attempt")
    if isinstance(attempt, int):
        return attempt
    return max(_tries(event).attempt - 1, 0) if event.event == "retried" else 0


def _due(event: Event) -> int:
    word = event.words[0] if event.event in {"retried", "parked"} and event.words else ""
    return int(word) if word.isdecimal() else 0


def fingerprint(notice: Notice) -> str:
    """Return 16 hexadecimal digits that are equal for notices of the same kind."""
    return fingerprint_of(notice.function, notice.error_class, notice.error, event=notice.event)


def group_of(notice: Notice) -> str:
    """Return the fingerprint of the group of dead letters to which the error of a notice belongs."""
    return fingerprint_of(notice.function, notice.error_class, notice.error, event=FAILED)
