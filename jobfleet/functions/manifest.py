"""The record of a function that workers publish, so that a producer that knows only its name has its options. Pure."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from jobfleet.codec import decode, encode
from jobfleet.errors import EncodingError
from jobfleet.model.fields import SHARED_TEXTS
from jobfleet.model.templates import EVERY_GROUP, GroupTemplate, placeholders

if TYPE_CHECKING:  # a supervisor reads what is published, and knows no function
    from jobfleet.functions.registry import JobFunction
    from jobfleet.model.limits import DeclaredLimit

PUBLISHED = (
    "queue", "priority", "delay", "expires_in", "result_ttl", "timeout", "hard_timeout", "max_retries", "retry_delay",
    "retry_for", "retry_backoff", "retry_jitter", "max_crashes", "unique", "unique_for", "on_conflict", "debounce_max",
    "group", "order", "keep_last", "version", "durability", *SHARED_TEXTS,
)  # fmt: skip


def function_record(function: JobFunction[..., Any, Any]) -> bytes:
    """Encode the options and the parameters of a function for publication."""
    # Supervisors do not need it.
    from jobfleet.functions.published import SCHEMAS, TAKES, schemas_of, signature_of, takes_of

    options = {name: _plain(value) for name, value in function.given.items() if name in PUBLISHED and value is not None}
    if isinstance(delays := options.get("retry_delay"), list):
        options |= {"retry_delay": delays[0], "retry_delays": delays}  # older revisions read one number
    if function.delay_of is not None:
        options["delay_function"] = True
    if issubclass(TimeoutError, function.discard_on):
        options["discards_timeouts"] = True
    fields: dict[str, object] = {
        "options": options,
        "parameters": signature_of(function),
        "doc": _first_line(function),
        "run_in": function.run_in,
    }
    if (takes := takes_of(function)) is not None:
        fields[TAKES] = takes
        fields[SCHEMAS] = schemas_of(function, takes)
    if function.cron is not None:
        fields["cron"] = function.cron.dump()
    if isinstance(options.get("group"), GroupTemplate):
        fields["group"] = str(options.pop("group"))  # not among the options: older revisions would take it as a name
    if function.limit is not None:
        fields["limit"] = {"concurrency": function.limit.concurrency, "rate": function.limit.rate}
    if function.gates is not None:
        breaker = function.gates.breaker
        limits = [one.name for one in function.gates.limits]
        fields["gates"] = {"limits": limits, "per": "" if breaker is None else breaker.per}
    if "unique" in options or "group" in fields:
        fields["call"] = list(_call_of(function))
    return encode(fields)


def read_function(record: bytes) -> dict[str, Any]:
    """The options of a published record; empty when it cannot be read."""
    fields = _read(record)
    options, group = fields.get("options"), fields.get("group")
    found = options if isinstance(options, dict) else {}
    return {**found, "group": GroupTemplate(group)} if isinstance(group, str) else found


def read_run_in(record: bytes) -> str:
    """Where a published function runs: ``async``, ``thread`` or ``process``; empty when it cannot be read."""
    return str(_read(record).get("run_in") or "")


def read_signature(record: bytes) -> tuple[str, str]:
    """The parameters of a published function as text, and the first line of its docstring."""
    fields = _read(record)
    return str(fields.get("parameters") or ""), str(fields.get("doc") or "")


def read_version(record: bytes) -> int:
    """The version of the arguments of a published function."""
    from jobfleet.functions.options import schema_in  # supervisors do not need it

    return schema_in(read_function(record))


def read_limit(record: bytes) -> DeclaredLimit | None:
    """The limit that a published function declares; None when it declares none, or it cannot be read."""
    limit = _read(record).get("limit")
    if not isinstance(limit, dict):
        return None
    from jobfleet.model.limits import DeclaredLimit  # few functions declare limits

    options = read_function(record)
    group = options.get("group")
    place = EVERY_GROUP if isinstance(group, GroupTemplate) else group
    most, rate = limit.get("concurrency"), limit.get("rate")
    return DeclaredLimit(
        options.get("queue") or "default",
        place,
        most if isinstance(most, int) else None,
        rate if isinstance(rate, str) else None,
    )


def read_gates(record: bytes) -> tuple[list[str], str]:
    """The named limits of a published function, and what has its breaker (`Breaker.per`); empty without them."""
    gates = _read(record).get("gates")
    limits, per = (gates.get("limits"), gates.get("per")) if isinstance(gates, dict) else (None, None)
    names = [name for name in limits if isinstance(name, str)] if isinstance(limits, list) else []
    return names, per if isinstance(per, str) else ""


def read_parameters(record: bytes) -> tuple[inspect.Parameter, ...]:
    """The parameters that a published unique key or group may name, with the defaults that they need."""
    call = _read(record).get("call")
    found = []
    for row in call if isinstance(call, list) else ():
        with suppress(TypeError, ValueError):
            name, by_position, default = row
            kind = inspect.Parameter.POSITIONAL_OR_KEYWORD if by_position else inspect.Parameter.KEYWORD_ONLY
            found.append(inspect.Parameter(name, kind, default=default[0] if default else inspect.Parameter.empty))
    return tuple(found)


def _read(record: bytes) -> dict[str, Any]:
    try:
        value = decode(record)
    except EncodingError:
        return {}
    return value if isinstance(value, dict) else {}


def _call_of(function: JobFunction[..., Any, Any]) -> Iterator[list[object]]:
    """One row per parameter: its name, whether it may be positional, a list with the default that a template needs."""
    unique, group = function.given.get("unique"), function.given.get("group")
    named = {
        *(placeholders(unique) if isinstance(unique, str) else ()),
        *(placeholders(group, "group") if isinstance(group, GroupTemplate) else ()),
    }
    for parameter in function.parameters or ():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        default: list[object] = []
        if parameter.name in named and parameter.default is not parameter.empty:
            with suppress(EncodingError):
                encode(parameter.default)
                default = [parameter.default]
        yield [parameter.name, parameter.kind is not parameter.KEYWORD_ONLY, default]


def read_cron(record: bytes) -> dict[str, Any] | None:
    """The schedule of a published function; None when it has none, or it cannot be read."""
    schedule = _read(record).get("cron")
    return schedule if isinstance(schedule, dict) else None


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, tuple):
        return list(value)
    if callable(value):
        return True  # a unique key that only Python code can make
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _first_line(function: JobFunction[..., Any, Any]) -> str:
    return (function.__doc__ or "").strip().partition("\n")[0][:200]
