"""OpenTelemetry: spans of enqueues and runs, and trace contexts that travel with jobs. Needs the extra ``otel``.

It uses the API of OpenTelemetry only. The program chooses the SDK, the sampler and the exporter.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from jobfleet.errors import ConfigError, InvalidJob

try:
    from opentelemetry import baggage, trace
    from opentelemetry import context as contexts
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.context import Context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from opentelemetry.util.types import AttributeValue
except ImportError as _missing:
    raise ConfigError("Tracing needs the package opentelemetry-api; install jobfleet[otel].") from _missing

from jobfleet.functions.port import Carrier, EnqueueFacts, RunFacts, RunSpan, SendSpan
from jobfleet.functions.registry import REGISTRY
from jobfleet.model import Receipt
from jobfleet.model.signals import ForeignError
from jobfleet.outcome import Cancelled, Raised, TimedOut
from jobfleet.version import VERSION

if TYPE_CHECKING:
    from jobfleet.fleet.aio import AsyncFleet
    from jobfleet.fleet.sync import Fleet
    from jobfleet.functions.hooks import Hooks

__all__ = ["TraceIds", "instrument", "uninstrument"]


def instrument(
    fleet: Fleet | AsyncFleet | None = None,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    baggage: Iterable[str] = (),
) -> None:
    """Make spans of all enqueues and runs of this process from now on. Repeating the call replaces the settings.

    Producers and workers call it, for instance in the module of the jobs.

    Args:
        fleet: The fleet; None for the default fleet, and all fleets with its functions.
        tracer_provider: Where spans go; None for the global one.
        baggage: The keys of W3C Baggage that travel with jobs; default none. Their values are stored in Redis, and each
            worker reads them.

    Raises:
        InvalidJob: `baggage` is not a list of texts.
    """
    keys = (baggage,) if isinstance(baggage, str) else tuple(baggage)
    if isinstance(baggage, str) or not all(isinstance(key, str) for key in keys):
        raise InvalidJob(f"baggage is {baggage!r:.100}; give a list of keys.", field="baggage")
    tracer = trace.get_tracer("jobfleet", VERSION, tracer_provider)
    _hooks(fleet).trace(JobTracer(tracer, frozenset(keys)))


def uninstrument(fleet: Fleet | AsyncFleet | None = None) -> None:
    """Make no more spans. Jobs that run keep theirs.

    Args:
        fleet: The fleet; None for the default fleet.
    """
    _hooks(fleet).trace(None)


def _hooks(fleet: Fleet | AsyncFleet | None) -> Hooks:
    return REGISTRY.hooks if fleet is None else fleet.hooks


# The names of attributes: those of the conventions for messaging, and those of jobfleet within them.

SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
MESSAGE_ID: Final = "messaging.message.id"
CONVERSATION_ID: Final = "messaging.message.conversation_id"
ENVELOPE_SIZE: Final = "messaging.message.envelope.size"
BATCH_COUNT: Final = "messaging.batch.message_count"
CLIENT_ID: Final = "messaging.client.id"
ERROR_TYPE: Final = "error.type"

FUNCTION: Final = "messaging.jobfleet.function"
ATTEMPT: Final = "messaging.jobfleet.attempt"
FENCE: Final = "messaging.jobfleet.fence"
FLOW: Final = "messaging.jobfleet.flow.id"
STEP: Final = "messaging.jobfleet.step"
OUTCOME: Final = "messaging.jobfleet.outcome"
REASON: Final = "messaging.jobfleet.reason"
RETRY_DELAY: Final = "messaging.jobfleet.retry_delay"
CREATED: Final = "messaging.jobfleet.created"
LINK: Final = "messaging.jobfleet.link"
"""What a link leads to: ``enqueue``, ``previous_attempt``, ``parent`` or ``batch``."""

JOBFLEET: Final = "jobfleet"
SEND, PROCESS = "send", "process"
"""Types of operations of the conventions; the operations of jobfleet are ``enqueue`` and ``process``."""
ENQUEUE: Final = "enqueue"


class _Sending:
    """The span of an enqueue."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def answered(self, receipts: Sequence[Receipt]) -> None:
        """Record the ids, and the first error."""
        with contained("answered"):
            self._record(receipts)

    def _record(self, receipts: Sequence[Receipt]) -> None:
        span = self._span
        if len(receipts) == 1:
            span.set_attribute(MESSAGE_ID, receipts[0].id)
            span.set_attribute(CREATED, receipts[0].created)
        refused = [receipt.error for receipt in receipts if receipt.error is not None]
        if refused:
            span.record_exception(refused[0])
            span.set_attribute(ERROR_TYPE, type(refused[0]).__name__)
            text = f"{len(refused)} of {len(receipts)} jobs: {refused[0]}"
            span.set_status(trace.Status(trace.StatusCode.ERROR, text))


class JobTracer:
    """Makes the spans of enqueues and runs.

    Args:
        tracer: The tracer of OpenTelemetry.
        baggage: The keys of baggage that travel with jobs.
    """

    def __init__(self, tracer: trace.Tracer, baggage: frozenset[str]) -> None:
        self._tracer = tracer
        self._propagation = Propagation(baggage)

    def carrier(self) -> Carrier:
        """The current context, for a job."""
        return self._propagation.inject()

    @contextmanager
    def sending(self, facts: EnqueueFacts) -> Iterator[SendSpan]:
        """The span of an enqueue. Its context is the creation context of all its jobs."""
        attributes: dict[str, AttributeValue] = {
            SYSTEM: JOBFLEET,
            OPERATION_NAME: ENQUEUE,
            OPERATION_TYPE: SEND,
        }
        if facts.queue:
            attributes[DESTINATION] = facts.queue
        if facts.function:
            attributes[FUNCTION] = facts.function
        if facts.flow:
            attributes[FLOW] = facts.flow
        if facts.jobs != 1 or facts.flow:
            attributes[BATCH_COUNT] = facts.jobs
        name = f"{ENQUEUE} {facts.queue}".rstrip()
        start = partial(self._tracer.start_as_current_span, name, kind=trace.SpanKind.PRODUCER, attributes=attributes)
        with current(start, "enqueue") as span:
            try:
                yield _Sending(span)
            except Exception as error:
                with contained("enqueue.error"):
                    span.set_attribute(ERROR_TYPE, type(error).__name__)
                raise

    def run(self, facts: RunFacts) -> RunSpan:
        """Begin the span of a run: a child of the enqueue, with links to earlier attempts and to parents."""
        attributes: dict[str, AttributeValue] = {
            SYSTEM: JOBFLEET,
            OPERATION_NAME: PROCESS,
            OPERATION_TYPE: PROCESS,
            DESTINATION: facts.queue,
            MESSAGE_ID: facts.job_id,
            ENVELOPE_SIZE: facts.size,
            CLIENT_ID: facts.worker,
            FUNCTION: facts.function,
            ATTEMPT: facts.attempt,
            FENCE: facts.fence,
        }
        if facts.correlation_id:
            attributes[CONVERSATION_ID] = facts.correlation_id
        if facts.flow:
            attributes[FLOW] = facts.flow
        context = self._propagation.extract(facts.carrier)
        span = self._tracer.start_span(
            f"{PROCESS} {facts.queue}",
            context,
            kind=trace.SpanKind.CONSUMER,
            attributes=attributes,
            links=linked(_links(facts)),
        )
        return JobSpan(self._tracer, context, span)

    def within(self, carrier: Carrier) -> RunSpan:
        """The span of a run that another process has begun."""
        context = self._propagation.extract(carrier)
        return JobSpan(
            self._tracer, context, trace.NonRecordingSpan(trace.get_current_span(context).get_span_context())
        )


def _links(facts: RunFacts) -> Iterator[tuple[str, dict[str, str]]]:
    """The spans that a run is linked to: its enqueue, the attempt before, and the runs of its parents."""
    if facts.carrier:
        yield facts.carrier.get("traceparent", ""), {LINK: "enqueue"}
    if facts.previous:
        yield facts.previous, {LINK: "previous_attempt"}
    for parent, traceparent in facts.parents.items():
        yield traceparent, {LINK: "parent", MESSAGE_ID: parent}


# The spans of runs, in the process that claims jobs, and in the isolated processes of its jobs.


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
        attributes = {STEP: key}
        with current(lambda: self._tracer.start_as_current_span(f"step {key}", attributes=attributes), "step"):
            yield

    def step_kept(self, key: str) -> None:
        """Add an event: the step has returned its stored value."""
        with contained("step_kept"):
            trace.get_current_span().add_event("step kept", {STEP: key})

    def batch(self, spans: Sequence[RunSpan], function: str) -> RunSpan:
        """The span of a call that runs a batch. It has a trace of its own, and links to the runs."""
        mine = [one.span for one in spans if isinstance(one, JobSpan)]
        span: trace.Span = trace.INVALID_SPAN
        with contained("batch"):
            span = self._tracer.start_span(
                f"batch {function}",
                Context(),
                links=[trace.Link(one.get_span_context(), {LINK: "batch"}) for one in mine],
                attributes={SYSTEM: JOBFLEET, FUNCTION: function, BATCH_COUNT: len(spans)},
            )
        return JobSpan(self._tracer, Context(), span)

    def concluded(self, outcome: object, then: str, detail: Mapping[str, Any]) -> None:
        """Record how the run ends."""
        with contained("concluded"):
            self._conclude(outcome, then, detail)

    def _conclude(self, outcome: object, then: str, detail: Mapping[str, Any]) -> None:
        span = self.span
        past = "cancelled" if isinstance(outcome, Cancelled) else PAST.get(then, then)
        span.set_attribute(OUTCOME, past)
        if "delay" in detail:
            span.set_attribute(RETRY_DELAY, detail["delay"])
        if then not in ERRORS or past == "cancelled":
            return
        span.set_attribute(REASON, str(detail.get("reason", "error")))
        kind, text = _error(span, outcome, str(detail.get("reason", "error")))
        span.set_attribute(ERROR_TYPE, kind)
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


# Trace contexts as they travel with jobs: W3C Trace Context, and those keys of W3C Baggage that are allowed.


_TRACE, _BAGGAGE = TraceContextTextMapPropagator(), W3CBaggagePropagator()
TRACEPARENT = "traceparent"


class Propagation:
    """Writes the current context for a job, and reads it for its run.

    Args:
        keys: The keys of baggage that travel.
    """

    def __init__(self, keys: frozenset[str]) -> None:
        self._keys = keys

    def inject(self) -> dict[str, str]:
        """The current context."""
        carrier: dict[str, str] = {}
        _TRACE.inject(carrier)
        if self._keys:
            _BAGGAGE.inject(carrier, self._with_allowed(baggage.get_all()))
        return carrier

    def extract(self, carrier: Carrier) -> Context:
        """The context of a carrier; a new one, without any span, if the carrier is empty."""
        context = _TRACE.extract(carrier, Context())
        if self._keys:
            context = self._with_allowed(baggage.get_all(_BAGGAGE.extract(carrier, Context())), context)
        return context

    def _with_allowed(self, found: object, context: Context | None = None) -> Context:
        made = Context() if context is None else context
        for key, value in dict(found).items():  # type: ignore[call-overload]  # a mapping of texts
            if key in self._keys:
                made = baggage.set_baggage(key, value, made)
        return made


def traceparent_of(context: trace.SpanContext) -> str:
    """A span as a traceparent; empty if it is not valid."""
    carrier: dict[str, str] = {}
    if context.is_valid:
        _TRACE.inject(carrier, trace.set_span_in_context(trace.NonRecordingSpan(context), Context()))
    return carrier.get(TRACEPARENT, "")


def linked(traceparents: Iterator[tuple[str, dict[str, str]]]) -> list[trace.Link]:
    """Links to spans of other processes.

    Args:
        traceparents: The traceparent of each, and the attributes of the link. What is not a traceparent is left out.
    """
    links = []
    for text, attributes in traceparents:
        found = trace.get_current_span(_TRACE.extract({TRACEPARENT: text}, Context())).get_span_context()
        if found.is_valid:
            links.append(trace.Link(found, attributes))
    return links


# Keeps exceptions of OpenTelemetry, and of span processors, away from the jobs that are traced.
#
# A job must not lose its run, its ending or its enqueue because its span cannot be recorded.


_log = logging.getLogger("jobfleet.contrib")
_logged: set[tuple[str, str]] = set()
"""What was logged: the call, and the class of its exception."""


@contextmanager
def contained(call: str) -> Iterator[None]:
    """Log an exception instead of raising it, once per call and class in this process.

    Args:
        call: What is called, for the log.
    """
    try:
        yield
    except Exception as error:  # noqa: BLE001 - the user's span processors may raise anything
        kind = type(error).__name__
        if (call, kind) not in _logged:
            _logged.add((call, kind))
            _log.exception(
                "span.failed call=%s %s: its jobs are not affected; the same is not logged again", call, kind
            )


@contextmanager
def current(make: Callable[[], AbstractContextManager[trace.Span]], call: str) -> Iterator[trace.Span]:
    """Run a block within a span, or without one if the span cannot start.

    Args:
        make: Makes what starts and ends the span.
        call: What is called, for the log.
    """
    span: trace.Span = trace.INVALID_SPAN
    manager = None
    with contained(f"{call}.start"):
        made = make()
        span = made.__enter__()
        manager = made
    try:
        yield span
    except BaseException as error:
        if manager is not None:
            with contained(f"{call}.end"):
                manager.__exit__(type(error), error, error.__traceback__)
        raise
    if manager is not None:
        with contained(f"{call}.end"):
            manager.__exit__(None, None, None)


class TraceIds(logging.Filter):
    """A logging filter that sets `trace_id` and `span_id` of each record; both are empty outside of spans.

    Add it to a handler, and write ``%(trace_id)s`` in its format. The JSON logs of workers have both fields without it.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Set the ids of a record, and keep it."""
        context = trace.get_current_span().get_span_context()
        record.trace_id = trace.format_trace_id(context.trace_id) if context.is_valid else ""
        record.span_id = trace.format_span_id(context.span_id) if context.is_valid else ""
        return True
