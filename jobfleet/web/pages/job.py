"""One job: state, progress, attempts, logs, arguments and result, and why it is not running; cancel and retry."""

from __future__ import annotations

from collections import deque
from datetime import datetime
from typing import Any

from jobfleet.errors import JobNotFound
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.result import Chunk, JobDetails, LogLine, Parent, Reason
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Shape, Values
from jobfleet.web.safety.caller import Caller

LOG_SHOWN = 200
"""Lines of the log that the page shows, from its end."""
ID = Parameter(name="id", help="The id of the job.", place="path")
TAIL = Parameter(name="tail", help="Lines from the end of the log.", least=1, most=1000, default=LOG_SHOWN)
OUTPUT_SHOWN = 200
"""Chunks of the output that the page shows, from its end."""
CHUNKS = Parameter(name="tail", help="Chunks from the end of the output. [all]", least=1, most=1_000_000)
STATE = Shape.of("JobState", JobResult)
PAST = Shape("Past", {"event": str, "at": datetime | None})
DETAILS = Shape.of(
    "JobDetails", JobResult, JobDetails, without=("job", "priority", "history", "parents"),
    priority=str | None, history=Many(PAST), parents=list[Parent],
)  # fmt: skip


async def read_job(dashboard: Dashboard, values: Values) -> Data:
    """A job in full. A part of an id is enough."""
    fleet, form = dashboard.fleet, dashboard.form
    (job_id,) = await fleet.full_ids([values["id"]])
    explanation = await fleet.explain(job_id)
    details = explanation.details or await fleet.details(job_id)
    return {
        "job": form.details(details),
        "reasons": [
            form.value({"code": one.code, "text": one.text, "facts": one.facts}) for one in explanation.reasons
        ],
        "logs": await _logs(dashboard, job_id, LOG_SHOWN),
        "output": await _output(dashboard, job_id),
        "is_open": not details.job.status.is_final,
        "is_dead": (dead_group := await _group(dashboard, details.job)) is not None,
        "dead_group": dead_group or "",
    }


async def read_logs(dashboard: Dashboard, values: Values) -> Data:
    """The last lines of a job's log."""
    (job_id,) = await dashboard.fleet.full_ids([values["id"]])
    await dashboard.fleet.poll(job_id)
    return {"id": job_id, "logs": await _logs(dashboard, job_id, values["tail"])}


async def read_output(dashboard: Dashboard, values: Values) -> Data:
    """The last chunks of a job's output, after a position."""
    (job_id,) = await dashboard.fleet.full_ids([values["id"]])
    chunks = dashboard.fleet.stream(job_id, values.get("after"), tail=values["tail"], follow=False)
    return {"id": job_id, "chunks": [dashboard.form.chunk(chunk) async for chunk in chunks]}


async def read_state(dashboard: Dashboard, values: Values) -> Data:
    """The state of a job, with its progress and its result."""
    (job_id,) = await dashboard.fleet.full_ids([values["id"]])
    return {"job": dashboard.form.job(await dashboard.fleet.poll(job_id))}


def _has_ended(data: Data) -> bool:
    return JobStatus(data["job"]["status"]).is_final


def _without_duration(data: Data) -> Data:
    """What is compared: the duration of a running job differs at each read, and no reader of the stream needs that."""
    return data | {"job": data["job"] | {"duration": None}}


async def _logs(dashboard: Dashboard, job_id: str, most: int) -> list[dict[str, object]]:
    lines: deque[LogLine] = deque(maxlen=most)
    try:
        async for line in dashboard.fleet.logs(job_id, tail=most):
            lines.append(line)
    except JobNotFound:
        return []
    return [dashboard.form.line(line) for line in lines]


async def _output(dashboard: Dashboard, job_id: str) -> list[dict[str, object]]:
    try:
        return list((await read_output(dashboard, {"id": job_id, "tail": OUTPUT_SHOWN}))["chunks"])
    except JobNotFound:
        return []


async def _group(dashboard: Dashboard, job: JobResult[Any]) -> str | None:
    """The fingerprint of the group of a job's dead letter, by which it can be retried; None if it has no letter."""
    if job.status is not JobStatus.FAILED:
        return None
    try:
        return (await dashboard.fleet.letter(job.id)).fingerprint
    except JobNotFound:
        return None


async def cancel(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Cancel a job, or ask it to stop."""
    job_id = values["id"]
    was_cancelled = await dashboard.fleet.cancel(job_id, by=caller.name)
    status = (await dashboard.fleet.poll(job_id)).status
    return {"id": job_id, "cancelled": was_cancelled, "status": str(status)}


async def retry(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Put a dead job back into its queue."""
    job_id = values["id"]
    was_replayed = await dashboard.fleet.replay(job_id, by=caller.name)
    return {"id": job_id, "retried": was_replayed}


def _cancel_note(data: Data) -> str:
    if not data["cancelled"]:
        return f"It had ended already: {data['status']}."
    return "It was asked to stop." if data["status"] == "running" else "It was cancelled."


def _retry_note(data: Data) -> str:
    return "It is back in its queue." if data["retried"] else "It was open already."


_ANSWER: dict[str, Any] = {
    "job": DETAILS, "reasons": list[Reason], "logs": list[LogLine], "output": list[Chunk], "is_open": bool,
    "is_dead": bool, "dead_group": str,
}  # fmt: skip
PAGES = (
    Page(
        path="/jobs/{id}", title="Job", summary="Show one job: its state, attempts, log, arguments, result, and why.",
        read=read_job, answer=_ANSWER, template="job", every=0.5, parameters=(ID,),
    ),
    Page(
        path="/jobs/{id}/logs", title="Log", summary="Show the last lines of a job's log.", read=read_logs,
        answer={"id": str, "logs": list[LogLine]}, parameters=(ID, TAIL),
    ),
    Page(
        path="/jobs/{id}/events", title="Events",
        summary="Send the state of a job as server-sent events at each change, until it ends.", read=read_state,
        answer={"job": STATE}, parameters=(ID,), every=0.5, ends=_has_ended, compared=_without_duration,
    ),
    Page(
        path="/jobs/{id}/stream", title="Output",
        summary="Send what a job emits as server-sent events, a chunk each, until it ends.", read=read_output,
        answer={"id": str, "chunks": list[Chunk]}, parameters=(ID, CHUNKS), is_output=True,
    ),
)  # fmt: skip
ACTIONS = (
    Action(
        path="/jobs/{id}/cancel", summary="Cancel a waiting job, or ask a running one to stop.", act=cancel,
        answer={"id": str, "cancelled": bool, "status": str}, note=_cancel_note, back="/jobs/{id}", parameters=(ID,),
    ),
    Action(
        path="/jobs/{id}/retry", summary="Put a dead job back into its queue.", act=retry,
        answer={"id": str, "retried": bool}, note=_retry_note, back="/jobs/{id}", parameters=(ID,),
    ),
)  # fmt: skip
