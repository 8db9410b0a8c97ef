"""The whole fleet: the overview, the doctor, the settings, the past, the audit and the workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_type_hints

from jobfleet.clock import read_duration
from jobfleet.config import SETTINGS
from jobfleet.model.audit import AuditEntry
from jobfleet.model.history import FunctionTimes, History
from jobfleet.operations.dead_groups import DeadGroup, GroupState
from jobfleet.operations.doctor import doctor
from jobfleet.operations.doctor.findings import Finding
from jobfleet.operations.verb import verbs_of
from jobfleet.version import VERSION
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Shape, Values
from jobfleet.web.safety.access import Role

# The past of the fleet, of a queue or of a function, for charts and for a table.


RANGES = {"10m": 10, "1h": 30, "6h": 180, "48h": 1800, "90d": 86_400}
"""How far back charts go, and the seconds per step: about a hundred steps."""
FRESH_FOR = 5.0
"""Seconds for which all pages share one read; the fleet is sampled every ten."""
AUTO = "auto"
YOUNG = timedelta(minutes=10)
SINCE = Parameter(
    name="since", help="How far back the charts go; 90d needs an archive. By default it follows from the samples.",
    words=(AUTO, *RANGES), default=AUTO,
)  # fmt: skip
GROUPS_READ = 50
UNSEEN = (GroupState.NEW, GroupState.REGRESSED)
ANY_SINCE = Parameter(name="since", help="How far back: seconds, or a duration such as 90m or 7d.", default="1h")
STEP = Parameter(name="step", help="The time per step; by default about a hundred steps, or at most 60.")
QUEUE = Parameter(name="queue", help="Only this queue.")
FUNCTION = Parameter(name="function", help="Only this function, in all its queues.")


async def history_of(
    dashboard: Dashboard,
    since: str,
    *,
    queue: str | None = None,
    function: str | None = None,
    step: str | None = None,
) -> Data:
    """A history; all pages with the same charts share one read."""
    chosen = step or RANGES.get(since)

    async def read() -> Data:
        found = await dashboard.fleet.history(queue, function, since=since, step=chosen)
        return dashboard.form.history(found)

    return await dashboard.hub.once(("history", queue, function, since, str(chosen)), read, fresh_for=FRESH_FOR)


async def range_of(dashboard: Dashboard, since: str) -> str:
    """The range of charts: the one that was asked for, or else ten minutes for a fleet without older samples."""
    if since != AUTO:
        return since
    points: list[Data] = (await history_of(dashboard, "1h"))["points"]
    first = next((one["at"] for one in points if one["completed"] is not None), None)
    is_young = first is None or datetime.now(UTC) - datetime.fromisoformat(first) < YOUNG
    return "10m" if is_young else "1h"


async def busiest(dashboard: Dashboard) -> list[Data]:
    """The functions with the most runs in the last hour; all pages share one read."""

    async def read() -> Data:
        return {"functions": [dashboard.form.function_times(one) for one in await dashboard.fleet.busiest()]}

    found: list[Data] = (await dashboard.hub.once("busiest", read, fresh_for=2 * FRESH_FOR))["functions"]
    return found


async def new_groups(dashboard: Dashboard) -> list[Data]:
    """The groups of dead letters that nobody has looked at yet; all pages share one read."""

    async def read() -> Data:
        found = await dashboard.fleet.dead_groups(limit=GROUPS_READ)
        fresh = [one for one in found if one.state in UNSEEN and one.count]
        return {"groups": [dashboard.form.group(one) for one in fresh]}

    found: list[Data] = (await dashboard.hub.once("new-groups", read, fresh_for=FRESH_FOR))["groups"]
    return found


async def trends_of(dashboard: Dashboard, queues: Sequence[str]) -> list[Data]:
    """The last hour of queues; all pages share one read."""

    async def read() -> Data:
        return {"trends": [dashboard.form.trend(one) for one in await dashboard.fleet.trends(queues)]}

    found: list[Data] = (await dashboard.hub.once(("trends", *queues), read, fresh_for=2 * FRESH_FOR))["trends"]
    return found


async def read_history(dashboard: Dashboard, values: Values) -> Data:
    """The past of the fleet, of a queue or of a function."""
    return await history_of(
        dashboard, values["since"], queue=values["queue"], function=values["function"], step=values["step"]
    )


HISTORY_PAGES = (
    Page(
        path="/history", title="History",
        summary="Show what was counted in each step of the past of the fleet, of a queue or of a function.",
        read=read_history, answer=get_type_hints(History), template="history", every=5.0,
        parameters=(ANY_SINCE, STEP, QUEUE, FUNCTION),
    ),
)  # fmt: skip


# The whole fleet: the overview, the doctor, the limits and the settings.


SHOWN = ("fault", "warning", "note")
"""The levels of findings on the overview, in their order there."""
TOTALS: dict[str, Any] = {
    "queued": int, "scheduled": int, "blocked": int, "retrying": int, "running": int, "completed": int, "failed": int,
    "cancelled": int, "expired": int, "queue_size": int, "dead_letters": int, "workers": int,
    "average_duration": float, "success_rate": float,
}  # fmt: skip
ENDED: dict[str, Any] = {"completed": int | None, "failed": int | None}
SETTING = Shape("Setting", {"name": str, "value": str, "is_default": bool, "scope": str, "variable": str, "help": str})


async def read_overview(dashboard: Dashboard, values: Values) -> Data:
    """The counts of the fleet and of each queue, its past, and what needs attention."""
    counted = await dashboard.fleet.statistics()
    seen = await dashboard.diagnosis()
    since = await range_of(dashboard, values["since"])
    history = await history_of(dashboard, since)
    return {
        "totals": {name: counted[name] for name in TOTALS},
        "by_queue": counted["by_queue"],
        "findings": [one for level in SHOWN for one in seen["findings"] if one["level"] == level],
        "new_groups": await new_groups(dashboard),
        "checked": seen["at"],
        "range": since,
        "ended": {name: _sum(history, name) for name in ENDED},
        "history": history,
        "functions": await busiest(dashboard),
    }


def _sum(history: Data, name: str) -> int | None:
    """A count of the range of the charts; None if it was not sampled."""
    known = [one[name] for one in history["points"] if one[name] is not None]
    return sum(known) if known else None


async def read_doctor(dashboard: Dashboard, _values: Values) -> Data:
    """What the doctor reports."""
    return await dashboard.diagnosis()


async def read_settings(dashboard: Dashboard, _values: Values) -> Data:
    """The settings that this process has; passwords are masked."""
    rows: list[dict[str, Any]] = []
    for row in SETTINGS:
        value = getattr(dashboard.config, row.name)
        rows.append(
            {
                "name": row.name,
                "value": row.derived if value is None else row.show(value),
                "is_default": value == row.parse(row.default),
                "scope": row.scope,
                "variable": row.variable,
                "help": row.help,
            }
        )
    return {"version": VERSION, "settings": rows}


OVERVIEW = Page(
    path="/",
    api="/overview",
    title="Overview",
    summary="Show the counts of the fleet, its past, and what needs attention.",
    read=read_overview,
    template="overview",
    answer={
        "totals": Shape("Totals", TOTALS),
        "by_queue": dict[str, Any],
        "findings": list[Finding],
        "new_groups": list[DeadGroup],
        "checked": datetime | None,
        "range": str,
        "ended": Shape("EndedInRange", ENDED),
        "history": History,
        "functions": list[FunctionTimes],
    },
    parameters=(SINCE,),
)
PAGES = (
    Page(
        path="/doctor", title="Doctor", summary="Check the server, the workers and the data.", read=read_doctor,
        answer={"at": datetime | None, "findings": list[Finding]}, template="doctor", every=10.0,
    ),
    Page(
        path="/settings", title="Settings", summary="List the settings; passwords are masked.", read=read_settings,
        answer={"version": str, "settings": Many(SETTING)}, template="settings", every=60.0, role=Role.ADMIN,
    ),
)  # fmt: skip


# The audit: what operators did, and what was refused.


FILTERS = (
    Parameter(name="by", help="Only actions of this person or program."),
    Parameter(name="action", help="Only this action, such as queue.pause, or this kind, such as queue."),
    Parameter(name="target", help="Only actions on a target that contains this text."),
    Parameter(
        name="since", help="Only entries that are this young, such as 24h, or from this ISO time with a zone on."
    ),
    Parameter(name="until", help="Only entries that are older than this, such as 1h, or from before this ISO time."),
)
CURSOR = Parameter(name="cursor", help="The cursor of the page before.")
LIMIT = Parameter(name="limit", help="Entries per page.", least=1, most=200, default=50)


async def read_audit(dashboard: Dashboard, values: Values) -> Data:
    """A page of the audit, the newest entry first."""
    filters: dict[str, Any] = {name: values[name] for name in ("by", "action", "target")}
    page = await dashboard.fleet.audit(
        **filters, since=_moment("since", values["since"]), until=_moment("until", values["until"]),
        limit=values["limit"], cursor=values["cursor"] or "",
    )  # fmt: skip
    return {
        "entries": [dashboard.form.audit(one) for one in page.entries],
        "cursor": page.cursor,
        "filters": {one.name: values[one.name] for one in FILTERS},
    }


def _moment(name: str, text: str | None) -> datetime | None:
    """A time, from an age or an ISO time."""
    if text is None:
        return None
    try:
        if text[:1].isdecimal() and "-" not in text:
            return datetime.now(UTC) - timedelta(seconds=read_duration(text))
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        remedy = "give an age such as 24h, or an ISO time with a zone."
        raise refusal("invalid-request", f"{name} is {text!r:.100}; {remedy}", field=name) from None


AUDIT_PAGES = (
    Page(
        path="/audit", title="Audit", summary="List what operators did, and what was refused, the newest first.",
        read=read_audit, answer={"entries": list[AuditEntry], "cursor": str, "filters": dict[str, Any]},
        template="audit", every=5.0, parameters=(*FILTERS, CURSOR, LIMIT),
    ),
)  # fmt: skip


ACTIONS = tuple(Action.of(verb, back="/doctor") for verb in verbs_of(doctor))
