"""The interface of a tracer: what an integration such as `jobfleet.contrib.otel` implements.

A registry has at most one tracer (`Hooks.tracer`). Without one, an enqueue and a run each check that once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from jobfleet.model import Job, Receipt

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
