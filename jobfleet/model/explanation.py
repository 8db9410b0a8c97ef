"""Why a job is where it is: an explanation, its reasons and their codes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from jobfleet.model.status import JobStatus

Fact = int | float | str | datetime | Sequence[str] | None


class ReasonCode(StrEnum):
    """What stands in the way, as programs tell it."""

    UNKNOWN = "unknown"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    MOVED = "moved"
    EXPIRED = "expired"
    RUNNING = "running"
    CANCELLING = "cancelling"
    WORKER_GONE = "worker-gone"
    LEASE_EXPIRED = "lease-expired"
    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
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
    UNKNOWN_FUNCTION = "unknown-function"
    ELSEWHERE = "elsewhere"
    UNSERVED = "unserved"
    QUIET = "quiet"
    BUSY = "busy"
    BEHIND = "behind"
    NEXT = "next"
    EXPIRING = "expiring"


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason.

    Attributes:
        code: Which.
        text: The same for people: one line, with numbers, and what can be done.
        facts: The numbers and names in it; durations in seconds.
    """

    code: ReasonCode
    text: str
    facts: Mapping[str, Fact] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a job is where it is.

    Attributes:
        id: The job's id.
        status: Where it stands; None when it is not known.
        function: Its function's name on the wire.
        queue: Its queue.
        at: When this was so, by Redis's clock.
        reasons: The reasons, what stands in the way first.
    """

    id: str
    status: JobStatus | None
    reasons: tuple[Reason, ...]
    function: str = ""
    queue: str = ""
    at: datetime | None = None

    def __str__(self) -> str:
        return "\n".join(reason.text for reason in self.reasons)
