"""Recurring jobs: their last and next fires, and the ledger of one; run now, pause, add, edit and remove.

Calls of Redis: the list needs 4, 1 for each of the 50 entries of a page, and at most 2 for each lane of their last
jobs; one entry needs 7, and at most 4 for the jobs of its fires.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from jobfleet.clock import iso
from jobfleet.cron import Cron, Fire
from jobfleet.cron.entry import MISFIRE, OVERLAP
from jobfleet.model import Job
from jobfleet.operations import backfill
from jobfleet.operations import cron as operations
from jobfleet.operations.fires import CronFire
from jobfleet.operations.verb import verbs_of
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Shape, Values
from jobfleet.web.safety.access import Caller
from jobfleet.web.safety.checks import read_text

ENTRIES_SHOWN = 50
PREVIEWED, LEDGER_SHOWN = 20, 50
ENTRY = Parameter(name="entry", help="The name of the recurring job.", place="path")
CURSOR = Parameter(name="cursor", help="The cursor of the page before.")
EXPRESSION = Parameter(
    name="expression", help="Minute, hour, day, month and weekday, seconds if you like; or @every 90s.", place="body"
)
TZ = Parameter(name="tz", help="The time zone, such as Europe/Berlin.", place="body")
MISFIRED = Parameter(name="misfire", help="How fires that come too late are treated.", place="body", words=MISFIRE)
OVERLAPPING = Parameter(
    name="overlap", help="What a fire does while the job of the last fire is open.", place="body", words=OVERLAP
)
SHAPE = Shape("CronEntry", {
    "name": str, "expression": str, "tz": str, "misfire": str, "misfire_window": float, "most": int, "overlap": str,
    "jitter": float, "start": datetime | None, "end": datetime | None, "queue": str, "function": str, "origin": str,
    "orphaned": bool, "paused": str | None, "paused_at": datetime | None, "paused_reason": str, "last": CronFire | None,
    "next": datetime | None, "fired_by": list[str], "doubt": str, "fires": int, "completed": int, "failures": int,
    "last_success": datetime | None, "interval": float | None, "warning": str, "remedy": str,
    "culprit": str | None,
})  # fmt: skip
FIRE = Shape("PlannedFire", {"at": datetime, "nominal": str, "offset": str, "note": str})


async def read_entries(dashboard: Dashboard, values: Values) -> Data:
    """A page of the recurring jobs, by name."""
    found = await dashboard.fleet.cron(limit=ENTRIES_SHOWN + 1, after=values["cursor"] or "")
    shown = found[:ENTRIES_SHOWN]
    return {
        "entries": [dashboard.form.cron(one) for one in shown],
        "cursor": shown[-1].name if len(found) > len(shown) else "",
    }


async def read_entry(dashboard: Dashboard, values: Values) -> Data:
    """One recurring job with its next fires and its ledger."""
    info = await dashboard.fleet.cron.get(values["entry"])
    ledger = await dashboard.fleet.cron.history(info.name, limit=LEDGER_SHOWN)
    return {
        "entry": dashboard.form.cron(info),
        "fires": preview(info.cron, datetime.now(UTC)),
        "ledger": [dashboard.form.fire(one) for one in ledger],
        "missed": sum(one.outcome == "missed" for one in ledger),
    }


def preview(cron: Cron, at: datetime) -> list[Data]:
    """The next fires in their zone; a note marks each one that a change of the clocks moves or comes before."""
    found: list[Data] = []
    before: str | None = None
    while len(found) < PREVIEWED and (fire := cron.next(at)) is not None:
        offset = _offset(fire)
        changed = "" if before in (None, offset) else f"the clocks change before: {before} to {offset}"
        found.append(
            {
                "at": iso(fire.at),
                "nominal": f"{fire.nominal:%a %Y-%m-%d %H:%M:%S}",
                "offset": offset,
                "note": fire.note or changed,
            }
        )
        at, before = fire.at, offset
    return found


def _offset(fire: Fire) -> str:
    """The offset of the zone when it fires, such as +01:00."""
    text = fire.at.astimezone(fire.nominal.tzinfo).isoformat()
    return text[-6:] if text[-6] in "+-" else "+00:00"


async def edit(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Give it another schedule; what is not given stays."""
    present = (await dashboard.fleet.cron.get(values["entry"])).cron
    given = {name: values[name] for name in ("expression", "tz", "misfire", "overlap") if values[name]}
    planned = replace(present, **given)
    word = await dashboard.fleet.cron.edit(values["entry"], planned, by=caller.name)
    return _changed(values["entry"], word, planned)


async def add(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Add a recurring job."""
    for name in ("name", "expression", "function"):
        if not values[name]:
            raise refusal("invalid-request", f"{name}: it is needed.", field=name)
    policies = {name: values[name] for name in ("misfire", "overlap") if values[name]}
    planned = Cron(values["expression"], values["tz"] or "UTC", **policies)
    job = Job(
        values["name"],
        values["function"],
        _read("args", values["args"], list),
        _read("kwargs", values["kwargs"], dict),
        queue=values["queue"],
    )
    word = await dashboard.fleet.cron.add(values["name"], planned, job, by=caller.name)
    return _changed(values["name"], word, planned) | {"doubt": (await dashboard.fleet.cron.get(values["name"])).doubt}


def _read(name: str, given: object, kind: type[list[Any] | dict[str, Any]]) -> Any:
    """Read arguments: a program sends them as they are, and a form as JSON text."""
    if given is None or given == "":
        return kind()
    found = given
    if isinstance(given, str):
        found = read_text(given, field=name)
    if not isinstance(found, kind):
        example = '[7, "eu"]' if kind is list else '{"region": "eu"}'
        raise refusal("invalid-request", f"{name}: give JSON such as {example}.", field=name)
    return found


def _changed(name: str, word: str, planned: Cron) -> Data:
    following = planned.next(datetime.now(UTC))
    return {"name": name, "change": word, "next": iso(following.at) if following else None}


def _changed_note(data: Data) -> str:
    return f"{data['name']}: {data['change']}."


CHANGE: dict[str, Any] = {"name": str, "change": str, "next": datetime | None}
SHOWS: dict[str, dict[str, Any]] = {"cron.backfill": {"shows": "backfill"}}
"""Verbs whose result has a page of its own."""
PAGES = (
    Page(
        path="/cron", title="Cron", summary="List the recurring jobs with their last and next fires.",
        read=read_entries, answer={"entries": Many(SHAPE), "cursor": str}, template="cron", every=2.0,
        parameters=(CURSOR,),
    ),
    Page(
        path="/cron/{entry}", title="Recurring job", summary="Show one recurring job, its next fires and its ledger.",
        read=read_entry, template="cron_entry", parameters=(ENTRY,),
        answer={"entry": SHAPE, "fires": Many(FIRE), "ledger": list[CronFire], "missed": int},
    ),
)  # fmt: skip
ACTIONS = (
    Action(
        path="/cron/entries/add", summary="Add a recurring job.", act=add,
        answer=CHANGE | {"doubt": str}, note=_changed_note, back="/cron/{name}",
        parameters=(
            Parameter(name="name", help="Its name, without spaces.", place="body"), EXPRESSION, TZ,
            Parameter(name="function", help="The function of its jobs.", place="body"),
            Parameter(
                name="args", help="The positional arguments: a list, or its text in JSON.", place="body",
                schema={"type": ["array", "string"]},
            ),
            Parameter(
                name="kwargs", help="The named arguments: an object, or its text in JSON.", place="body",
                schema={"type": ["object", "string"]},
            ),
            Parameter(name="queue", help="The queue of its jobs; default that of the function.", place="body"),
            MISFIRED, OVERLAPPING,
        ),
    ),
    Action(
        path="/cron/{entry}/edit", summary="Give a recurring job another schedule; its job stays.", act=edit,
        answer=CHANGE, note=_changed_note, back="/cron/{entry}",
        parameters=(ENTRY, EXPRESSION, TZ, MISFIRED, OVERLAPPING),
    ),
    *(
        Action.of(one, back="/cron" if one.name == "cron.remove" else "/cron/{name}", **SHOWS.get(one.name, {}))
        for one in verbs_of(operations, backfill)
    ),
)  # fmt: skip
