"""The spans that a test makes, and how they hang together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

KINDS = {trace.SpanKind.PRODUCER: "producer", trace.SpanKind.CONSUMER: "consumer", trace.SpanKind.INTERNAL: "internal"}


class Spans:
    """The spans that a test has made, in the order of their ends."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    @property
    def names(self) -> list[str]:
        return sorted(span.name for span in self.exporter.get_finished_spans())


def within(child: ReadableSpan, parent: ReadableSpan) -> bool:
    """Whether a span is the child of another one, in the same trace."""
    if child.parent is None or parent.context is None:
        return False
    return bool((child.parent.trace_id, child.parent.span_id) == (parent.context.trace_id, parent.context.span_id))


def links(span: ReadableSpan) -> dict[str, int]:
    """What a span is linked to: the kind of each link, and the id of the span."""
    return {str((link.attributes or {})["messaging.jobfleet.link"]): link.context.span_id for link in span.links}


def own(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of a span without those that differ in each run."""
    differs = {"messaging.client.id", "messaging.jobfleet.fence", "messaging.message.envelope.size"}
    return {name: value for name, value in (span.attributes or {}).items() if name not in differs}


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def named_as(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """A function with a name that the registry accepts."""
    module, _, own_name = name.rpartition(".")
    function.__module__, function.__name__, function.__qualname__ = module, own_name, own_name
    return function
