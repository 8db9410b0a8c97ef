"""The workers, and what each of them runs; quiet, resume and stop."""

from __future__ import annotations

from typing import Any, get_type_hints

from jobfleet.model import JobResult, JobStatus
from jobfleet.operations.workers.commands import Confirmation
from jobfleet.operations.workers.info import WorkerInfo
from jobfleet.operations.workers.stacks import ChildStacks
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.pages.jobs import JOB, job_row
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Values
from jobfleet.web.safety.caller import Caller, Role

RUNNING_SHOWN, RUNNING_READ = 200, 1000
TIMEOUT = 3.0
"""Seconds for which a page waits for a worker to confirm. It may confirm later."""
STACKS_TIMEOUT = 8.0
"""The same for the stacks of a child, which it may take 4 s to write."""
ID = Parameter(name="id", help="The id of the worker.", place="path")
PROCESSES = Parameter(name="processes", help="The number of its children.", place="body", least=1, most=1024)
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
    return await _command(dashboard, values, caller, "stop")


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


PAGES = (
    Page(
        path="/workers", title="Workers", summary="List the workers, and what they run.", read=read_workers,
        answer={"workers": list[WorkerInfo], "running": Many(JOB)}, template="workers",
    ),
    Page(
        path="/workers/{id}", title="Worker", summary="Show one worker with its children, and what they run.",
        read=read_worker, answer={"worker": WorkerInfo, "running": Many(JOB), "is_complete": bool}, template="worker",
        parameters=(ID,),
    ),
)  # fmt: skip
ACTIONS = (
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
        note=_note, back="/workers", parameters=(ID,), role=Role.ADMIN,
    ),
)  # fmt: skip
