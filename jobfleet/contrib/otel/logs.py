"""Trace ids in log lines."""

from __future__ import annotations

import logging

from opentelemetry import trace


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
