"""What workers publish of a function, so that a producer that knows only its name gets its options. Pure."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import Any

from jobfleet.client.registry import JobFunction
from jobfleet.codec import decode, encode
from jobfleet.errors import EncodingError

PUBLISHED = (
    "queue", "priority", "delay", "expires_in", "result_ttl", "timeout", "hard_timeout", "max_retries", "retry_delay",
    "retry_backoff", "retry_jitter", "max_crashes",
)  # fmt: skip


def function_record(function: JobFunction[..., Any, Any]) -> bytes:
    """A function's options and parameters, as published."""
    options = {name: _plain(value) for name, value in function.given.items() if name in PUBLISHED and value is not None}
    if issubclass(TimeoutError, function.discard_on):
        options["discards_timeouts"] = True
    record = {
        "options": options,
        "parameters": parameters_of(function),
        "doc": _first_line(function),
        "run_in": function.run_in,
    }
    if function.cron is not None:
        record["cron"] = function.cron.dump()
    return encode(record)


def read_function(record: bytes) -> dict[str, Any]:
    """The options out of a published record; none when it cannot be read."""
    try:
        value = decode(record)
    except EncodingError:
        return {}
    options = value.get("options") if isinstance(value, dict) else None
    return options if isinstance(options, dict) else {}


def read_cron(record: bytes) -> dict[str, Any] | None:
    """When a published function runs by itself; None when it does not, or it cannot be read."""
    try:
        value = decode(record)
    except EncodingError:
        return None
    said = value.get("cron") if isinstance(value, dict) else None
    return said if isinstance(said, dict) else None


def parameters_of(function: JobFunction[..., Any, Any]) -> str:
    """The parameters that a caller gives, as text."""
    hidden = function.injection.hidden
    try:
        signature = inspect.signature(function.function)
    except (TypeError, ValueError):
        return "(…)"
    kept = [parameter for parameter in signature.parameters.values() if parameter.name not in hidden]
    return str(signature.replace(parameters=kept))


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _first_line(function: JobFunction[..., Any, Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0][:200]
