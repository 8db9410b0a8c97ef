"""The interfaces between a running job and what runs it: the run, an addition to its flow, and a tracer."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from jobfleet.model.flow import Flow
from jobfleet.model.signals import Suspended

if TYPE_CHECKING:
    from jobfleet.model import Job, Receipt


@runtime_checkable
class ProgressCallback(Protocol):
    """The function that a parameter named ``progress_callback`` receives."""

    def __call__(self, value: float, message: str = "", details: Mapping[str, object] | None = None) -> None:
        """Report the progress of the job.

        It may be called from any thread and at any rate. It never waits for Redis; reports are coalesced, and the last
        report is always stored.

        Args:
            value: The completed share, from 0.0 to 1.0.
            message: A short text for people.
            details: Further plain data.

        Raises:
            JobCancelled: Somebody has asked for the job to stop.
        """


T = TypeVar("T")


class RunPort(Protocol):
    """The methods of a run that a context uses."""

    @property
    def span(self) -> RunSpan | None:
        """The span of the run; None without a tracer."""

    @property
    def cancel_by(self) -> str | None:
        """Who has asked for the job to stop; None when nobody has."""

    @property
    def is_draining(self) -> bool:
        """Whether the process that runs the job drains."""

    @property
    def must_stop(self) -> str | None:
        """Why the job must stop; None when it need not stop."""

    def report(self, value: float, message: str, details: Mapping[str, object] | None) -> None:
        """Record a progress report; from any thread, without waiting."""

    def extend(self, seconds: float) -> None:
        """Add seconds to the time limits of the run; from any thread."""

    def note(self, at_us: int, level: int, text: str) -> None:
        """Record a line of the log of the job; from any thread, without waiting."""

    def emit(self, record: bytes) -> bool:
        """Take an encoded chunk of the job's output; from any thread, without waiting.

        Returns:
            Whether there is room for more. If not, the caller waits for it; the chunk was taken all the same.

        Raises:
            JobCancelled: The run has ended, or another run owns the job now.
        """

    async def wait_for_room(self) -> None:
        """Return once there is room for more chunks."""

    async def steps(self) -> Mapping[str, bytes]:
        """Read the encoded results of the steps that this run and earlier runs have stored.

        Returns:
            The records by their names, and under the empty name Redis's time in µs.
        """

    async def keep(self, key: str, record: bytes) -> None:
        """Store the encoded result of a step.

        Raises:
            JobCancelled: Another run owns the job now.
        """

    async def extend_flow(self, addition: FlowAddition) -> Sequence[str]:
        """Add jobs to the flow of the job; return their ids in the order of the addition."""

    async def acquire_lock(self, name: str, number: int, limit: int, timeout: float | None) -> int:
        """Take a lock, or wait for it; return the fencing token.

        Args:
            name: The name of the lock.
            number: Its number among the locks that this run takes.
            limit: How many may hold it at once.
            timeout: The most seconds to wait; None for no limit.

        Raises:
            LockTimeout: No place was free in time.
            LockConflict: Others hold the lock with another limit.
        """

    async def release_lock(self, name: str, number: int) -> None:
        """Release a lock, or end the attempt to take it."""

    async def lease_confirmed(self) -> None:
        """Return once the run's lease is known to stand, or it is to stop."""

    async def undo(self, job_id: str, names: Sequence[str]) -> Mapping[str, bytes] | None:
        """Delete records of the steps of another job, which has ended without completing; return those that are left.

        Returns:
            Nothing if that job has completed; None, without effect, if it is open.
        """

    def suspend(self, wait: Suspended) -> None:
        """End this run; a later one continues the job. A test without a worker returns, and the wait is over.

        Raises:
            Suspended: Always, but for a test.
        """

    def block(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await a coroutine on the event loop of the methods above; block this thread until it is done."""


@dataclass(frozen=True, slots=True)
class FlowAddition:
    """An addition of a running job to its flow.

    Attributes:
        flow: The jobs, and the edges among them.
        name: The name of the addition, which stays the same when the job runs again.
        after_this: Whether the jobs start only when the adding job has completed.
        joins: The numbers of the jobs that the children of the adding job wait for.
    """

    flow: Flow
    name: str
    after_this: bool
    joins: tuple[int, ...]


Carrier = Mapping[str, str]
"""A trace context as it travels with a job: the headers of W3C Trace Context and W3C Baggage by their names."""
NOTHING: Carrier = {}
TRACE = "trace"
"""The attribute of a job that carries a trace context; other jobs have that of the class, which is empty."""


def with_trace(job: Job, trace: Carrier) -> Job:
    """Return a copy of a job that carries a trace context; the job itself may be enqueued again in another one."""
    copied = copy(job)
    copied.__dict__.pop(TRACE, None)  # it is frozen, and no option: `replace` does not copy it
    if trace:
        copied.__dict__[TRACE] = trace
    return copied


def trace_of(job: Job) -> Carrier:
    """The trace context that a job carries; empty if it carries none."""
    return job.trace


@dataclass(frozen=True, slots=True, kw_only=True)
class EnqueueFacts:
    """An enqueue, for its span.

    Attributes:
        queue: The queue; empty if the jobs go to several.
        function: The function; empty if the jobs have several.
        jobs: The number of jobs.
        flow: The id of the flow; empty if the jobs are not of one.
    """

    queue: str
    function: str
    jobs: int
    flow: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """A run, for its span.

    Attributes:
        job_id: The id of the job.
        queue: Its queue.
        function: Its function.
        attempt: The number of the run, from 1.
        fence: The fencing token.
        worker: The id of the child.
        size: The bytes of its envelope.
        carrier: The trace context of its enqueue; empty if it has none.
        previous: The traceparent of the run that failed before; empty if there is none.
        parents: The traceparents of the runs of the jobs that it has waited for, by the ids of the jobs.
        correlation_id: The correlation id; empty if there is none.
        flow: The id of its flow; empty if it is in none.
        is_recurring: Whether a cron entry has fired it.
    """

    job_id: str
    queue: str
    function: str
    attempt: int
    fence: int
    worker: str
    size: int
    carrier: Carrier = field(default_factory=dict)
    previous: str = ""
    parents: Mapping[str, str] = field(default_factory=dict)
    correlation_id: str = ""
    flow: str = ""
    is_recurring: bool = False


class SendSpan(Protocol):
    """The span of an enqueue."""

    def answered(self, receipts: Sequence[Receipt]) -> None:
        """The fleet has answered: one receipt per job."""


class RunSpan(Protocol):
    """The span of a run. Nothing that it does may raise."""

    @property
    def traceparent(self) -> str:
        """The span as a W3C traceparent, for links of later runs; empty if there is none."""

    def fields(self) -> Mapping[str, str]:
        """The fields of log lines within the span: ``trace_id`` and ``span_id``."""

    def enter(self) -> None:
        """Make the span current in the running context, which ends with the code of the run."""

    def step(self, key: str) -> AbstractContextManager[object]:
        """The span of a step that runs now."""

    def step_kept(self, key: str) -> None:
        """A step has returned its stored value."""

    def batch(self, spans: Sequence[RunSpan], function: str) -> RunSpan:
        """The span of a call that runs a batch, of which this run is the first.

        Args:
            spans: The spans of all its runs.
            function: The name of the function.
        """

    def concluded(self, outcome: object, then: str, detail: Mapping[str, Any]) -> None:
        """It is decided how the run ends.

        Args:
            outcome: One of `jobfleet.outcome`.
            then: What follows: the name of the decision in lower case, such as ``complete``, ``retry`` or ``fail``.
            detail: Further facts: ``delay`` of a retry in seconds, ``reason`` of a failure.
        """

    def end(self) -> None:
        """The run has ended."""


class Tracer(Protocol):
    """Makes the spans of enqueues and runs."""

    def carrier(self) -> Carrier:
        """The trace context of the running code, for a job that it enqueues."""

    def sending(self, facts: EnqueueFacts) -> AbstractContextManager[SendSpan]:
        """The span of an enqueue, which is current within the block."""

    def run(self, facts: RunFacts) -> RunSpan:
        """Begin the span of a run."""

    def within(self, carrier: Carrier) -> RunSpan:
        """The span of a run whose span another process has begun: here it is only made current."""
