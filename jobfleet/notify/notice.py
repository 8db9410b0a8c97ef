"""What happened to a job, and what is told of it: values, and their form in Redis. Pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

import msgpack

EVENTS = ("failed", "retried", "completed", "cancelled", "expired", "parked", "replayed", "missed")
"""What rules can name. A failed job is a dead letter; ``missed`` is a recurring job's fire that nobody saw in time."""

TEXT_MOST = 2_000
REST = "rest"
"""The fingerprint of what is gathered because a channel has had enough of it for now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One thing that happened to one job.

    Attributes:
        event: One of `EVENTS`.
        job_id: The job; of ``missed`` the recurring job's name.
        at_us: When, µs of Redis's clock.
        queue: Where the job is kept.
        function: The name of its function.
        name: Its own name.
        user: On whose behalf it ran.
        tags: Its tags.
        correlation_id: What it was part of.
        error_class: The class of the error, or the reason: timeout, crashed, ….
        error: The error's text, or why it was cancelled.
        attempt: Which run this was, from 1; 0 where there was none.
        worker: Who ran it.
        retry_at_us: Of ``retried`` and ``parked``: when it runs again, µs.
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
        """Write it for Redis: what is empty is left out, and long texts are cut."""
        row = asdict(self)
        short = {name: value[:TEXT_MOST] if isinstance(value, str) else value for name, value in row.items()}
        packed: bytes = msgpack.packb({name: value for name, value in short.items() if value})
        return packed

    @classmethod
    def load(cls, data: bytes) -> Notice:
        """Read what `dump` wrote, by this version or a later one.

        Raises:
            ValueError: It is none.
        """
        row = msgpack.unpackb(data)
        if not isinstance(row, dict) or not {"event", "job_id", "at_us"} <= row.keys():
            raise ValueError("no notice")
        known: dict[str, Any] = {field.name: row[field.name] for field in fields(cls) if field.name in row}
        return cls(**known | {"tags": tuple(known.get("tags", ()))})


@dataclass(frozen=True, slots=True, kw_only=True)
class Notification:
    """What a channel is to tell: one notice, or how many of a kind have gathered.

    Attributes:
        id: Stays the same when it is sent again, so that a receiver can drop the repetition.
        channel: The name of the channel.
        namespace: The fleet's.
        count: How many events it stands for.
        since_us: When the first of them happened, µs of Redis's clock.
        until_us: When the last of them happened.
        made_us: When the notification was made.
        fingerprint: What they have in common; `REST` where that is nothing but the channel.
        notice: One of them; the first that was gathered.
        attempt: How often it was tried to send it, this time included.
        is_trial: Somebody tries the channel out.
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
        """What happened: one of `EVENTS`, or ``several`` where kinds are mixed."""
        return "several" if self.fingerprint == REST else self.notice.event

    @property
    def since(self) -> datetime:
        """When the first event happened."""
        return datetime.fromtimestamp(self.since_us / 1e6, UTC)

    @property
    def until(self) -> datetime:
        """When the last event happened."""
        return datetime.fromtimestamp(self.until_us / 1e6, UTC)

    @property
    def made(self) -> datetime:
        """When the notification was made."""
        return datetime.fromtimestamp(self.made_us / 1e6, UTC)
