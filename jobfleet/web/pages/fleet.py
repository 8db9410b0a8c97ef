"""The whole fleet: the overview, the doctor, the settings, the past, the audit and the workers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Unpack, get_type_hints

from jobfleet.clock import read_duration
from jobfleet.config import SETTINGS
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.audit import AuditEntry
from jobfleet.model.history import FunctionTimes, History
from jobfleet.operations.dead_groups import DeadGroup, GroupState
from jobfleet.operations.doctor import doctor
from jobfleet.operations.doctor.findings import Finding
from jobfleet.operations.functions import FunctionFilters, FunctionInfo
from jobfleet.operations.verb import Duration, kind_of, verbs_of
from jobfleet.operations.workers import ChildStacks, Confirmation, WorkerInfo
from jobfleet.version import VERSION
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.pages.jobs import JOB, job_row
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Shape, Values
from jobfleet.web.safety.access import Caller, Role

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


async def functions_of(dashboard: Dashboard, **filters: Unpack[FunctionFilters]) -> list[Data]:
    """The functions that match; all pages with the same filters share one read."""

    async def read() -> Data:
        found = await dashboard.fleet.functions(**filters)
        return {"functions": [dashboard.form.function(one) for one in found]}

    key = ("functions", *sorted((name, str(given)) for name, given in filters.items() if given is not None))
    found: list[Data] = (await dashboard.hub.once(key, read, fresh_for=FRESH_FOR))["functions"]
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


# The workers, and what each of them runs; quiet, resume and stop.


RUNNING_SHOWN, RUNNING_READ = 200, 1000
TIMEOUT = 3.0
"""Seconds for which a page waits for a worker to confirm. It may confirm later."""
STACKS_TIMEOUT = 8.0
"""The same for the stacks of a child, which it may take 4 s to write."""
ID = Parameter(name="id", help="The id of the worker.", place="path")
PROCESSES = Parameter(name="processes", help="The number of its children.", place="body", least=1, most=1024)
GRACE = Parameter(
    name="grace",
    help="Time for running jobs to end; by default the setting of the worker.",
    place="body",
    kind=kind_of(Duration),
)
CHILD = Parameter(
    name="child", help="The number of the child, which its id ends with.", place="body", least=0, most=999_999_999
)
CHANGE: dict[str, Any] = {"worker": str, "state": str, "children": int, "is_confirmed": bool, "refusal": str}


async def read_workers(dashboard: Dashboard, _values: Values) -> Data:
    """Every worker, and at most 200 running jobs."""
    fleet, form = dashboard.fleet, dashboard.form
    workers = await fleet.workers()
    running = await fleet.jobs(status=JobStatus.RUNNING, limit=RUNNING_SHOWN)
    return {
        "workers": [form.worker(one) for one in workers],
        "running": [job_row(form, one) for one in running.jobs],
    }


async def read_worker(dashboard: Dashboard, values: Values) -> Data:
    """One worker with its children and its running jobs, of at most 1,000 running jobs of the fleet."""
    fleet, form, name = dashboard.fleet, dashboard.form, values["id"]
    found = next((one for one in await fleet.workers() if one.id == name), None)
    if found is None:
        raise _unknown(name)
    jobs: list[JobResult[Any]] = []
    cursor, read = "", 0
    while read < RUNNING_READ:
        page = await fleet.jobs(status=JobStatus.RUNNING, limit=RUNNING_SHOWN, cursor=cursor)
        jobs += [one for one in page.jobs if worker_of(one.worker) == name]
        cursor, read = page.cursor, read + RUNNING_SHOWN
        if not cursor:
            break
    return {
        "worker": form.worker(found),
        "running": [job_row(form, one) for one in jobs[:RUNNING_SHOWN]],
        "is_complete": not cursor and len(jobs) <= RUNNING_SHOWN,
        "functions": [] if found.is_gone else await functions_of(dashboard, worker=name),
    }


def worker_of(child: str | None) -> str:
    """The worker of a child."""
    return (child or "").rpartition(".")[0]


def _unknown(worker: str) -> Problem:
    return Problem(404, "worker-not-found", f"No worker {worker!r}.")


async def _command(dashboard: Dashboard, values: Values, caller: Caller, verb: str, **more: Any) -> Data:
    (found,) = await dashboard.fleet.command_workers([values["id"]], verb, timeout=TIMEOUT, by=caller.name, **more)
    if found.state == "unknown":
        raise _unknown(values["id"])
    return _data(dashboard, found)


def _data(dashboard: Dashboard, confirmation: Confirmation) -> dict[str, Any]:
    return dashboard.form.confirmation(confirmation)


async def quiet(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Let a worker claim no more jobs."""
    return await _command(dashboard, values, caller, "quiet")


async def resume(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Let a worker claim jobs again."""
    return await _command(dashboard, values, caller, "resume")


async def stop(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Let a worker finish its jobs and end."""
    return await _command(dashboard, values, caller, "stop", grace=values["grace"])


async def scale(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Give a worker another number of children."""
    if values["processes"] is None:
        raise refusal("invalid-request", "processes: give the number of children.")
    return await _command(dashboard, values, caller, "scale", processes=values["processes"])


async def dump(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Let a worker write the stacks of its children to its log."""
    return await _command(dashboard, values, caller, "dump")


async def stacks(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Ask for the stacks of a child."""
    if values["child"] is None:
        raise refusal("invalid-request", "child: give the number of the child, which its id ends with.", field="child")
    child = f"{values['id']}.{values['child']}"
    found = await dashboard.fleet.child_stacks(child, timeout=STACKS_TIMEOUT, by=caller.name)
    if not found.is_known:
        raise _unknown(values["id"])
    return dashboard.form.stacks(found)


def _dump_note(data: Data) -> str:
    return f"{data['worker']} writes the stacks of its children to its log." if data["is_confirmed"] else _note(data)


def _note(data: Data) -> str:
    if data["refusal"]:
        return f"{data['worker']} {data['refusal']}"
    return f"{data['worker']} is {data['state']}." + ("" if data["is_confirmed"] else " It has not confirmed yet.")


WORKER_PAGES = (
    Page(
        path="/workers", title="Workers", summary="List the workers, and what they run.", read=read_workers,
        answer={"workers": list[WorkerInfo], "running": Many(JOB)}, template="workers",
    ),
    Page(
        path="/workers/{id}", title="Worker", summary="Show one worker with its children, and what they run.",
        read=read_worker,
        answer={"worker": WorkerInfo, "running": Many(JOB), "is_complete": bool, "functions": list[FunctionInfo]},
        template="worker", parameters=(ID,),
    ),
)  # fmt: skip
ACTIONS = (
    *(Action.of(verb, back="/doctor") for verb in verbs_of(doctor)),
    Action(
        path="/workers/{id}/quiet", summary="Let a worker claim no more jobs; running jobs continue.", act=quiet,
        answer=CHANGE, note=_note, back="/workers", parameters=(ID,),
    ),
    Action(
        path="/workers/{id}/resume", summary="Let a quiet worker claim jobs again.", act=resume, answer=CHANGE,
        note=_note, back="/workers", parameters=(ID,),
    ),
    Action(
        path="/workers/{id}/scale", summary="Give a worker another number of children.", act=scale,
        answer=CHANGE, note=_note, back="/workers", parameters=(ID, PROCESSES), role=Role.ADMIN,
    ),
    Action(
        path="/workers/{id}/dump", summary="Let a worker write the stacks of its children to its log.", act=dump,
        answer=CHANGE, note=_dump_note, back="/workers", parameters=(ID,),
    ),
    Action(
        path="/workers/{id}/stacks", summary="Show the stacks of a child: of its threads and tasks, with their jobs.",
        act=stacks, answer=get_type_hints(ChildStacks), back="/workers/{id}", parameters=(ID, CHILD), shows="stacks",
    ),
    Action(
        path="/workers/{id}/stop", summary="Let a worker finish its jobs and end.", act=stop, answer=CHANGE,
        note=_note, back="/workers", parameters=(ID, GRACE), role=Role.ADMIN,
    ),
)  # fmt: skip
