"""A form that enqueues a job of a published function, with a field per parameter of its signature."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from jobfleet.codec import decode
from jobfleet.errors import EncodingError, InvalidJob
from jobfleet.functions.published import Taken, read_takes
from jobfleet.model.audit import AUTHORITIES
from jobfleet.operations.jobs.enqueue import published
from jobfleet.operations.operation import drive
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.pages.job import PRIORITIES, check_displacing, job_of, request_hash
from jobfleet.web.route import BODY, Action, Data, Many, Page, Parameter, Shape, Values
from jobfleet.web.safety.access import Caller, Role
from jobfleet.web.safety.checks import read_text

ARGUMENT = "arg."
"""The beginning of the name of a field that has an argument; the name of the parameter follows."""
LISTED_MOST = 1000
"""Functions that the page offers."""
ROLE = Role(str(AUTHORITIES["job"].role))
FUNCTION = Parameter(name="function", help="The function, by the name that workers have published.")
OPTIONS = (
    Parameter(name="name", help="A label to show; default the name of the function.", place="body"),
    Parameter(name="queue", help="A queue that exists; default that of the function.", place="body"),
    Parameter(name="priority", help="The priority.", place="body", words=tuple(PRIORITIES)),
    Parameter(name="delay", help="Do not start the job before this time from now, such as 90m.", place="body"),
    Parameter(name="user", help="The user of the job.", place="body"),
)
PARAMETER = Shape("Parameter", {"name": str, "is_required": bool, "form": str, "types": list[str]})
FORMS: Mapping[Any, str] = {
    inspect.Parameter.VAR_POSITIONAL: "list", inspect.Parameter.VAR_KEYWORD: "object",
}  # fmt: skip


async def _takes(dashboard: Dashboard, name: str) -> tuple[bytes, tuple[Taken, ...] | None]:
    """The record of a function, and its parameters, where its worker has published them."""
    fleet = await drive(dashboard.fleet.store, published(dashboard.fleet.context))
    record = fleet.functions.get(name)
    if record is None:
        raise refusal("invalid-request", f"function is {name!r:.100}, which no worker has published.", field="function")
    return record, read_takes(record)


def _first_line(record: bytes) -> str:
    try:
        return str(decode(record).get("doc") or "")
    except (AttributeError, EncodingError):
        return ""


async def read_enqueue(dashboard: Dashboard, values: Values) -> Data:
    """The published functions, and the parameters of the chosen one."""
    fleet = await drive(dashboard.fleet.store, published(dashboard.fleet.context))
    functions = sorted(fleet.functions)[:LISTED_MOST]
    if not values["function"]:
        return {"functions": functions, "function": "", "doc": "", "parameters": [], "is_published": False}
    record, taken = await _takes(dashboard, values["function"])
    return {
        "functions": functions,
        "function": values["function"],
        "doc": _first_line(record),
        "parameters": [_parameter(one) for one in taken or ()],
        "is_published": taken is not None,
    }


def _parameter(one: Taken) -> Data:
    kind = one.parameter.kind
    is_required = one.parameter.default is one.parameter.empty and kind not in FORMS
    return {
        "name": one.parameter.name,
        "is_required": is_required,
        "form": FORMS.get(kind, ""),
        "types": list(one.kinds),
    }


def argument_of(name: str, text: str, kinds: Sequence[str]) -> Any:
    """An argument that was typed: a text for a parameter that takes texts only, else JSON, else a text if one fits."""
    if tuple(kinds) == ("string",):
        return text
    try:
        return read_text(text, field=f"{ARGUMENT}{name}")
    except Problem:
        if kinds and "string" not in kinds:
            raise
        return text


def call_of(taken: Sequence[Taken] | None, given: Mapping[str, str]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments of a call, of the fields of the form; an empty field is not given."""
    typed = {name.removeprefix(ARGUMENT): text for name, text in given.items() if name.startswith(ARGUMENT) and text}
    if taken is None:
        rest = argument_of("kwargs", typed.get("kwargs", "{}"), ("object",))
        return argument_of("args", typed.get("args", "[]"), ("array",)), rest
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    for one in taken:
        name, kind = one.parameter.name, one.parameter.kind
        if name not in typed:
            continue
        if kind in FORMS:
            value = argument_of(name, typed[name], ("array" if FORMS[kind] == "list" else "object",))
            args, kwargs = (args + list(value), kwargs) if FORMS[kind] == "list" else (args, kwargs | dict(value))
        elif kind is one.parameter.POSITIONAL_ONLY:
            args.append(argument_of(name, typed[name], one.kinds))
        else:
            kwargs[name] = argument_of(name, typed[name], one.kinds)
    return args, kwargs


async def enqueue(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Enqueue a job with the arguments that were typed."""
    if not values["function"]:
        raise refusal("invalid-request", "function is missing; choose one.", field="function")
    _, taken = await _takes(dashboard, values["function"])
    typed = {name: str(text) for name, text in values[BODY].items() if name.startswith(ARGUMENT)}
    args, kwargs = call_of(taken, typed)
    if not isinstance(args, list) or not isinstance(kwargs, dict):
        raise InvalidJob("The arguments are a JSON list, the named ones a JSON object.", field="args")
    options = {one.name: values[one.name] for one in OPTIONS if values[one.name]}
    body = {"function": values["function"], "args": args, "kwargs": kwargs, **options}
    job = job_of(body)
    if not caller.role.permits(Role.OPERATOR):
        await check_displacing(dashboard, job, caller)
    receipt = await dashboard.fleet.submit_by_name(job, request_hash(body))
    return {"id": receipt.id, "created": receipt.created}


PAGES = (
    Page(
        path="/enqueue", title="Enqueue a job", summary="List the published functions, and the parameters of one.",
        read=read_enqueue, template="enqueue", every=10.0, parameters=(FUNCTION,), role=ROLE,
        answer={"functions": list[str], "function": str, "doc": str, "parameters": Many(PARAMETER),
                "is_published": bool},
    ),
)  # fmt: skip
ACTIONS = (
    Action(
        path="/enqueue/send", summary="Enqueue a job with arguments as texts: each is JSON, or a text where one fits.",
        act=enqueue, answer={"id": str, "created": bool}, back="/jobs/{id}", role=ROLE, is_open_body=True,
        note=lambda data: "It is enqueued." if data["created"] else "Another job holds its key: this one.",
        parameters=(FUNCTION.within("body"), *OPTIONS),
    ),
)  # fmt: skip
