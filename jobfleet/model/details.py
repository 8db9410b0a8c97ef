"""A job in full: its state, what it was enqueued with, and what it waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, NamedTuple, TypeVar

from jobfleet.model.result import JobResult
from jobfleet.model.status import Priority

T_co = TypeVar("T_co", covariant=True)


class Parent(NamedTuple):
    """A job that another job waits for.

    Attributes:
        id: The id of the parent.
        status: Its final status; empty if it has not ended.
    """

    id: str
    status: str


@dataclass(frozen=True, kw_only=True)
class JobDetails(Generic[T_co]):
    """Everything that is known about a job.

    Redis keeps the arguments and the options of a job until it ends; of a dead letter, until it is purged.

    Attributes:
        job: Its state, as `poll` returns it.
        priority: Its priority; None if it has ended and is not a dead letter.
        args: The positional arguments; None if they are not stored any more, or cannot be read.
        kwargs: The named arguments; None likewise.
        unknown_zones: Time zones of the arguments that this machine does not know; such times keep only their offset.
        options: The options of the job itself, by the names that `Job` has; durations are timedeltas. The options of
            its function are not among them.
        max_retries: The number of retries after failed runs that applies to it; None if it has ended, or if only
            `retry_for` bounds the number.
        retry_for: The time from its first due time after which no retry is due; None if it has ended, or for no bound.
        crashes: Runs whose process died while the job was alone in it; they use no retry. 0 if that is not stored any
            more.
        max_crashes: The number of such runs at which it fails; None if it has ended and is not a dead letter.
        expires_at: The time at which it expires if it has not started; None for no expiry.
        parents: The jobs that it waits for or has waited for, in the order of `depends_on`.
        callbacks: The ids of its callbacks, by ``on_success`` and ``on_failure``.
        schema_version: The version of its arguments, as its producer knew it.
        function_version: The version that its function takes, as workers have published it; None if they have not.
        callback: ``on_success`` or ``on_failure`` if it is a callback of its parent; None if it is none.
        flow: The id of its flow; None if it is in none, or has ended and is not a dead letter.
        history: One line per run and per replay, oldest first. A line of a run has its number, the time of its end
            (µs since 1970) and what happened. A line of a replay has ``replayed``, the time, who asked (- for nobody
            in particular), and ``edited`` if the arguments were changed.
    """

    job: JobResult[T_co]
    priority: Priority | None = None
    args: tuple[Any, ...] | None = None
    kwargs: Mapping[str, Any] | None = None
    unknown_zones: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    max_retries: int | None = None
    retry_for: timedelta | None = None
    crashes: int = 0
    max_crashes: int | None = None
    expires_at: datetime | None = None
    parents: tuple[Parent, ...] = ()
    callbacks: Mapping[str, str] = field(default_factory=dict)
    schema_version: int = 1
    function_version: int | None = None
    callback: str | None = None
    flow: str | None = None
    history: tuple[str, ...] = ()
