"""One job: enqueue it by the name of its function, see its state and why it is not running, change and signal it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

from jobfleet.client.json_form import JsonForm
from jobfleet.clock import delays, seconds_or_text
from jobfleet.errors import InvalidJob, JobNotFound
from jobfleet.functions.published import WORDS, kind_of
from jobfleet.model import Job, JobResult, JobStatus, Priority, check_function_name
from jobfleet.model.audit import AUTHORITIES
from jobfleet.model.fields import TEXTS as FREE_TEXTS
from jobfleet.model.life import LifeEvent
from jobfleet.model.names import similar_function
from jobfleet.model.option_types import LEVELS, ORDERS
from jobfleet.model.result import Chunk, JobDetails, LogLine, Parent, Reason, ReasonCode
from jobfleet.model.templates import ON_CONFLICT, SCOPES
from jobfleet.operations import dead_letters
from jobfleet.operations.by_name import declared
from jobfleet.operations.jobs import cancel as cancelling
from jobfleet.operations.jobs import edit as editing
from jobfleet.operations.jobs import signal as signals
from jobfleet.operations.jobs import steer
from jobfleet.operations.operation import drive
from jobfleet.secret import HIDDEN
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.route import BODY, Action, Data, Many, Page, Parameter, Shape, Values
from jobfleet.web.safety.access import Caller, Role

LOG_SHOWN = 200
"""Lines of the log that the page shows, from its end."""
ID = Parameter(name="id", help="The id of the job.", place="path")
TAIL = Parameter(name="tail", help="Lines from the end of the log.", least=1, most=1000, default=LOG_SHOWN)
OUTPUT_SHOWN = 200
"""Chunks of the output that the page shows, from its end."""
CHUNKS = Parameter(name="tail", help="Chunks from the end of the output. [all]", least=1, most=1_000_000)
ARCHIVED = "Redis does not have this job any more. This is what the archive has."
STATE = Shape.of("JobState", JobResult)
PAST = Shape("Past", {"event": str, "at": datetime | None})
LIFE = Shape.of("LifeEvent", LifeEvent, duration=float | None)
DETAILS = Shape.of(
    "JobDetails", JobResult, JobDetails, without=("job", "priority", "history", "parents", "root_cause"),
    priority=str | None, history=Many(PAST), life=Many(LIFE), parents=list[Parent], root_cause=Parent | None,
)  # fmt: skip


async def read_job(dashboard: Dashboard, values: Values) -> Data:
    """A job in full. A part of an id is enough."""
    fleet, form = dashboard.fleet, dashboard.form
    (job_id,) = await fleet.full_ids([values["id"]])
    explanation = await fleet.explain(job_id)
    details = explanation.details or await fleet.details(job_id)
    reasons: Sequence[Reason] = explanation.reasons if explanation.details else (Reason(ReasonCode.UNKNOWN, ARCHIVED),)
    return {
        "job": form.details(details),
        "reasons": [form.value({"code": one.code, "text": one.text, "facts": one.facts}) for one in reasons],
        "logs": await _logs(dashboard, job_id, LOG_SHOWN),
        "output": await _output(dashboard, job_id),
        "is_open": not details.job.status.is_final,
        "is_dead": (dead_group := await _group(dashboard, details.job)) is not None,
        "dead_group": dead_group or "",
    }


async def read_logs(dashboard: Dashboard, values: Values) -> Data:
    """The last lines of a job's log."""
    (job_id,) = await dashboard.fleet.full_ids([values["id"]])
    await dashboard.fleet.poll(job_id)
    return {"id": job_id, "logs": await _logs(dashboard, job_id, values["tail"])}


async def read_output(dashboard: Dashboard, values: Values) -> Data:
    """The last chunks of a job's output, after a position."""
    (job_id,) = await dashboard.fleet.full_ids([values["id"]])
    chunks = dashboard.fleet.stream(job_id, values.get("after"), tail=values["tail"], follow=False)
    return {"id": job_id, "chunks": [dashboard.form.chunk(chunk) async for chunk in chunks]}


async def read_state(dashboard: Dashboard, values: Values) -> Data:
    """The state of a job, with its progress and its result."""
    (job_id,) = await dashboard.fleet.full_ids([values["id"]])
    return {"job": dashboard.form.job(await dashboard.fleet.poll(job_id))}


def _has_ended(data: Data) -> bool:
    return JobStatus(data["job"]["status"]).is_final


def _without_duration(data: Data) -> Data:
    """What is compared: the duration of a running job differs at each read, and no reader of the stream needs that."""
    return data | {"job": data["job"] | {"duration": None}}


async def _logs(dashboard: Dashboard, job_id: str, most: int) -> list[dict[str, object]]:
    lines: deque[LogLine] = deque(maxlen=most)
    try:
        async for line in dashboard.fleet.logs(job_id, tail=most):
            lines.append(line)
    except JobNotFound:
        return []
    return [dashboard.form.line(line) for line in lines]


async def _output(dashboard: Dashboard, job_id: str) -> list[dict[str, object]]:
    try:
        return list((await read_output(dashboard, {"id": job_id, "tail": OUTPUT_SHOWN}))["chunks"])
    except JobNotFound:
        return []


async def _group(dashboard: Dashboard, job: JobResult[Any]) -> str | None:
    """The fingerprint of the group of a job's dead letter, by which it can be retried; None if it has no letter."""
    if job.status is not JobStatus.FAILED:
        return None
    try:
        return (await dashboard.fleet.letter(job.id)).fingerprint
    except JobNotFound:
        return None


async def cancel(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Cancel a job, or ask it to stop."""
    data = await CANCEL.act(dashboard, values, caller)
    return {**data, "status": str((await dashboard.fleet.poll(values["id"])).status)}


def _cancel_note(data: Data) -> str:
    if not data["cancelled"]:
        return f"It had ended already: {data['status']}."
    return "It was asked to stop." if data["status"] == "running" else "It was cancelled."


async def replay(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Put a dead job back into its queue."""
    data = await REPLAY.act(dashboard, {**values, **await _arguments(dashboard, values)}, caller)
    return {**data, "flow": await _stopped_flow(dashboard, values["id"])}


async def _stopped_flow(dashboard: Dashboard, job_id: str) -> str | None:
    """The flow of a replayed job, if other jobs of it were cancelled because of that one, and a retry continues it."""
    reasons = (await dashboard.fleet.explain(job_id)).reasons
    return next((str(one.facts["flow"]) for one in reasons if one.code is ReasonCode.FLOW_STOPPED), None)


def _continued(note: str, data: Data) -> str:
    """The sentence of an answer, with what is left to do."""
    return f"{note} Its flow has stopped: retry it too, with the button below." if data["flow"] else note


async def retry(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Put a dead job back into its queue: the older route."""
    return {"id": values["id"], "retried": await dashboard.fleet.replay(values["id"], by=caller.name)}


_ANSWER: dict[str, Any] = {
    "job": DETAILS, "reasons": list[Reason], "logs": list[LogLine], "output": list[Chunk], "is_open": bool,
    "is_dead": bool, "dead_group": str,
}  # fmt: skip
PAGES = (
    Page(
        path="/jobs/{id}", title="Job", summary="Show one job: its state, attempts, log, arguments, result, and why.",
        read=read_job, answer=_ANSWER, template="job", every=0.5, parameters=(ID,),
    ),
    Page(
        path="/jobs/{id}/logs", title="Log", summary="Show the last lines of a job's log.", read=read_logs,
        answer={"id": str, "logs": list[LogLine]}, parameters=(ID, TAIL),
    ),
    Page(
        path="/jobs/{id}/events", title="Events",
        summary="Send the state of a job as server-sent events at each change, until it ends.", read=read_state,
        answer={"job": STATE}, parameters=(ID,), every=0.5, ends=_has_ended, compared=_without_duration,
    ),
    Page(
        path="/jobs/{id}/stream", title="Output",
        summary="Send what a job emits as server-sent events, a chunk each, until it ends.", read=read_output,
        answer={"id": str, "chunks": list[Chunk]}, parameters=(ID, CHUNKS), is_output=True,
    ),
)  # fmt: skip


# Changes of one job: reschedule, move, edit its arguments, delete its dead letter, and erase it.


async def move(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Move a waiting job to another queue; `id` is that of the new job."""
    return {"id": (await MOVE.act(dashboard, values, caller))["now"], "was": values["id"]}


async def edit(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Give a waiting job other arguments; or a dead one, and put it back into its queue."""
    given = await _arguments(dashboard, values)
    is_final = (await dashboard.fleet.poll(values["id"])).status.is_final
    act = dashboard.fleet.replay if is_final and given else dashboard.fleet.edit
    has_changed = await act(values["id"], by=caller.name, **given)
    return {"id": values["id"], "changed": has_changed, "flow": await _stopped_flow(dashboard, values["id"])}


async def _arguments(dashboard: Dashboard, values: Values) -> Data:
    """The new arguments that are given, with the old values where the page has hidden them."""
    given = {name: values[name] for name in ("args", "kwargs") if values[name] is not None}
    if not given:
        return {}
    details = await dashboard.fleet.details(values["id"])
    return {name: restored(one, getattr(details, name), dashboard.form, name) for name, one in given.items()}


def restored(new: Any, old: Any, form: JsonForm, place: str) -> Any:
    """Return new arguments with the old values where the page has hidden them, or where nothing was changed.

    A value that is unchanged keeps its type, such as a time, which JSON lacks.

    Raises:
        Problem: A value is hidden, and the old one is not known.
    """
    if new == HIDDEN and old is None:
        raise refusal("invalid-request", f"{place} is hidden here: write its value.")
    if new == HIDDEN or json.dumps(new) == json.dumps(form.value(old)):
        return old
    if isinstance(new, dict):
        before = old if isinstance(old, Mapping) else {}
        return {key: restored(item, before.get(key), form, f"{place}.{key}") for key, item in new.items()}
    if isinstance(new, list):
        is_same = isinstance(old, Sequence) and not isinstance(old, str | bytes) and len(old) == len(new)
        parts = old if is_same else [None] * len(new)
        return [restored(item, parts[n], form, f"{place}[{n}]") for n, item in enumerate(new)]
    return new


CANCEL, REPLAY, MOVE, EDIT = (
    Action.of(verb, back="/jobs/{id}") for verb in (cancelling.cancel, dead_letters.replay, steer.move, editing.edit)
)
ACTIONS = (
    replace(CANCEL, act=cancel, answer={**CANCEL.answer, "status": str}, note=_cancel_note),
    replace(
        REPLAY, act=replay, answer={**REPLAY.answer, "flow": str | None},
        note=lambda data: _continued(dead_letters.replay.sentence(data, data["replayed"]), data),
    ),
    Action(
        path="/jobs/{id}/retry", summary="Put a dead job back into its queue.", act=retry, instead=REPLAY.path,
        answer={"id": str, "retried": bool}, note=str, back="/jobs/{id}", parameters=(ID,),
    ),
    Action.of(steer.reschedule, back="/jobs/{id}"),
    replace(
        MOVE, act=move, answer={"id": str, "was": str}, note=lambda data: f"This job continues {data['was']}.",
    ),
    replace(
        EDIT, act=edit, answer={**EDIT.answer, "flow": str | None},
        note=lambda data: _continued(editing.edit.sentence(data, data["changed"]), data),
    ),
    Action.of(dead_letters.purge, back="/jobs"),
    Action.of(cancelling.forget, back="/jobs"),
)  # fmt: skip


# Signals for jobs that wait: by a program with a role, or by anybody with a token that the job has made.


NAME = Parameter(name="name", help="The name of the signal.", place="body", is_required=True, schema={"type": "string"})
VALUE = Parameter(
    name="value", help="What ctx.wait_for returns.", place="body",
    schema={"type": ["object", "array", "string", "number", "boolean", "null"]},
)  # fmt: skip
TOKEN = Parameter(name="signal_token", help="A token of ctx.token. It is a secret, and the authority.", place="path")
OWN = frozenset(parameter.name for parameter in (NAME, VALUE))


async def signal(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Send a signal to a job."""
    if unknown := sorted(values[BODY].keys() - OWN):
        raise refusal("invalid-request", f"There is no field {unknown[0]!r:.100}.", field=unknown[0])
    if values["name"] is None:
        raise refusal("invalid-request", "name is missing; give the name of the signal.", field="name")
    sent = await dashboard.fleet.signal(values["id"], values["name"], values["value"], by=caller.name)
    return {"id": values["id"], "signalled": sent}


async def signal_by_token(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Send the signal of a token. Its value is the body, whatever fields that has."""
    value: dict[str, Any] | None = dict(values[BODY]) or None
    return {"signalled": await dashboard.fleet.signal_by_token(values[TOKEN.name], value, by=caller.name)}


SIGNAL_ACTIONS = (
    Action.of(signals.signal, back="", act=signal, answer={"id": str, "signalled": bool}, parameters=(ID, NAME, VALUE)),
    Action.of(
        signals.signal_by_token,
        back="",
        act=signal_by_token,
        answer={"signalled": bool},
        parameters=(TOKEN,),
        is_open=True,
    ),
)


# Enqueue a job by the name of its function: `POST /api/v1/jobs`.


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


ENQUEUE_FIELDS: dict[str, Field] = {
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
    **{field.name: Field(field.help, TEXT) for field in FREE_TEXTS},
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
        await check_displacing(dashboard, job, caller)
    receipt = await dashboard.fleet.submit_by_name(job, request_hash(body))
    return {
        "id": receipt.id,
        "created": receipt.created,
        "status": str(receipt.status),
        "durability": receipt.durability,
        "callbacks": dict(receipt.callbacks),
    }


async def check_displacing(dashboard: Dashboard, job: Job, caller: Caller) -> None:
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
        field = ENQUEUE_FIELDS.get(name)
        if field is None:
            close = similar_function(name, ENQUEUE_FIELDS)
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


ENQUEUE_ACTIONS = (
    Action(
        path="/jobs",
        summary="Enqueue a job of a published function; with an id, once per request.",
        act=enqueue,
        answer={"id": str, "created": bool, "status": str, "durability": str, "callbacks": dict[str, str]},
        parameters=tuple(
            Parameter(name=name, help=field.help, place="body", schema=field.schema, is_required=name == "function")
            for name, field in ENQUEUE_FIELDS.items()
        ),
        role=Role(str(AUTHORITIES["job"].role)),
    ),
)
