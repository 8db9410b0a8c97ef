"""The limits of queues and groups, named limits, breakers and strict sequences: see them, and change them.

Calls of Redis for L lanes: those of queues and groups need at most 2 + L.
"""

from __future__ import annotations

from typing import Any

from jobfleet.model.limits import BreakerInfo, LimitInfo, NamedLimit, SequenceInfo
from jobfleet.operations import gates, limits
from jobfleet.operations.verb import verbs_of
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.route import Action, Data, Page, Parameter, Values
from jobfleet.web.safety.access import Caller


async def read_limits(dashboard: Dashboard, _values: Values) -> Data:
    """The limits of all queues and groups."""
    form, fleet = dashboard.form, dashboard.fleet
    return {
        "limits": [form.limit(one) for one in await fleet.limits()],
        "named": [form.named_limit(one) for one in await fleet.limits.all_named()],
        "breakers": [form.breaker(one) for one in await fleet.breakers()],
    }


# The older routes of named limits and breakers; the next release has them no more.


async def shut(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Close a named limit, or open a circuit breaker: no further job starts."""
    fleet, name, reason = dashboard.fleet, values["name"], values["reason"]
    if values["kind"] == "limit":
        has_changed = await fleet.limits.close(name, values["seconds"], reason=reason, by=caller.name)
    else:
        has_changed = await fleet.breakers.open(name, values["seconds"], reason=reason, by=caller.name)
    return {"name": name, "changed": has_changed}


async def unshut(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Open a named limit, or close a circuit breaker: jobs start again."""
    fleet, name = dashboard.fleet, values["name"]
    opens = fleet.limits.open if values["kind"] == "limit" else fleet.breakers.close
    return {"name": name, "changed": await opens(name, by=caller.name)}


def _gate_note(data: Data) -> str:
    return f"{data['name']} is changed." if data["changed"] else "Nothing has changed."


KIND = Parameter(
    name="kind", help="What is named: a limit or a breaker.", place="body", words=("limit", "breaker"), default="limit"
)
NAME = Parameter(name="name", help="The name of the limit or the breaker.", place="body", is_required=True)
GATE_ANSWER: dict[str, Any] = {"name": str, "changed": bool}
PAGES = (
    Page(
        path="/limits", title="Limits", summary="List the limits of queues and groups.", read=read_limits,
        answer={"limits": list[LimitInfo], "named": list[NamedLimit], "breakers": list[BreakerInfo]},
        template="limits", every=2.0,
    ),
)  # fmt: skip
ACTIONS = (
    *(
        Action.of(verb, back="/sequences" if verb.noun == "group" else "/limits") for verb in verbs_of(limits, gates)
    ),
    Action(
        path="/gates/shut", summary="Close a named limit or open a circuit breaker.", act=shut,
        instead="/limits/close or /breakers/open",
        answer=GATE_ANSWER, note=_gate_note, back="/limits",
        parameters=(
            KIND, NAME,
            Parameter(
                name="seconds", help="For how long; by default until somebody ends it.", place="body", least=1,
                most=31_536_000,
            ),
            Parameter(name="reason", help="Why, for the record.", place="body"),
        ),
    ),
    Action(
        path="/gates/unshut", summary="Open a named limit or close a circuit breaker.", act=unshut,
        instead="/limits/open or /breakers/close",
        answer=GATE_ANSWER, note=_gate_note, back="/limits", parameters=(KIND, NAME),
    ),
)  # fmt: skip


# Strict sequences: list them, skip the head of one, and resume a parked one.
#
# Calls of Redis for L lanes and S sequences: at most 2 + L + S/25.


SHOWN = 200
GROUP_NAME = Parameter(name="name", help="The name of the sequence: its group.", place="path")
GROUP_QUEUE = Parameter(name="queue", help="Its queue, if several queues have a sequence of this name.")


async def read_groups(dashboard: Dashboard, values: Values) -> Data:
    """The first sequences of a queue, or of all queues."""
    every = await dashboard.fleet.groups(values["queue"], limit=SHOWN)
    return {"groups": [dashboard.form.sequence(one) for one in every]}


async def read_group(dashboard: Dashboard, values: Values) -> Data:
    """One sequence with the first jobs behind its head."""
    found = await dashboard.fleet.groups.show(values["name"], queue=values["queue"])
    return {"group": dashboard.form.sequence(found)}


GROUP_PAGES = (
    Page(
        path="/sequences", api="/groups", title="Sequences", summary="List the strict sequences with their heads.",
        read=read_groups,
        answer={"groups": list[SequenceInfo]}, template="groups", every=2.0, parameters=(GROUP_QUEUE,),
    ),
    Page(
        path="/sequences/{name}", api="/groups/{name}", title="Sequence",
        summary="Show a strict sequence with its next jobs.", read=read_group,
        answer={"group": SequenceInfo}, template="group", every=2.0, parameters=(GROUP_NAME, GROUP_QUEUE),
    ),
)  # fmt: skip
