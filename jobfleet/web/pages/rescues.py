"""Rescues of groups of dead letters: begin one, see how it goes, stop and undo it.

Commands of Redis: the list needs 1 per 50 rescues, and one rescue at most 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_type_hints

from jobfleet.operations.dead.rescue import RescueStatus
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.pages.dead import FINGERPRINT, waits
from jobfleet.web.route import Action, Data, Page, Parameter, Values
from jobfleet.web.safety.caller import Caller

RESCUE = Parameter(
    name="rescue", help="The id of the rescue, or the fingerprint of a group for its last one.", place="path"
)
LIMIT = Parameter(name="limit", help="The most rescues.", least=1, most=100, default=50)


async def read_rescues(dashboard: Dashboard, values: Values) -> Data:
    """The last rescues, the newest first."""
    found = await dashboard.fleet.rescues(limit=values["limit"])
    return {"rescues": [dashboard.form.rescue(one) for one in found]}


async def read_rescue(dashboard: Dashboard, values: Values) -> Data:
    """One rescue."""
    found = await dashboard.fleet.rescue_of(values["rescue"])
    status = await found.status()
    return {"rescue": dashboard.form.rescue(status), "is_waiting": waits(status)}


async def start(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Begin the rescue of a group."""
    begun = await dashboard.fleet.rescue(
        values["fingerprint"], rate=values["rate"], canary=_canary(values["canary"]),
        stop_after=values["stop_after"], by=caller.name,
    )  # fmt: skip
    return dashboard.form.rescue(await begun.status())


def _canary(text: str) -> Sequence[int]:
    if text == "none":
        return ()
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise refusal("invalid-request", "canary: give numbers such as 1,10, or none.", field="canary") from None


async def stop(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Replay no further letter."""
    found = await dashboard.fleet.rescue_of(values["rescue"])
    await found.stop(by=caller.name)
    return dashboard.form.rescue(await found.status())


async def undo(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Stop it, and make dead letters again of its jobs that have not started."""
    found = await dashboard.fleet.rescue_of(values["rescue"])
    await found.undo(by=caller.name)
    return dashboard.form.rescue(await found.status())


def _note(data: Data) -> str:
    if data["state"] == "undone":
        return f"The rescue is undone: {data['undone']:,} are dead letters again, {data['started']:,} had started."
    return f"The rescue is {data['state']}."


ANSWER = get_type_hints(RescueStatus)
PAGES = (
    Page(
        path="/rescues", title="Rescues", summary="List the last rescues of groups of dead letters.", read=read_rescues,
        answer={"rescues": list[RescueStatus]}, template="rescues", parameters=(LIMIT,),
    ),
    Page(
        path="/rescues/{rescue}", title="Rescue", summary="Show one rescue.", read=read_rescue,
        answer={"rescue": RescueStatus, "is_waiting": bool}, template="rescue", every=0.5, parameters=(RESCUE,),
    ),
)  # fmt: skip
ACTIONS = (
    Action(
        path="/dead/{fingerprint}/rescue", summary="Replay a group in steps: a canary, then the rest at a rate.",
        act=start, answer=ANSWER, note=_note, back="/dead/{fingerprint}",
        parameters=(
            FINGERPRINT,
            Parameter(name="rate", help="Jobs per time after the canary, such as 10/s.", place="body", default="10/s"),
            Parameter(
                name="canary", help="Numbers of jobs to replay first, or none.", place="body", default="1,10"
            ),
            Parameter(
                name="stop_after", help="Failures after which it stops.", place="body", least=1, most=1_000_000,
                default=1,
            ),
        ),
    ),
    Action(
        path="/rescues/{rescue}/stop", summary="Stop a rescue: no further letter is replayed.", act=stop,
        answer=ANSWER, note=_note, back="/rescues/{rescue}", parameters=(RESCUE,),
    ),
    Action(
        path="/rescues/{rescue}/undo",
        summary="Stop a rescue, and make dead letters again of its jobs that have not started.", act=undo,
        answer=ANSWER, note=_note, back="/rescues/{rescue}", parameters=(RESCUE,),
    ),
)  # fmt: skip
