"""Changes of one job: reschedule, move, edit its arguments, and delete its dead letter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from jobfleet.client.json_form import JsonForm
from jobfleet.secret import HIDDEN
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.pages.bulk import FIELDS, change_of, queue_of
from jobfleet.web.pages.job import ID
from jobfleet.web.route import Action, Data, Parameter, Values
from jobfleet.web.safety.caller import Caller, Role
from jobfleet.web.safety.checks import read_text

TO, DELAY, PRIORITY = (next(one for one in FIELDS if one.name == name) for name in ("to", "delay", "priority"))
LONGEST = 60_000
ARGS = Parameter(
    name="args", help="All positional arguments, as a JSON list.", place="body", longest=LONGEST,
)  # fmt: skip
KWARGS = Parameter(
    name="kwargs", help="All named arguments, as a JSON object.", place="body", longest=LONGEST,
)  # fmt: skip


async def reschedule(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Change the due time or the priority of a waiting job."""
    job_id = values["id"]
    return {"id": job_id, "changed": await dashboard.fleet.reschedule(job_id, by=caller.name, **change_of(values))}


async def move(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Move a waiting job to another queue; `id` is that of the new job."""
    return {"id": await dashboard.fleet.move(values["id"], queue_of(values), by=caller.name), "was": values["id"]}


async def purge(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Delete a dead letter for good."""
    return {"id": values["id"], "deleted": await dashboard.fleet.purge(values["id"], by=caller.name)}


async def edit(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Give a waiting job other arguments; or a dead one, and put it back into its queue."""
    if values["args"] is None and values["kwargs"] is None:
        raise refusal("invalid-request", "Give args, kwargs or both.")
    job_id, fleet = values["id"], dashboard.fleet
    details = await fleet.details(job_id)
    args = _read(values["args"], "args", list, "a JSON list")
    kwargs = _read(values["kwargs"], "kwargs", dict, "a JSON object")
    given: dict[str, Any] = {
        "args": None if args is None else restored(args, details.args, dashboard.form, "args"),
        "kwargs": None if kwargs is None else restored(kwargs, details.kwargs, dashboard.form, "kwargs"),
    }
    act = fleet.replay if details.job.status.is_final else fleet.edit
    return {"id": job_id, "changed": await act(job_id, by=caller.name, **given)}


def _read(text: str | None, name: str, kind: type, what: str) -> Any:
    if text is None:
        return None
    found = read_text(text, field=name)
    if not isinstance(found, kind):
        raise refusal("invalid-request", f"{name}: give {what}.", field=name)
    return found


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


def _changed(data: Data) -> str:
    return "It was changed." if data["changed"] else "Nothing was changed: it runs, or has ended."


CHANGED: dict[str, Any] = {"id": str, "changed": bool}
ACTIONS = (
    Action(
        path="/jobs/{id}/reschedule", summary="Change the due time or the priority of a waiting job.", act=reschedule,
        answer=CHANGED, note=_changed, back="/jobs/{id}", parameters=(ID, DELAY, PRIORITY),
    ),
    Action(
        path="/jobs/{id}/move", summary="Move a waiting job to another queue, as a new job.", act=move,
        answer={"id": str, "was": str}, note=lambda data: f"This job continues {data['was']}.", back="/jobs/{id}",
        parameters=(ID, TO),
    ),
    Action(
        path="/jobs/{id}/edit", summary="Give a waiting job other arguments, or a dead one, and replay it.", act=edit,
        answer=CHANGED, note=_changed, back="/jobs/{id}", parameters=(ID, ARGS, KWARGS),
    ),
    Action(
        path="/jobs/{id}/purge", summary="Delete a dead letter for good.", act=purge,
        answer={"id": str, "deleted": bool}, back="/jobs", parameters=(ID,), role=Role.ADMIN,
        note=lambda data: "The dead letter was deleted." if data["deleted"] else "It has no dead letter.",
    ),
)  # fmt: skip
