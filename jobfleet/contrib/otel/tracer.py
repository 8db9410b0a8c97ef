"""`JobTracer`: the tracer of a registry, over one of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from opentelemetry import trace
from opentelemetry.util.types import AttributeValue

from jobfleet.contrib.otel import names
from jobfleet.contrib.otel.containment import contained, current
from jobfleet.contrib.otel.propagation import Propagation, linked
from jobfleet.contrib.otel.spans import JobSpan
from jobfleet.functions.port import Carrier, EnqueueFacts, RunFacts, RunSpan, SendSpan
from jobfleet.model import Receipt


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
            span.set_attribute(names.MESSAGE_ID, receipts[0].id)
            span.set_attribute(names.CREATED, receipts[0].created)
        refused = [receipt.error for receipt in receipts if receipt.error is not None]
        if refused:
            span.record_exception(refused[0])
            span.set_attribute(names.ERROR_TYPE, type(refused[0]).__name__)
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
            names.SYSTEM: names.JOBFLEET,
            names.OPERATION_NAME: names.ENQUEUE,
            names.OPERATION_TYPE: names.SEND,
        }
        if facts.queue:
            attributes[names.DESTINATION] = facts.queue
        if facts.function:
            attributes[names.FUNCTION] = facts.function
        if facts.flow:
            attributes[names.FLOW] = facts.flow
        if facts.jobs != 1 or facts.flow:
            attributes[names.BATCH_COUNT] = facts.jobs
        name = f"{names.ENQUEUE} {facts.queue}".rstrip()
        start = partial(self._tracer.start_as_current_span, name, kind=trace.SpanKind.PRODUCER, attributes=attributes)
        with current(start, "enqueue") as span:
            try:
                yield _Sending(span)
            except Exception as error:
                with contained("enqueue.error"):
                    span.set_attribute(names.ERROR_TYPE, type(error).__name__)
                raise

    def run(self, facts: RunFacts) -> RunSpan:
        """Begin the span of a run: a child of the enqueue, with links to earlier attempts and to parents."""
        attributes: dict[str, AttributeValue] = {
            names.SYSTEM: names.JOBFLEET,
            names.OPERATION_NAME: names.PROCESS,
            names.OPERATION_TYPE: names.PROCESS,
            names.DESTINATION: facts.queue,
            names.MESSAGE_ID: facts.job_id,
            names.ENVELOPE_SIZE: facts.size,
            names.CLIENT_ID: facts.worker,
            names.FUNCTION: facts.function,
            names.ATTEMPT: facts.attempt,
            names.FENCE: facts.fence,
        }
        if facts.correlation_id:
            attributes[names.CONVERSATION_ID] = facts.correlation_id
        if facts.flow:
            attributes[names.FLOW] = facts.flow
        context = self._propagation.extract(facts.carrier)
        span = self._tracer.start_span(
            f"{names.PROCESS} {facts.queue}",
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
        yield facts.carrier.get("traceparent", ""), {names.LINK: "enqueue"}
    if facts.previous:
        yield facts.previous, {names.LINK: "previous_attempt"}
    for parent, traceparent in facts.parents.items():
        yield traceparent, {names.LINK: "parent", names.MESSAGE_ID: parent}
