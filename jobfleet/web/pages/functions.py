"""The functions of the fleet, and one of them: who has it, what it takes, and its past.

Calls of Redis: three round trips for the first 50 functions, and one more for each further 50, at most six.
"""

from __future__ import annotations

from jobfleet.errors import InvalidJob
from jobfleet.model.history import History
from jobfleet.operations.functions import FunctionFilters, FunctionInfo
from jobfleet.operations.verb import fields_of
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import Problem, code_of
from jobfleet.web.pages.fleet import SINCE, functions_of, history_of, range_of
from jobfleet.web.route import Data, Page, Parameter, Values

FILTERS = tuple(Parameter.of(one, "query") for one in fields_of(FunctionFilters))
NAME = Parameter(name="function", help="The registered name of the function.", place="path")
UNKNOWN = code_of(InvalidJob)


async def read_functions(dashboard: Dashboard, values: Values) -> Data:
    """The functions that match the filters."""
    given = {one.name: values[one.name] for one in FILTERS}
    found = await functions_of(dashboard, function=given["function"], queue=given["queue"], worker=given["worker"])
    return {"functions": found, "filters": given}


async def read_function(dashboard: Dashboard, values: Values) -> Data:
    """One function with its past."""
    name = values["function"]
    try:
        (found,) = await functions_of(dashboard, function=name)
    except Problem as problem:  # a shared read raises the problem of an error
        raise Problem(404, "function-not-found", problem.message) if problem.code == UNKNOWN else problem from None
    since = await range_of(dashboard, values["since"])
    history = await history_of(dashboard, since, function=name)
    return {"function": found, "range": since, "history": history}


PAGES = (
    Page(
        path="/functions", title="Functions",
        summary="List the functions that workers have published, with the workers that know each.",
        read=read_functions, answer={"functions": list[FunctionInfo], "filters": dict[str, str | None]},
        template="functions", every=5.0, parameters=FILTERS,
    ),
    Page(
        path="/functions/{function}", title="Function", summary="Show one function with its options, workers and past.",
        read=read_function, answer={"function": FunctionInfo, "range": str, "history": History},
        template="function", every=5.0, parameters=(NAME, SINCE),
    ),
)  # fmt: skip
