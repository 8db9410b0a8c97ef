"""Strict sequences: list them, skip the head of one, and resume a parked one.

Calls of Redis for L lanes and S sequences: at most 2 + L + S/25.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from jobfleet.errors import ConfigError
from jobfleet.model.limits import SequenceInfo
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.route import Action, Data, Page, Parameter, Values
from jobfleet.web.safety.caller import Caller

SHOWN = 200
NAME = Parameter(name="name", help="The name of the sequence: its group.", place="path")
QUEUE = Parameter(name="queue", help="Its queue, if several queues have a sequence of this name.")


async def read_groups(dashboard: Dashboard, values: Values) -> Data:
    """The first sequences of a queue, or of all queues."""
    every = await dashboard.fleet.groups(values["queue"], limit=SHOWN)
    return {"groups": [dashboard.form.sequence(one) for one in every]}


@contextmanager
def _one_queue() -> Iterator[None]:
    """Name the parameter that is missing if several queues have a sequence of the name."""
    try:
        yield
    except ConfigError as error:
        raise refusal("invalid-request", str(error), field="queue") from None


async def read_group(dashboard: Dashboard, values: Values) -> Data:
    """One sequence with the first jobs behind its head."""
    with _one_queue():
        found = await dashboard.fleet.groups.show(values["name"], queue=values["queue"])
    return {"group": dashboard.form.sequence(found)}


async def skip(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """End the head of a sequence."""
    with _one_queue():
        head = await dashboard.fleet.groups.skip(values["name"], queue=values["queue"], by=caller.name)
    return {"group": values["name"], "skipped": head, "changed": head is not None}


async def resume(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Let a parked sequence go on."""
    with _one_queue():
        has_changed = await dashboard.fleet.groups.resume(values["name"], queue=values["queue"], by=caller.name)
    return {"group": values["name"], "skipped": None, "changed": has_changed}


def _note(data: Data) -> str:
    if not data["changed"]:
        return f"Nothing has changed: the head of {data['group']} has just ended, or the sequence is not parked."
    return f"{data['group']}: skipped {data['skipped']}." if data["skipped"] else f"{data['group']} continues."


ANSWER: dict[str, Any] = {"group": str, "skipped": str | None, "changed": bool}
PAGES = (
    Page(
        path="/groups", title="Sequences", summary="List the strict sequences with their heads.", read=read_groups,
        answer={"groups": list[SequenceInfo]}, template="groups", every=2.0, parameters=(QUEUE,),
    ),
    Page(
        path="/groups/{name}", title="Sequence", summary="Show a strict sequence with its next jobs.", read=read_group,
        answer={"group": SequenceInfo}, template="group", every=2.0, parameters=(NAME, QUEUE),
    ),
)  # fmt: skip
ACTIONS = (
    Action(
        path="/groups/{name}/skip", summary="End the head of a strict sequence; the next job follows.", act=skip,
        answer=ANSWER, note=_note, back="/groups", parameters=(NAME, QUEUE.within("body")),
    ),
    Action(
        path="/groups/{name}/resume", summary="Let a parked sequence go on behind its head.", act=resume,
        answer=ANSWER, note=_note, back="/groups", parameters=(NAME, QUEUE.within("body")),
    ),
)  # fmt: skip
