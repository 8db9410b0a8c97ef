"""OpenTelemetry: spans of enqueues and runs, and trace contexts that travel with jobs. Needs the extra ``otel``.

It uses the API of OpenTelemetry only. The program chooses the SDK, the sampler and the exporter.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jobfleet.errors import ConfigError, InvalidJob
from jobfleet.functions.registry import REGISTRY

try:
    from opentelemetry import trace
except ImportError as _missing:
    raise ConfigError("Tracing needs the package opentelemetry-api; install jobfleet[otel].") from _missing

from jobfleet.contrib.otel.tracer import JobTracer, TraceIds
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
