"""Dead letters: their groups, one group with its letters, and all letters that match; decide, replay, and rescue.

Calls of Redis for L lanes: the groups need at most 4 + 2·L, 1 + L more for each further 50 groups, and 1 + 20·L
more with a filter that only letters have; one group needs at most 8 + 22·L, and a page of letters 1 + 20·L. Only
the count reads all letters that match, when somebody asks for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

from jobfleet.clock import iso
from jobfleet.errors import JobNotFound, UnknownRescue
from jobfleet.model.fields import LETTER_NAMES
from jobfleet.operations.dead_groups import DeadGroup, GroupState, ignore, reopen, resolve
from jobfleet.operations.dead_letters import DeadFilters, replay_many
from jobfleet.operations.rescues import RescueStatus
from jobfleet.operations.rescues import start as start_rescue
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.pages.jobs import JOB, LIMIT, job_row, read_filters
from jobfleet.web.route import Action, Answered, Data, Many, Page, Parameter, Shape, Values, given_of
from jobfleet.web.safety.access import Caller

GROUPS_SHOWN = 100
GROUPS_MOST = 1000
"""The groups that a fleet keeps."""
SAMPLE = 200
"""The newest letters that match, of which the groups are shown."""
LETTERS_SHOWN = 20
PATIENCE = timedelta(seconds=5)
"""How long a rescue may run before a page says that no reaper carries it out."""
FINGERPRINT = Parameter(name="fingerprint", help="The fingerprint of the group.", place="path")
CURSOR = Parameter(name="cursor", help="The cursor of the page before.")
STATE = Parameter(name="state", help="Only groups of this state.", words=tuple(map(str, GroupState)))
EMPTY = Parameter(name="empty", help="Also groups that have no letters now.", words=("yes",))
_FILTERS = {one.name: Parameter.of(one, "query") for one in replay_many.parameters if one.name != "fresh"}
QUEUE, GROUP = _FILTERS.pop("queue"), _FILTERS.pop("fingerprint")
NARROW = tuple(_FILTERS.values())
OF_LETTERS = ("tag", *LETTER_NAMES, "since", "until")
"""Filters that a group does not record, so its letters are looked at."""
ROW = Shape.of("DeadGroupRow", DeadGroup, matching=int | None)


async def read_groups(dashboard: Dashboard, values: Values) -> Data:
    """The groups, those with the newest letters first."""
    is_narrow = any(values[one] for one in ("state", "function", *OF_LETTERS))
    if is_narrow and values["cursor"]:
        raise refusal("invalid-request", "cursor: leave it out with a filter, which all groups are read for.")
    limit = GROUPS_MOST if is_narrow else GROUPS_SHOWN
    found = await dashboard.fleet.dead_groups(values["queue"], limit=limit, cursor=values["cursor"] or "")
    matching, is_sample = await _matching(dashboard, values)
    rows = [
        dashboard.form.group(one) | {"matching": matching[one.fingerprint] if matching is not None else None}
        for one in found
        if _fits(one, values) and (matching is None or one.fingerprint in matching)
    ]
    return {
        "groups": rows[:GROUPS_SHOWN],
        "more": max(0, len(rows) - GROUPS_SHOWN),
        "cursor": "" if is_narrow else found.cursor,
        "is_sample": is_sample,
        "filters": {one.name: values[one.name] for one in (STATE, QUEUE, *NARROW, EMPTY)},
        "rescues": [dashboard.form.rescue(one) for one in await dashboard.fleet.rescues(limit=5)],
    }


async def _matching(dashboard: Dashboard, values: Values) -> tuple[Counter[str] | None, bool]:
    """How many of the newest letters that match are of each group, and whether there are more such letters."""
    if not any(values[one] for one in OF_LETTERS):
        return None, False
    letters = await dashboard.fleet.dead(values["queue"], limit=SAMPLE, **read_filters(DeadFilters, values))
    return Counter(letters.fingerprints), bool(letters.cursor)


def _fits(group: DeadGroup, values: Values) -> bool:
    if values["state"] and group.state != values["state"]:
        return False
    if values["function"] and group.function != values["function"]:
        return False
    return bool(group.count or values["state"] or values["empty"])


async def read_group(dashboard: Dashboard, values: Values) -> Data:
    """One group with a page of its letters, the traceback of the last one, and its last rescue."""
    fleet, form, fingerprint = dashboard.fleet, dashboard.form, values["fingerprint"]
    group = await fleet.dead_group(fingerprint)
    letters = await fleet.dead(fingerprint=fingerprint, limit=LETTERS_SHOWN, cursor=values["cursor"] or "")
    rescue = await _last_rescue(dashboard, group)
    example, traceback = await _example(dashboard, [group.example, *(one.id for one in letters[:1])])
    return {
        "group": form.group(group),
        "letters": [job_row(form, one) for one in letters],
        "cursor": letters.cursor,
        "example": example,
        "traceback": traceback,
        "rescue": rescue and dashboard.form.rescue(rescue),
        "is_waiting": rescue is not None and waits(rescue),
    }


async def _example(dashboard: Dashboard, ids: Sequence[str]) -> tuple[str, str]:
    """The first of some jobs that is a dead letter still, and its traceback; empty if none is."""
    for job_id in ids:
        try:
            return job_id, (await dashboard.fleet.letter(job_id)).job.traceback or ""
        except JobNotFound:
            continue
    return "", ""


def waits(rescue: RescueStatus) -> bool:
    """Whether no reaper seems to carry out a rescue: it runs, and nothing was replayed for some seconds."""
    if rescue.state != "running" or rescue.replayed or rescue.left or rescue.started_at is None:
        return False
    return datetime.now(UTC) - rescue.started_at > PATIENCE


async def _last_rescue(dashboard: Dashboard, group: DeadGroup) -> RescueStatus | None:
    if not group.rescue:
        return None
    try:
        return await (await dashboard.fleet.rescue_of(group.rescue)).status()
    except UnknownRescue:  # it is not kept any more
        return None


async def read_letters(dashboard: Dashboard, values: Values) -> Data:
    """A page of the letters that match."""
    letters = await dashboard.fleet.dead(
        values["queue"], limit=values["limit"], cursor=values["cursor"] or "", **read_filters(DeadFilters, values)
    )
    rows = [
        job_row(dashboard.form, one) | {"fingerprint": fingerprint}
        for one, fingerprint in zip(letters, letters.fingerprints, strict=True)
    ]
    return {"letters": rows, "cursor": letters.cursor, "filters": _filters(values)}


async def read_count(dashboard: Dashboard, values: Values) -> Data:
    """How many letters match. Each of them is read."""
    return {
        "count": await dashboard.fleet.count_dead(values["queue"], **read_filters(DeadFilters, values)),
        "at": iso(datetime.now(UTC)),
        "filters": _filters(values),
    }


def _filters(values: Values) -> Data:
    return {one.name: values[one.name] for one in (QUEUE, GROUP, *NARROW)}


async def replay_group(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Replay all letters of a group at once."""
    fingerprint = (await dashboard.fleet.dead_group(values["fingerprint"])).fingerprint
    unset = {one.name: one.read(None) for one in REPLAY_LETTERS.parameters}
    done = await REPLAY_LETTERS.act(dashboard, {**unset, GROUP.name: fingerprint}, caller)
    return Answered({"replayed": done["replayed"]}, REPLAY_LETTERS.note(done))


async def replay_letters(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Replay all letters that match."""
    if not any(values[one.name] for one in (QUEUE, GROUP, *NARROW, ALL)):
        raise refusal("invalid-request", "Give a filter, or all=yes.")
    return await REPLAY_LETTERS.act(dashboard, values, caller)


LETTER = Shape("DeadLetterRow", {**JOB.fields, "fingerprint": str})
PAGES = (
    Page(
        path="/dead", title="Dead letters", summary="List the groups of dead letters with the same error.",
        read=read_groups, template="dead", every=2.0, parameters=(STATE, QUEUE, *NARROW, EMPTY, CURSOR),
        answer={"groups": Many(ROW), "more": int, "cursor": str, "is_sample": bool, "filters": dict[str, Any],
                "rescues": list[RescueStatus]},
    ),
    Page(
        path="/dead/letters", title="Dead letters that match", summary="List the dead letters that match.",
        read=read_letters, template="letters", every=2.0, parameters=(QUEUE, GROUP, *NARROW, CURSOR, LIMIT),
        answer={"letters": Many(LETTER), "cursor": str, "filters": dict[str, Any]},
    ),
    Page(
        path="/dead/letters/count", title="Replay dead letters", summary="Count the dead letters that match.",
        read=read_count, template="letters_count", every=60.0, parameters=(QUEUE, GROUP, *NARROW),
        answer={"count": int, "at": datetime, "filters": dict[str, Any]},
    ),
    Page(
        path="/dead/{fingerprint}", title="Group of dead letters", summary="Show one group of dead letters.",
        read=read_group, template="dead_group", parameters=(FINGERPRINT, CURSOR),
        answer={"group": DeadGroup, "letters": Many(JOB), "cursor": str, "example": str, "traceback": str,
                "rescue": RescueStatus | None, "is_waiting": bool},
    ),
)  # fmt: skip
REPLAY_LETTERS = Action.of(replay_many, back="/dead")
ALL = Parameter(name="all", help="All dead letters, if there is no filter.", place="body", words=("yes",))
ACTIONS = (
    replace(  # before those with a fingerprint at the same place
        REPLAY_LETTERS, act=replay_letters, parameters=(*REPLAY_LETTERS.parameters, ALL)
    ),
    *(Action.of(verb, back="/dead/{fingerprint}") for verb in (resolve, ignore, reopen)),
    Action(
        path="/dead/{fingerprint}/replay", summary="Put all dead letters of a group back into their queues.",
        act=replay_group, answer={"replayed": int}, note=REPLAY_LETTERS.note, back="/dead/{fingerprint}",
        parameters=(FINGERPRINT,),
    ),
)  # fmt: skip


# Rescues of groups of dead letters: begin one, see how it goes, stop and undo it.
#
# Commands of Redis: the list needs 1 per 50 rescues, and one rescue at most 3.


RESCUE = Parameter(
    name="rescue", help="The id of the rescue, or the fingerprint of a group for its last one.", place="path"
)
RESCUE_LIMIT = Parameter(name="limit", help="The most rescues.", least=1, most=100, default=50)


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
    begun = await dashboard.fleet.rescue(**given_of(start_rescue, values), by=caller.name)
    return dashboard.form.rescue(await begun.status())


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
RESCUE_PAGES = (
    Page(
        path="/rescues", title="Rescues", summary="List the last rescues of groups of dead letters.", read=read_rescues,
        answer={"rescues": list[RescueStatus]}, template="rescues", parameters=(RESCUE_LIMIT,),
    ),
    Page(
        path="/rescues/{rescue}", title="Rescue", summary="Show one rescue.", read=read_rescue,
        answer={"rescue": RescueStatus, "is_waiting": bool}, template="rescue", every=0.5, parameters=(RESCUE,),
    ),
)  # fmt: skip
RESCUE_ACTIONS = (
    Action.of(start_rescue, back="/dead/{fingerprint}", act=start, answer=ANSWER, note=_note),
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
