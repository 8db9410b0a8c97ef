"""Trace contexts as they travel with jobs: W3C Trace Context, and those keys of W3C Baggage that are allowed."""

from __future__ import annotations

from collections.abc import Iterator

from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from jobfleet.functions.port import Carrier

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
