"""`Notice`, an event of one job, and `Notification`, a message about one or more of them. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import msgpack

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
