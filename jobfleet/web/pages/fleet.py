"""The whole fleet: the overview, the doctor, the limits and the settings."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from jobfleet.config import SETTINGS
from jobfleet.model.history import FunctionTimes, History
from jobfleet.operations.doctor.findings import Finding
from jobfleet.version import VERSION
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.pages.history import SINCE, busiest, history_of
from jobfleet.web.route import Data, Many, Page, Shape, Values
from jobfleet.web.safety.caller import Role

WRONG = ("fault", "warning")
TOTALS: dict[str, Any] = {
    "queued": int, "scheduled": int, "blocked": int, "retrying": int, "running": int, "completed": int, "failed": int,
    "cancelled": int, "expired": int, "queue_size": int, "dead_letters": int, "workers": int,
    "average_duration": float, "success_rate": float,
}  # fmt: skip
SETTING = Shape("Setting", {"name": str, "value": str, "is_default": bool, "scope": str, "variable": str, "help": str})


async def read_overview(dashboard: Dashboard, values: Values) -> Data:
    """The counts of the fleet and of each queue, its past, and what the doctor complains about."""
    counted = await dashboard.fleet.statistics()
    seen = await dashboard.diagnosis()
    findings = [one for one in seen["findings"] if one["level"] in WRONG]
    return {
        "totals": {name: counted[name] for name in TOTALS},
        "by_queue": counted["by_queue"],
        "findings": findings,
        "checked": seen["at"],
        "range": values["since"],
        "history": await history_of(dashboard, values["since"]),
        "functions": await busiest(dashboard),
    }


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
    summary="Show the counts of the fleet, its past, and what is wrong.",
    read=read_overview,
    template="overview",
    answer={
        "totals": Shape("Totals", TOTALS),
        "by_queue": dict[str, Any],
        "findings": list[Finding],
        "checked": datetime | None,
        "range": str,
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
