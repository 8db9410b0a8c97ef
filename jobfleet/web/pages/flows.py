"""The flows, and one flow as a graph with its jobs; cancel, and retry the failed jobs.

Calls of Redis for L lanes: the list needs 1, and at most 1 + L for each of the 10 flows of a page, of which it reads 40
jobs, and 1 + L again for each larger flow that it reads as a whole, of at most 600 jobs together; one flow needs at
most 7 + L, and reads 300 jobs at once. It is as many calls again if jobs were moved. The open flows need 1, and at most
1 + L for each flow that is looked at, of which about 800 jobs are read together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from jobfleet.clock import iso
from jobfleet.errors import JobNotFound
from jobfleet.model import STORED
from jobfleet.operations.flows import flow
from jobfleet.operations.flows.record import FAILED, FAILING, FlowJob, FlowPart
from jobfleet.operations.jobs.parents import cancelling_parent
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.flow_graph import titled, worst_jobs_first
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Shape, Values

FLOWS_SHOWN = 10
FLOWS_KEPT = 1000
JOBS_LISTED, JOBS_MORE, JOBS_READ = 40, 600, 300
"""The jobs that are read of a flow in the list, of all larger flows there as a whole, and at once of one flow: each
costs eight commands."""
OPEN = ("running", "retrying", "queued", "scheduled")
UNKNOWN = "unknown"
"""The status of a flow of which not all jobs were read: another job may have failed, or may run."""
FLOW = Parameter(name="flow", help="The id of the flow.", place="path")
JOBS_LOOKED = 800
"""The jobs that are read, about, to find the open flows of a page."""
OPEN_ONLY = Parameter(
    name="open", help="Only flows with a job that may still run, or of which not all jobs were read.", words=("yes",)
)  # fmt: skip
SKIP = Parameter(name="skip", help="Newer flows to leave out.", least=0, most=FLOWS_KEPT, default=0)
BEGIN = Parameter(name="begin", help="The number of the first job.", least=0, most=1_000_000, default=0)
STATUS = Parameter(name="status", help="Only jobs in this state.", words=(*map(str, STORED), "gone"))
NAME = Parameter(name="name", help="Only jobs with this text in their name, arguments or function.")
SORT = Parameter(
    name="sort", help="The order of the jobs; by state the worst come first.", words=("number", "state", "name", "took")
)  # fmt: skip
UNFOLD = Parameter(
    name="unfold", help="Siblings that the graph shows one by one: the numbers of their first jobs, with commas."
)  # fmt: skip
ROW = Shape("FlowRow", {
    "id": str, "name": str, "status": str, "made": datetime | None, "jobs": int, "read": int, "states": dict[str, int],
})  # fmt: skip
JOB = Shape("FlowJob", {
    "number": int, "id": str, "name": str, "label": str, "function": str, "status": str, "parents": list[int],
    "after": list[str], "otherwise": list[str], "added_by": str | None, "progress": float,
    "started_at": datetime | None, "completed_at": datetime | None, "duration": float | None, "error": str | None,
    "cause": int | None, "is_shared": bool,
})  # fmt: skip
ASKED = Shape("FlowView", {
    "begin": int, "status": str | None, "name": str | None, "sort": str | None, "unfold": list[int],
})  # fmt: skip


async def read_flows(dashboard: Dashboard, values: Values) -> Data:
    """The newest flows with their states."""
    if values["open"]:
        return await _read_open(dashboard, values["skip"])
    skip = values["skip"]
    listed = await dashboard.fleet.flows(limit=min(FLOWS_KEPT, skip + FLOWS_SHOWN + 1))
    parts: dict[str, FlowPart] = {}
    shown = listed[skip : skip + FLOWS_SHOWN]
    for flow_id, _ in shown:
        with suppress(JobNotFound):  # its record cannot be read, or has expired meanwhile
            parts[flow_id] = await dashboard.fleet.flows.part(flow_id, limit=JOBS_LISTED)
    parts |= await _wholes(dashboard, [part for part in parts.values() if part.whole is None])
    rows = [_head(parts[flow_id]) | {"made": iso(made)} for flow_id, made in shown if flow_id in parts]
    following = skip + FLOWS_SHOWN if len(listed) > skip + FLOWS_SHOWN else 0
    return {"flows": rows, "next": following, "looked": len(shown), "is_open": False}


async def _read_open(dashboard: Dashboard, skip: int) -> Data:
    """The next open flows, among a bounded number of flows that are looked at."""
    listed = await dashboard.fleet.flows(limit=FLOWS_KEPT)
    rows: list[Data] = []
    room, looked = JOBS_LOOKED, 0
    for flow_id, made in listed[skip:]:
        if room <= 0 or len(rows) == FLOWS_SHOWN:
            break
        looked += 1
        with suppress(JobNotFound):
            part = await dashboard.fleet.flows.part(flow_id, limit=JOBS_LISTED)
            room -= len(part.jobs)
            if _may_be_open(part):
                rows.append(_head(part) | {"made": iso(made)})
    following = skip + looked if len(listed) > skip + looked else 0
    return {"flows": rows, "next": following, "looked": looked, "is_open": True}


def _may_be_open(part: FlowPart) -> bool:
    return part.whole is None or not part.whole.is_done


async def _wholes(dashboard: Dashboard, parts: Sequence[FlowPart]) -> dict[str, FlowPart]:
    """Read flows as a whole, the smallest first, as far as their jobs are few: only all jobs together have a state."""
    found: dict[str, FlowPart] = {}
    room = JOBS_MORE
    for part in sorted(parts, key=lambda one: len(one.ids)):
        room -= len(part.ids)
        if room < 0:
            break
        with suppress(JobNotFound):
            found[part.id] = await dashboard.fleet.flows.part(part.id, limit=len(part.ids))
    return found


def _head(part: FlowPart) -> Data:
    """A flow without its jobs. Of a part of them only ``failing`` is sure: one job has failed, another is open."""
    states = Counter(job.status for job in part.jobs)
    seen = FAILING if states[FAILED] and any(states[word] for word in OPEN) else UNKNOWN
    return {
        "id": part.id,
        "name": part.name,
        "status": part.whole.status if part.whole is not None else seen,
        "jobs": len(part.ids),
        "read": len(part.jobs),
        "states": dict(sorted(states.items())),
    }


async def read_flow(dashboard: Dashboard, values: Values) -> Data:
    """One flow with its jobs, at most 300 at once; `listed` has the numbers of those that the filters choose."""
    part = await dashboard.fleet.flows.part(values["flow"], begin=values["begin"], limit=JOBS_READ)
    following = part.begin + len(part.jobs)
    whole, ids = part.whole, list(part.ids)
    ids[part.begin : following] = [job.id for job in part.jobs]  # a moved job has another id
    numbered = list(enumerate(part.jobs, part.begin))
    known = {job.id: (number, job) for number, job in numbered}
    jobs = [_job(dashboard, number, job, ids, _cause(job, known)) for number, job in numbered]
    return {
        "flow": _head(part) | {"made": None},
        "jobs": jobs,
        "listed": [job["number"] for job in _chosen(jobs, values)],
        "stopped": sum(job["status"] == FAILED or bool(cancelling_parent(job["error"])) for job in jobs),
        "on_failure": part.on_failure,
        "is_done": whole.is_done if whole is not None else False,
        "next": following if following < len(part.ids) else 0,
        "view": {**{name: values[name] for name in ("begin", "status", "name", "sort")}, "unfold": _unfolded(values)},
    }


def _chosen(jobs: Sequence[Data], values: Values) -> Sequence[Mapping[str, Any]]:
    """The jobs that the filters choose, in the order that is asked for."""
    text = (values["name"] or "").casefold()
    found = [
        job
        for job in jobs
        if values["status"] in (None, job["status"]) and text in f"{titled(job)}\n{job['function']}".casefold()
    ]
    match values["sort"]:
        case "state":
            return worst_jobs_first(found)
        case "name":
            return sorted(found, key=_by_name)
        case "took":
            return sorted(found, key=lambda job: -(job["duration"] or 0.0))
    return found


_PARTS = re.compile(r"\d{1,20}|\D+")


def _by_name(job: Data) -> list[str]:
    """What sorts jobs by name, so that 9 is before 10."""
    return [one.zfill(20) if one.isdecimal() else one for one in _PARTS.findall(titled(job))]


def _unfolded(values: Values) -> list[int]:
    """The numbers of the siblings that are unfolded; what is not a number is left out."""
    return sorted({int(one) for one in (values["unfold"] or "").split(",") if one.isdecimal() and len(one) < 10})


def _cause(job: FlowJob, jobs: Mapping[str, tuple[int, FlowJob]]) -> int | None:
    """The number of the job because of which a job was cancelled, as far as the jobs are known; None if it was not."""
    found = None
    while job.result is not None and (parent := cancelling_parent(job.result.error)) in jobs:
        found, job = jobs[parent]
    return found


def _job(dashboard: Dashboard, number: int, job: FlowJob, ids: Sequence[str], cause: int | None) -> Data:
    result = job.result
    return {
        "number": number,
        "id": job.id,
        "name": job.name,
        "label": job.label,
        "function": job.function,
        "status": job.status,
        "parents": list(job.parents),
        "after": [ids[parent] for parent in job.parents],
        "otherwise": list(job.otherwise),
        "added_by": job.added_by,
        "progress": result.progress if result is not None else 0.0,
        "started_at": iso(result.started_at) if result is not None else None,
        "completed_at": iso(result.completed_at) if result is not None else None,
        "duration": dashboard.form.value(result.duration) if result is not None else None,
        "error": result.error_text or None if result is not None else None,
        "cause": cause,
        "is_shared": job.is_shared,
    }


PAGES = (
    Page(
        path="/flows", title="Flows", summary="List the newest flows with their states.", read=read_flows,
        answer={"flows": Many(ROW), "next": int, "looked": int, "is_open": bool}, template="flows", every=2.0,
        parameters=(OPEN_ONLY, SKIP),
    ),
    Page(
        path="/flows/{flow}", title="Flow", summary="Show one flow with the states of at most 300 of its jobs.",
        read=read_flow, template="flow", parameters=(FLOW, BEGIN, STATUS, NAME, SORT, UNFOLD),
        answer={
            "flow": ROW, "jobs": Many(JOB), "listed": list[int], "stopped": int, "on_failure": str | None,
            "is_done": bool, "next": int, "view": ASKED,
        },
    ),
)  # fmt: skip
ACTIONS = tuple(Action.of(verb, back="/flows/{id}") for verb in (flow.cancel, flow.retry))
