"""The explanation of a job's state: its reasons and their codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from jobfleet.model.details import JobDetails
from jobfleet.model.status import JobStatus

Fact = int | float | str | datetime | Sequence[str] | None


class ReasonCode(StrEnum):
    """The code of a reason, for programs."""

    UNKNOWN = "unknown"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MOVED = "moved"
    EXPIRED = "expired"
    UNDOING = "undoing"
    LOCK = "lock"
    RUNNING = "running"
    BLOCKING = "blocking"
    CANCELLING = "cancelling"
    WORKER_GONE = "worker-gone"
    LEASE_EXPIRED = "lease-expired"
    BLOCKED = "blocked"
    SEQUENCE = "sequence"
    SCHEDULED = "scheduled"
    SLEEPING = "sleeping"
    AWAITING_SIGNAL = "awaiting-signal"
    RETRYING = "retrying"
    SUSPECT = "suspect"
    PARKED = "parked"
    PAUSED = "paused"
    PAUSED_FUNCTION = "paused-function"
    GROUP_PAUSED = "group-paused"
    GROUP_FULL = "group-full"
    GROUP_RATE = "group-rate"
    QUEUE_FULL = "queue-full"
    QUEUE_RATE = "queue-rate"
    GATE_UNREADABLE = "gate-unreadable"
    LIMIT_CLOSED = "limit-closed"
    LIMIT_FULL = "limit-full"
    LIMIT_RATE = "limit-rate"
    BREAKER_OPEN = "breaker-open"
    UNKNOWN_FUNCTION = "unknown-function"
    NEWER_SCHEMA = "newer-schema"
    ELSEWHERE = "elsewhere"
    UNSERVED = "unserved"
    QUIET = "quiet"
    HUNG = "hung"
    BUSY = "busy"
    BEHIND = "behind"
    NEXT = "next"
    EXPIRING = "expiring"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason for a job's state.

    Attributes:
        code: Its code.
        text: One line for people, with numbers and a remedy.
        facts: The numbers and names in the text; durations are in seconds.
    """

    code: ReasonCode
    text: str
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is in its state.

    Attributes:
        id: The job's id.
        status: Its state; None if the job is unknown.
        function: The registered name of its function.
        queue: Its queue.
        at: The time of the explanation, by Redis's clock.
        reasons: The reasons; those that block the job come first.
        details: The job in full; None if the job is unknown.
    """

    id: str
    status: JobStatus | None
    reasons: tuple[Reason, ...]
    function: str = ""
    queue: str = ""
    at: datetime | None = None
    details: JobDetails[Any] | None = None

    def __str__(self) -> str:
        return "\n".join(reason.text for reason in self.reasons)
