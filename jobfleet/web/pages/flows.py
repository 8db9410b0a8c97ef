"""The flows, and one flow as a graph with its jobs; cancel, and retry the failed jobs.

Calls of Redis for L lanes: the list needs 1, and at most 1 + L for each of the 10 flows of a page, of which it reads 40
jobs; one flow needs at most 7 + L, and reads 300 jobs at once. It is as many calls again if jobs were moved.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from jobfleet.clock import iso
from jobfleet.errors import JobNotFound
from jobfleet.operations.flows.info import FAILED, FlowPart
from jobfleet.operations.flows.record import FlowJob
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Shape, Values
from jobfleet.web.safety.caller import Caller

FLOWS_SHOWN = 10
FLOWS_KEPT = 1000
JOBS_LISTED, JOBS_READ = 40, 300
"""The jobs that are read of a flow in the list, and at once of one flow: each costs eight commands."""
OPEN = ("running", "retrying", "queued", "scheduled")
FLOW = Parameter(name="flow", help="The id of the flow.", place="path")
SKIP = Parameter(name="skip", help="Newer flows to leave out.", least=0, most=FLOWS_KEPT, default=0)
BEGIN = Parameter(name="begin", help="The number of the first job.", least=0, most=1_000_000, default=0)
ROW = Shape("FlowRow", {
    "id": str, "name": str, "status": str, "made": datetime | None, "jobs": int, "read": int, "states": dict[str, int],
})  # fmt: skip
JOB = Shape("FlowJob", {
    "number": int, "id": str, "name": str, "label": str, "function": str, "status": str, "parents": list[int],
    "after": list[str], "otherwise": list[str], "added_by": str | None, "progress": float,
    "started_at": datetime | None, "completed_at": datetime | None, "duration": float | None, "error": str | None,
})  # fmt: skip


async def read_flows(dashboard: Dashboard, values: Values) -> Data:
    """The newest flows with their states."""
    skip = values["skip"]
    listed = await dashboard.fleet.flows(limit=min(FLOWS_KEPT, skip + FLOWS_SHOWN + 1))
    rows: list[Data] = []
    for flow_id, made in listed[skip : skip + FLOWS_SHOWN]:
        with suppress(JobNotFound):  # its record cannot be read, or has expired meanwhile
            part = await dashboard.fleet.flows.part(flow_id, limit=JOBS_LISTED)
            rows.append(_head(part) | {"made": iso(made)})
    return {"flows": rows, "next": skip + FLOWS_SHOWN if len(listed) > skip + FLOWS_SHOWN else 0}


def _head(part: FlowPart) -> Data:
    """A flow without its jobs. If not all of them were read, the state is the worst of these, or ``large``."""
    states = Counter(job.status for job in part.jobs)
    seen = next((word for word in OPEN if states[word]), "large")
    return {
        "id": part.id,
        "name": part.name,
        "status": part.whole.status if part.whole is not None else "failing" if states[FAILED] else seen,
        "jobs": len(part.ids),
        "read": len(part.jobs),
        "states": dict(sorted(states.items())),
    }


async def read_flow(dashboard: Dashboard, values: Values) -> Data:
    """One flow with its jobs, at most 300 of them at once."""
    part = await dashboard.fleet.flows.part(values["flow"], begin=values["begin"], limit=JOBS_READ)
    following = part.begin + len(part.jobs)
    whole, ids = part.whole, list(part.ids)
    ids[part.begin : following] = [job.id for job in part.jobs]  # a moved job has another id
    return {
        "flow": _head(part) | {"made": None},
        "jobs": [_job(dashboard, number, job, ids) for number, job in enumerate(part.jobs, part.begin)],
        "is_done": whole.is_done if whole is not None else False,
        "next": following if following < len(part.ids) else 0,
    }


def _job(dashboard: Dashboard, number: int, job: FlowJob, ids: Sequence[str]) -> Data:
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
        "error": result.error if result is not None else None,
    }


async def cancel(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Cancel the open jobs of a flow."""
    return {"id": values["flow"], "cancelled": await dashboard.fleet.flows.cancel(values["flow"], by=caller.name)}


async def retry(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Retry a flow from its failed jobs."""
    return {"id": values["flow"], "again": await dashboard.fleet.flows.retry(values["flow"], by=caller.name)}


def _number(count: int, one: str, many: str) -> str:
    return f"1 job {one}." if count == 1 else f"{count:,} jobs {many}."


PAGES = (
    Page(
        path="/flows", title="Flows", summary="List the newest flows with their states.", read=read_flows,
        answer={"flows": Many(ROW), "next": int}, template="flows", every=2.0, parameters=(SKIP,),
    ),
    Page(
        path="/flows/{flow}", title="Flow", summary="Show one flow with the states of at most 300 of its jobs.",
        read=read_flow, template="flow", parameters=(FLOW, BEGIN),
        answer={"flow": ROW, "jobs": Many(JOB), "is_done": bool, "next": int},
    ),
)  # fmt: skip
ACTIONS = (
    Action(
        path="/flows/{flow}/cancel", summary="Cancel the open jobs of a flow.", act=cancel,
        answer={"id": str, "cancelled": int}, back="/flows/{flow}", parameters=(FLOW,),
        note=lambda data: _number(data["cancelled"], "was cancelled or must stop", "were cancelled or must stop"),
    ),
    Action(
        path="/flows/{flow}/retry", summary="Retry a flow: replay its failed jobs, and what they have held up.",
        act=retry, answer={"id": str, "again": int}, back="/flows/{flow}", parameters=(FLOW,),
        note=lambda data: _number(data["again"], "runs again", "run again"),
    ),
)  # fmt: skip
