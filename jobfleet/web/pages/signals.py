"""Signals for jobs that wait: by a program with a role, or by anybody with a token that the job has made."""

from __future__ import annotations

from typing import Any

from jobfleet.model.audit import AUTHORITIES
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.pages.job import ID
from jobfleet.web.route import BODY, Action, Data, Parameter, Values
from jobfleet.web.safety.caller import Caller, Role

NAME = Parameter(name="name", help="The name of the signal.", place="body", is_required=True, schema={"type": "string"})
VALUE = Parameter(
    name="value", help="What ctx.wait_for returns.", place="body",
    schema={"type": ["object", "array", "string", "number", "boolean", "null"]},
)  # fmt: skip
TOKEN = Parameter(name="signal_token", help="A token of ctx.token. It is a secret, and the authority.", place="path")
OWN = frozenset(one.name for one in (NAME, VALUE))


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


ACTIONS = (
    Action(
        path="/jobs/{id}/signals", summary="Send a signal to a job that waits for it, or will.", act=signal,
        answer={"id": str, "signalled": bool}, parameters=(ID, NAME, VALUE), role=Role(str(AUTHORITIES["signal"].role)),
    ),
    Action(
        path="/signals/{signal_token}", summary="Send the signal of a token; the body is its value.",
        act=signal_by_token, answer={"signalled": bool}, parameters=(TOKEN,), is_open=True,
    ),
)  # fmt: skip
