"""The queues, and one queue: what waits, who has paused it and why, and how many workers it needs; pause and resume."""

from __future__ import annotations

from typing import Any, get_type_hints

from jobfleet.model import JobStatus
from jobfleet.model.history import History, QueueTrend
from jobfleet.model.limits import LimitInfo
from jobfleet.model.scale import Scale
from jobfleet.operations import pause as pausing
from jobfleet.operations import queues as operations
from jobfleet.operations.jobs import listing
from jobfleet.operations.lanes import no_queue
from jobfleet.operations.queues import QueueInfo
from jobfleet.operations.verb import verbs_of
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.pages.fleet import SINCE, history_of, range_of, trends_of
from jobfleet.web.pages.jobs import JOB, job_row
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Values

RUNNING_SHOWN = 20
NAME = Parameter(name="name", help="The queue.", place="path")
CHANGE: dict[str, Any] = {"queue": str, "group": str | None, "function": str | None, "paused": bool, "changed": bool}


async def read_queues(dashboard: Dashboard, _values: Values) -> Data:
    """Every queue with its counts, and the last hour of the first 50."""
    every = await dashboard.fleet.queues()
    trends = await trends_of(dashboard, [one.name for one in every])
    return {"queues": [dashboard.form.queue(one) for one in every], "trends": trends}


async def read_queue(dashboard: Dashboard, values: Values) -> Data:
    """One queue with its limits and running jobs."""
    fleet, form, name = dashboard.fleet, dashboard.form, values["name"]
    every = {one.name: one for one in await fleet.queues()}
    if name not in every:
        raise no_queue(name, every)
    limits = await fleet.limits(name)
    running = await fleet.jobs(queue=name, status=JobStatus.RUNNING, limit=RUNNING_SHOWN)
    since = await range_of(dashboard, values["since"])
    return {
        "queue": form.queue(every[name]),
        "limits": [form.limit(one) for one in limits],
        "running": [job_row(form, one) for one in running.jobs],
        "range": since,
        "history": await history_of(dashboard, since, queue=name),
    }


PAGES = (
    Page(
        path="/queues", title="Queues", summary="List the queues with their counts and pauses.", read=read_queues,
        answer={"queues": list[QueueInfo], "trends": list[QueueTrend]}, template="queues",
    ),
    Page(
        path="/queues/{name}", title="Queue", summary="Show one queue with its limits, running jobs and past.",
        read=read_queue, answer={"queue": QueueInfo, "limits": list[LimitInfo], "running": Many(JOB), "range": str,
                            "history": History},
        template="queue", parameters=(NAME, SINCE),
    ),
)  # fmt: skip

ACTIONS = tuple(
    Action.of(verb, back="/queues" if verb.name in ("queues.remove", "queues.clean") else "/queues/{queue}")
    for verb in verbs_of(pausing, operations, listing)
)


# How many workers a queue needs, for autoscalers.


MOST = 10_000
LEAST_WORKERS = Parameter(name="least", help="The smallest number of workers.", least=0, most=MOST, default=0)
MOST_WORKERS = Parameter(name="most", help="The largest number of workers.", least=1, most=MOST, default=100)
WAIT = Parameter(
    name="wait", help="Within which time due jobs should start: seconds, or a duration such as 15s.", default="15s"
)
HOLD = Parameter(name="hold", help="How long workers are kept after the demand was larger.", default="5m")


async def read_scale(dashboard: Dashboard, values: Values) -> Data:
    """How many workers a queue needs."""
    rule = {name: values[name] for name in ("least", "most", "wait", "hold")}
    return dashboard.form.scale(await dashboard.fleet.scale(values["name"], **rule))


SCALE = Page(
    path="/scale/{name}", title="Scale", read=read_scale, answer=get_type_hints(Scale),
    summary="Compute how many workers a queue needs, why, and which ones to remove.",
    parameters=(NAME, LEAST_WORKERS, MOST_WORKERS, WAIT, HOLD),
)  # fmt: skip
