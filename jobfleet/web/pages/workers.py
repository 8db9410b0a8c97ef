"""The workers with what each runs, and the functions that they know; quiet, resume, scale and stop workers."""

from __future__ import annotations

from typing import Any, Unpack, get_type_hints

from jobfleet.errors import InvalidJob
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.history import History
from jobfleet.operations.functions import FunctionFilters, FunctionInfo
from jobfleet.operations.verb import Duration, fields_of, kind_of
from jobfleet.operations.workers import ChildStacks, Confirmation, WorkerInfo
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import Problem, code_of, refusal
from jobfleet.web.pages.fleet import FRESH_FOR, SINCE, history_of, range_of
from jobfleet.web.pages.jobs import JOB, job_row
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Values
from jobfleet.web.safety.access import Caller, Role

# The functions of the fleet, and one of them.
#
# Calls of Redis: four round trips for the first 50 functions, and two more for each further 50, at most ten.


FUNCTION_FILTERS = tuple(Parameter.of(one, "query") for one in fields_of(FunctionFilters))
FUNCTION_NAME = Parameter(name="function", help="The registered name of the function.", place="path")
UNKNOWN_FUNCTION = code_of(InvalidJob)


async def functions_of(dashboard: Dashboard, **filters: Unpack[FunctionFilters]) -> list[Data]:
    """The functions that match; all pages with the same filters share one read."""

    async def read() -> Data:
        found = await dashboard.fleet.functions(**filters)
        return {"functions": [dashboard.form.function(one) for one in found]}

    key = ("functions", *sorted((name, str(given)) for name, given in filters.items() if given is not None))
    found: list[Data] = (await dashboard.hub.once(key, read, fresh_for=FRESH_FOR))["functions"]
    return found


async def read_functions(dashboard: Dashboard, values: Values) -> Data:
    """The functions that match the filters."""
    given = {one.name: values[one.name] for one in FUNCTION_FILTERS}
    found = await functions_of(dashboard, function=given["function"], queue=given["queue"], worker=given["worker"])
    return {"functions": found, "filters": given}


async def read_function(dashboard: Dashboard, values: Values) -> Data:
    """One function with its past."""
    name = values["function"]
    try:
        (found,) = await functions_of(dashboard, function=name)
    except Problem as problem:  # a shared read raises the problem of an error
        if problem.code != UNKNOWN_FUNCTION:
            raise
        raise Problem(404, "function-not-found", problem.message) from None
    since = await range_of(dashboard, values["since"])
    history = await history_of(dashboard, since, function=name)
    return {"function": found, "range": since, "history": history}


FUNCTION_PAGES = (
    Page(
        path="/functions", title="Functions",
        summary="List the functions that workers have published, with the workers that know each.",
        read=read_functions, answer={"functions": list[FunctionInfo], "filters": dict[str, str | None]},
        template="functions", every=5.0, parameters=FUNCTION_FILTERS,
    ),
    Page(
        path="/functions/{function}", title="Function", summary="Show one function with its options, workers and past.",
        read=read_function, answer={"function": FunctionInfo, "range": str, "history": History},
        template="function", every=5.0, parameters=(FUNCTION_NAME, SINCE),
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
        "functions": [one for one in await functions_of(dashboard) if name in one["workers"]],
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


PAGES = (
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
