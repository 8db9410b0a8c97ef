"""The spans of runs, in the process that claims jobs, and in the isolated processes of its jobs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context

from jobfleet.contrib.otel import names
from jobfleet.contrib.otel.containment import contained, current
from jobfleet.contrib.otel.propagation import traceparent_of
from jobfleet.functions.port import RunSpan
from jobfleet.model.signals import ForeignError
from jobfleet.outcome import Cancelled, Raised, TimedOut

PAST = {
    "complete": "completed", "retry": "retried", "fail": "failed", "release": "released", "park": "parked",
    "putback": "withheld", "expire": "expired", "drop": "lost",
}  # fmt: skip
"""How a run has ended, by the decision that follows from it."""
ERRORS = frozenset({"retry", "fail"})


class JobSpan:
    """The span of a run.

    Args:
        tracer: Makes the spans within it.
        context: The context in which it is current.
        span: The span.
    """

    def __init__(self, tracer: trace.Tracer, context: Context, span: trace.Span) -> None:
        self._tracer = tracer
        self.span: trace.Span = span
        self.context: Context = trace.set_span_in_context(span, context)
        self.traceparent: str = traceparent_of(span.get_span_context())

    def fields(self) -> Mapping[str, str]:
        """The fields of log lines."""
        found = self.span.get_span_context()
        if not found.is_valid:
            return {}
        return {"trace_id": trace.format_trace_id(found.trace_id), "span_id": trace.format_span_id(found.span_id)}

    def enter(self) -> None:
        """Make the span current. The running context ends with the code of the run, so nothing restores it."""
        contexts.attach(self.context)

    @contextmanager
    def step(self, key: str) -> Iterator[None]:
        """The span of a step that runs now."""
        attributes = {names.STEP: key}
        with current(lambda: self._tracer.start_as_current_span(f"step {key}", attributes=attributes), "step"):
            yield

    def step_kept(self, key: str) -> None:
        """Add an event: the step has returned its stored value."""
        with contained("step_kept"):
            trace.get_current_span().add_event("step kept", {names.STEP: key})

    def batch(self, spans: Sequence[RunSpan], function: str) -> RunSpan:
        """The span of a call that runs a batch. It has a trace of its own, and links to the runs."""
        mine = [one.span for one in spans if isinstance(one, JobSpan)]
        span: trace.Span = trace.INVALID_SPAN
        with contained("batch"):
            span = self._tracer.start_span(
                f"batch {function}",
                Context(),
                links=[trace.Link(one.get_span_context(), {names.LINK: "batch"}) for one in mine],
                attributes={names.SYSTEM: names.JOBFLEET, names.FUNCTION: function, names.BATCH_COUNT: len(spans)},
            )
        return JobSpan(self._tracer, Context(), span)

    def concluded(self, outcome: object, then: str, detail: Mapping[str, Any]) -> None:
        """Record how the run ends."""
        with contained("concluded"):
            self._conclude(outcome, then, detail)

    def _conclude(self, outcome: object, then: str, detail: Mapping[str, Any]) -> None:
        span = self.span
        past = "cancelled" if isinstance(outcome, Cancelled) else PAST.get(then, then)
        span.set_attribute(names.OUTCOME, past)
        if "delay" in detail:
            span.set_attribute(names.RETRY_DELAY, detail["delay"])
        if then not in ERRORS or past == "cancelled":
            return
        span.set_attribute(names.REASON, str(detail.get("reason", "error")))
        kind, text = _error(span, outcome, str(detail.get("reason", "error")))
        span.set_attribute(names.ERROR_TYPE, kind)
        span.set_status(trace.Status(trace.StatusCode.ERROR, text))

    def end(self) -> None:
        """End the span."""
        with contained("end"):
            self.span.end()


def _error(span: trace.Span, outcome: object, reason: str) -> tuple[str, str]:
    """Record the error of an outcome; return its type and a text."""
    if isinstance(outcome, TimedOut):
        return "timeout", f"longer than {outcome.limit:g} s"
    if not isinstance(outcome, Raised):
        return reason, str(getattr(outcome, "reason", reason))
    error = outcome.error
    if isinstance(error, ForeignError):  # of another process, where its class may exist only
        attributes = {
            "exception.type": error.error_class,
            "exception.message": error.summary,
            "exception.stacktrace": error.traceback,
        }
        span.add_event("exception", attributes)
        return error.error_class, error.summary
    span.record_exception(error)
    return type(error).__name__, f"{type(error).__name__}: {error}"
