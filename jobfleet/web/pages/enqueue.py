"""Enqueue a job by the name of its function: `POST /api/v1/jobs`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from jobfleet.clock import delays, seconds_or_text
from jobfleet.errors import InvalidJob
from jobfleet.functions.published import WORDS, kind_of
from jobfleet.model import Job, Priority, check_function_name
from jobfleet.model.audit import AUTHORITIES
from jobfleet.model.option_checks import similar_function
from jobfleet.model.option_types import LEVELS, ORDERS
from jobfleet.model.templates import ON_CONFLICT, SCOPES
from jobfleet.operations.by_name import declared
from jobfleet.operations.operation import drive
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.route import BODY, Action, Data, Parameter, Values
from jobfleet.web.safety.caller import Caller, Role

PRIORITIES = [priority.name.lower() for priority in reversed(Priority)]
TIME: dict[str, Any] = {"type": ["number", "string"], "minimum": 0, "examples": [30, "90s", "24h"]}
COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 200}
TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
ONE_OF: dict[str, Any] = {"type": "string"}


def _time(name: str, value: Any) -> float:
    return seconds_or_text(value, field=name)


def _scope(name: str, value: Any) -> str | float:
    return value if value in SCOPES else _time(name, value)


def _priority(name: str, value: Any) -> Priority:
    if value not in PRIORITIES:
        raise InvalidJob(f"{name} is {value!r:.100}; use {', '.join(PRIORITIES)}.", field=name)
    return Priority[value.upper()]


def _moment(name: str, value: Any) -> datetime:
    remedy = "give an ISO time with a zone, such as 2026-11-25T14:00:00Z."
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidJob(f"{name} is {value!r:.100}; {remedy}", field=name) from None
    if moment.tzinfo is None:
        raise InvalidJob(f"{name} is {value!r:.100}, which has no zone; {remedy}", field=name)
    return moment


def _texts(name: str, value: Any) -> list[str]:
    if not all(isinstance(one, str) for one in value):
        raise InvalidJob(f"{name} holds something other than a text; give a list of texts.", field=name)
    return list(value)


def _callback(name: str, value: Any) -> Job:
    return Job(check_function_name(value, field=name), value)


def _delays(name: str, value: Any) -> Any:
    return delays(value, field=name)


class Field(NamedTuple):
    """A field of the body.

    Attributes:
        help: What it is.
        schema: Its schema in the document. A value of another type is refused.
        convert: Converts the value, from the name and the value; None if the job takes it as it is.
        option: The option of the job, if it has another name.
    """

    help: str
    schema: Mapping[str, Any]
    convert: Callable[[str, Any], Any] | None = None
    option: str = ""


FIELDS: dict[str, Field] = {
    "function": Field("The name of a function that workers have published.", TEXT | {"maxLength": 128}),
    "args": Field("The positional arguments.", {"type": "array"}),
    "kwargs": Field("The named arguments.", {"type": "object"}),
    "id": Field(
        "Your own id: the same request again makes no second job.",
        {"type": "string", "pattern": "^[A-Za-z0-9_.:-]{1,64}$"},
    ),
    "name": Field("A label to show; default the name of the function.", TEXT),
    "queue": Field("A queue that exists; default that of the function.", TEXT | {"maxLength": 32}),
    "priority": Field("The priority.", ONE_OF | {"enum": PRIORITIES}, _priority),
    "delay": Field("Do not start the job before this time from now.", TIME, _time),
    "at": Field(
        "Do not start the job before this time.", {"type": "string", "format": "date-time"}, _moment, "scheduled_at"
    ),
    "max_retries": Field("Most retries after failed runs.", COUNT),
    "retry_delay": Field(
        "Delay before the first retry, or before each retry.", {"type": ["number", "string", "array"]}, _delays
    ),
    "retry_for": Field("No retry is due later than this after the first run was due.", TIME, _time),
    "retry_backoff": Field("Factor by which the delay grows.", {"type": "number", "minimum": 1, "maximum": 100}),
    "retry_jitter": Field("Whether delays have jitter.", {"type": "boolean"}),
    "max_crashes": Field("Crashes of its worker after which the job fails.", COUNT | {"minimum": 1}),
    "timeout": Field("Longest time of a run.", TIME, _time),
    "hard_timeout": Field("Time after which a run is ended by force.", TIME, _time),
    "expires_in": Field("The job expires if it has not started within this time.", TIME, _time),
    "tags": Field("At most 20 tags.", TEXTS | {"maxItems": 20}, _texts),
    "metadata": Field("Data to store with the job.", {"type": "object"}),
    "user": Field("The user of the job.", TEXT),
    "session": Field("The session of the job.", TEXT),
    "correlation_id": Field("Correlation id for logs and the job's context.", TEXT),
    "result_ttl": Field("How long to keep the result.", TIME, _time),
    "unique": Field("A key that one job holds at a time; {0} is its first argument.", TEXT),
    "unique_for": Field("How long the job holds its key: queued, open or a time.", TIME, _scope),
    "on_conflict": Field("What to do if another job holds the key.", ONE_OF | {"enum": list(ON_CONFLICT)}),
    "debounce_max": Field("Longest time that debounce delays a job.", TIME, _time),
    "depends_on": Field("Ids of jobs that must complete first.", TEXTS | {"minItems": 1, "maxItems": 1000}, _texts),
    "on_success": Field("A function to run when the job completes.", TEXT | {"maxLength": 128}, _callback),
    "on_failure": Field(
        "A function to run when the job fails for good or expires.", TEXT | {"maxLength": 128}, _callback
    ),
    "group": Field("The group of the job, for fair shares and limits.", TEXT),
    "order": Field("Run the jobs of the group one at a time, in this order.", ONE_OF | {"enum": list(ORDERS)}),
    "durability": Field("What must be confirmed.", ONE_OF | {"enum": list(LEVELS)}),
}

_DISPLACED = {"replace": "cancels", "debounce": "gives other arguments to"}
"""The ways of a conflict that change a job of others, and what they do to it."""


async def enqueue(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Enqueue a job; with an id, the same request again returns the same job."""
    body = values[BODY]
    job = job_of(body)
    if not caller.role.permits(Role.OPERATOR):
        await _check_displacing(dashboard, job, caller)
    receipt = await dashboard.fleet.submit_by_name(job, request_hash(body))
    return {
        "id": receipt.id,
        "created": receipt.created,
        "status": str(receipt.status),
        "durability": receipt.durability,
        "callbacks": dict(receipt.callbacks),
    }


async def _check_displacing(dashboard: Dashboard, job: Job, caller: Caller) -> None:
    """Refuse a request that chooses which job is displaced, or that one is.

    A function that declares ``replace`` or ``debounce`` displaces the holder of the key that it declares.
    """
    field, mode, own = "on_conflict", job.on_conflict, ""
    if mode is None and (job.unique is not None or job.debounce_max is not None or job.queue is not None):
        options = await drive(dashboard.fleet.store, declared(dashboard.fleet.context, str(job.function)))
        mode, own = options.get("on_conflict"), f"{job.function} declares "
        chosen = {"unique": job.unique, "debounce_max": job.debounce_max, "queue": job.queue}
        if job.queue == options.get("queue", "default"):
            del chosen["queue"]
        field = next((name for name, value in chosen.items() if value is not None), "")
    if field and (displaced := _DISPLACED.get(str(mode))):
        choice = f"{field} is given, and {own}" if own else ""
        raise refusal(
            "forbidden",
            f"{choice}on_conflict {'=' if own else 'is'} {mode!r}, which {displaced} the job that holds the key: that "
            f"needs the role {Role.OPERATOR}; {caller.name} is {caller.role}. Use 'existing' or 'raise'.",
            field=field,
        )


def job_of(values: Values) -> Job:
    """Make the job that a body describes.

    Raises:
        InvalidJob: A field is missing, unknown or wrong; `field` names it.
    """
    given = {name: value for name, value in values.items() if value is not None}
    options: dict[str, Any] = {}
    for name, value in given.items():
        field = FIELDS.get(name)
        if field is None:
            close = similar_function(name, FIELDS)
            raise InvalidJob(
                f"There is no field {name!r:.100}{f'; did you mean {close!r}?' if close else '.'}", field=name
            )
        _check_kind(name, value, field.schema["type"])
        options[field.option or name] = value if field.convert is None else field.convert(name, value)
    if "function" not in options:
        raise InvalidJob(
            "function is missing; give the name of a function that workers have published.", field="function"
        )
    if "delay" in options and "scheduled_at" in options:
        raise InvalidJob("delay and at are both given; give one.", field="at")
    function = options.pop("function")
    check_function_name(function)
    return Job(options.pop("name", function), function, options.pop("args", ()), options.pop("kwargs", {}), **options)


def _check_kind(name: str, value: object, wanted: str | list[str]) -> None:
    kinds = [wanted] if isinstance(wanted, str) else wanted
    kind = kind_of(value)
    if kind not in kinds and not (kind == "integer" and "number" in kinds):
        raise InvalidJob(f"{name} is {WORDS[kind]}; give {' or '.join(WORDS[one] for one in kinds)}.", field=name)


def request_hash(values: Values) -> str:
    """A hash of a body, in which the order of the fields and fields of null do not count."""
    given = {name: value for name, value in values.items() if value is not None}
    return sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()


ACTIONS = (
    Action(
        path="/jobs",
        summary="Enqueue a job of a published function; with an id, once per request.",
        act=enqueue,
        answer={"id": str, "created": bool, "status": str, "durability": str, "callbacks": dict[str, str]},
        parameters=tuple(
            Parameter(name=name, help=field.help, place="body", schema=field.schema, is_required=name == "function")
            for name, field in FIELDS.items()
        ),
        role=Role(str(AUTHORITIES["job"].role)),
    ),
)
