"""What a job may ask for while it runs: `JobContext` and the progress callback."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from jobfleet.errors import JobCancelled
from jobfleet.model import Job
from jobfleet.model import seconds as as_seconds


@runtime_checkable
class ProgressCallback(Protocol):
    """What a parameter named ``progress_callback`` is given."""

    def __call__(self, value: float, message: str = "", details: Mapping[str, object] | None = None) -> None:
        """Report how far the job is.

        May be called from any thread, as often as one likes: it never waits for Redis, and reports are
        coalesced. The last one is always kept.

        Args:
            value: 0.0 to 1.0.
            message: A few words for people.
            details: Plain data.

        Raises:
            JobCancelled: Somebody asked for the job to stop.
        """


class RunPort(Protocol):
    """What the worker offers to a context."""

    @property
    def cancel_by(self) -> str | None:
        """Who asked for the job to stop; None when nobody did."""

    @property
    def must_stop(self) -> str | None:
        """Why the job is to stop, for whatever reason; None when it is not."""

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Take a progress report; from any thread, never waiting."""

    def extend(self, seconds: float) -> None:
        """Give the run so many seconds more than it has left before its time limit; from any thread."""

    def note(self, at_us: int, level: int, text: str) -> None:
        """Take a line of the job's own log; from any thread, never waiting."""

    async def steps(self) -> Mapping[str, bytes]:
        """The encoded results of the steps that earlier runs, or this one, have kept."""

    async def keep(self, key: str, record: bytes) -> None:
        """Keep the encoded result of a step, under the run's token."""


class _Alone:
    """The port of a context without a worker, for tests: it remembers what it is told."""

    def __init__(self) -> None:
        self.cancel_by: str | None = None
        self.must_stop: str | None = None
        self.reports: list[tuple[float, str, Mapping[str, object] | None]] = []
        self.extended = 0.0
        self.lines: list[tuple[int, int, str]] = []
        self.kept: dict[str, bytes] = {}

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        self.reports.append((value, message, details))

    def extend(self, seconds: float) -> None:
        self.extended += seconds

    def note(self, at_us: int, level: int, text: str) -> None:
        self.lines.append((at_us, level, text))

    async def steps(self) -> Mapping[str, bytes]:
        return dict(self.kept)

    async def keep(self, key: str, record: bytes) -> None:
        self.kept[key] = record


@dataclass(frozen=True, slots=True, kw_only=True)
class JobContext:
    """The job that runs, as its function sees it; injected into a parameter annotated ``JobContext``.

    Attributes:
        job_id: Its id.
        job: The job as it was asked for; options that the producer left unset are None.
        attempt: Which run this is, from 1.
        fence: A number that grows with every claim of the job: ``UPDATE … WHERE fence < :fence`` keeps an
            earlier run that is late from overwriting a later one's work.
        worker: The child that runs it.
        user: Whom it is attributed to.
        tags: As given by the producer.
        metadata: As given by the producer.
        correlation_id: As given by the producer.
        log: A logger whose lines carry the job's id.
    """

    job_id: str
    job: Job
    attempt: int = 1
    fence: int = 0
    worker: str = ""
    user: str | None = None
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    correlation_id: str | None = None
    nominal_time: datetime | None = None
    log: logging.LoggerAdapter[logging.Logger]
    port: RunPort = field(default_factory=_Alone, repr=False)

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked for this job to stop."""
        return self.port.cancel_by is not None

    def progress(self, value: float, message: str = "", details: Mapping[str, object] | None = None) -> None:
        """Report how far the job is; see `ProgressCallback`.

        Raises:
            JobCancelled: Somebody asked for the job to stop, or its time is over.
            ValueError: `value` is no number from 0 to 1.
        """
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"progress is {value!r}; give a number from 0.0 to 1.0.")
        self.port.report(float(value), message, details)
        why = self.port.must_stop
        if why is not None:
            raise JobCancelled(f"{self.job_id} is to stop: {why}.", job_id=self.job_id)

    def extend(self, seconds: float | timedelta) -> None:
        """Put off both time limits of this run; from any thread. Nothing happens once it is to stop.

        Args:
            seconds: How much more time it needs.

        Raises:
            InvalidJob: `seconds` is no duration.
        """
        self.port.extend(as_seconds(seconds, field="extend"))

    @classmethod
    def for_test(cls, **overrides: object) -> JobContext:
        """A context without a worker, for testing a job's function by hand."""
        job = Job("test", "test.function")
        values: dict[str, object] = {
            "job_id": f"default.0.{job.suffix}",
            "job": job,
            "log": logging.LoggerAdapter(logging.getLogger("jobfleet.job"), {}),
        }
        return cls(**{**values, **overrides})  # type: ignore[arg-type]  # overrides are checked by the constructor
