"""Keeps exceptions of OpenTelemetry, and of span processors, away from the jobs that are traced.

A job must not lose its run, its ending or its enqueue because its span cannot be recorded.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from opentelemetry import trace

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
