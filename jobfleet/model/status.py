"""States, priorities and the table of state transitions; and checks of the values that a listing takes.

The docs generate their diagram from the table.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

from jobfleet.errors import InvalidJob

S = TypeVar("S")


class Priority(IntEnum):
    """The urgency of a job; within a lane, a higher priority always runs first."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3

    @property
    def band(self) -> int:
        """The number of the priority's sorted set: 0 for CRITICAL to 3 for LOW."""
        return 3 - self.value

    @classmethod
    def _missing_(cls, value: object) -> Priority | None:
        """The priority of a name in any case; the command line, the API and the settings take these names, too."""
        return cls.__members__.get(value.upper()) if isinstance(value, str) else None


PriorityName: TypeAlias = Literal["critical", "high", "normal", "low"]


def read_priority(given: Any, field: str = "priority") -> Priority:
    """Read a priority, its number or its name.

    Raises:
        InvalidJob: It is none of these.
    """
    try:
        return Priority(-1 if isinstance(given, bool) else given)
    except ValueError:
        names = ", ".join(repr(one.name.lower()) for one in reversed(Priority))
        text = f"{field} is {given!r:.100}; use Priority.LOW … CRITICAL. Their names are taken, too: {names}."
        raise InvalidJob(text, field=field) from None


class JobStatus(StrEnum):
    """The state of a job. A buffered job is still in its producer's memory; all other states are in Redis."""

    BUFFERED = "buffered"
    BLOCKED = "blocked"
    SCHEDULED = "scheduled"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended."""
        return self in FINAL

    @property
    def is_waiting(self) -> bool:
        """Whether the job is in Redis, and no worker has claimed it yet."""
        return self in WAITING


class ShownState(StrEnum):
    """A state that lists show in place of the status of some waiting jobs, and take as a filter in its place.

    It is derived when a job is read: parked jobs are retrying, and those that wait in a run are scheduled or retrying.
    """

    PARKED = "parked"
    AWAITING = "awaiting"
    SLEEPING = "sleeping"

    @property
    def is_final(self) -> bool:
        """Whether the job has ended: it has not."""
        return False

    @property
    def is_waiting(self) -> bool:
        """Whether the job is in Redis, and no worker has claimed it yet: it is."""
        return True


class ErrorType(StrEnum):
    """Whether a retry may succeed."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


FINAL = frozenset({JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.EXPIRED})
WAITING = frozenset({JobStatus.BLOCKED, JobStatus.SCHEDULED, JobStatus.QUEUED, JobStatus.RETRYING})
OPEN = WAITING | {JobStatus.RUNNING}
STORED = tuple(status for status in JobStatus if status is not JobStatus.BUFFERED)
"""The states of jobs in Redis and in the archive, in the order of a job's life."""


class Transition(NamedTuple):
    """One row of the state machine."""

    verb: str
    event: str
    sources: frozenset[JobStatus]
    targets: frozenset[JobStatus]
    by: str
    script: str


def _row(verb: str, event: str, sources: frozenset[JobStatus], targets: str, by: str, script: str) -> Transition:
    return Transition(verb, event, sources, frozenset(JobStatus(word) for word in targets.split()), by, script)


_RUNNING = frozenset({JobStatus.RUNNING})
_NEW = frozenset({JobStatus.QUEUED, JobStatus.SCHEDULED})
_DUE = _NEW | {JobStatus.RETRYING}

TRANSITIONS: tuple[Transition, ...] = (
    _row("enqueue", "enqueued", frozenset(), "queued scheduled", "producer", "enqueue"),
    _row("block", "enqueued", frozenset(), "blocked", "producer", "block"),
    _row("unblock", "unblocked", frozenset({JobStatus.BLOCKED}), "queued scheduled", "relay, producer", "unblock"),
    _row("fire", "enqueued", frozenset(), "queued scheduled", "reaper", "fire"),
    _row("claim", "claimed", _DUE, "running", "child", "claim"),
    _row("complete", "completed", _RUNNING, "completed", "child", "settle"),
    _row("retry", "retried", _RUNNING, "retrying", "child, supervisor, reaper", "settle"),
    _row("fail", "failed", _RUNNING, "failed", "child, supervisor, reaper", "settle"),
    _row("release", "released", _RUNNING, "queued scheduled retrying", "draining child, supervisor", "settle"),
    _row("park", "parked", _RUNNING, "retrying", "child", "settle"),
    _row("withhold", "withheld", _RUNNING, "queued", "child", "settle"),
    _row(
        "expire",
        "expired",
        _NEW | _RUNNING,
        "expired",
        "supervisor, reaper, child",
        "settle",
    ),
    _row("move", "cancelled", _RUNNING, "cancelled", "child", "settle"),
    _row("cancel", "cancelled", WAITING | _RUNNING, "cancelled", "anyone", "cancel"),
    _row("reschedule", "rescheduled", _DUE, "queued scheduled retrying", "operator", "reschedule"),
    _row("signal", "signalled", WAITING, "blocked queued scheduled retrying", "anyone", "signal"),
    _row("edit", "edited", WAITING, "blocked queued scheduled retrying", "operator", "edit"),
    _row("debounce", "debounced", _NEW, "queued scheduled", "producer", "debounce"),
    _row("replay", "replayed", frozenset({JobStatus.FAILED}), "queued", "operator", "replay"),
)


# Checks of the values that a listing takes: numbers, texts, states and times.


def check_number(given: object, *, field: str = "limit", least: int = 1) -> None:
    """Check that a value is a whole number of at least `least`.

    Raises:
        InvalidJob: The value is not a whole number, or it is too small.
    """
    if isinstance(given, bool) or not isinstance(given, int) or given < least:
        raise InvalidJob(f"{field} is {given!r:.100}; give a whole number from {least}.", field=field)


def check_text(given: object, *, field: str) -> None:
    """Check that a value is a text to search for.

    Raises:
        InvalidJob: The value is not a text, or it is empty.
    """
    if not isinstance(given, str) or not given:
        raise InvalidJob(f"{field} is {given!r:.100}; give a text that is not empty.", field=field)


def read_status(given: Any) -> JobStatus:
    """Convert the state of a job in Redis, or its text, to a `JobStatus`.

    Raises:
        InvalidJob: There is no such state.
    """
    return _state_in({str(status): status for status in STORED}, given)


def read_state(given: Any) -> JobStatus | ShownState:
    """Convert a state that lists show, or its text.

    Raises:
        InvalidJob: There is no such state.
    """
    known: dict[str, JobStatus | ShownState] = {str(state): state for state in (*STORED, *ShownState)}
    return _state_in(known, given)


def _state_in(known: Mapping[str, S], given: Any) -> S:
    if not isinstance(given, str) or given not in known:
        raise InvalidJob(f"status is {given!r:.100}; give one of {', '.join(known)}.", field="status")
    return known[given]


def check_moment(given: object, *, field: str) -> None:
    """Check that a value is a datetime.

    Raises:
        InvalidJob: The value is not a datetime.
    """
    if not isinstance(given, datetime):
        raise InvalidJob(f"{field} is {given!r:.100}; give a datetime.", field=field)
