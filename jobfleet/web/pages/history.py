"""The past of the fleet, of a queue or of a function, for charts and for a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_type_hints

from jobfleet.model.history import History
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.route import Data, Page, Parameter, Values

RANGES = {"10m": 10, "1h": 30, "6h": 180, "48h": 1800, "90d": 86_400}
"""How far back charts go, and the seconds per step: about a hundred steps."""
FRESH_FOR = 5.0
"""Seconds for which all pages share one read; the fleet is sampled every ten."""
SINCE = Parameter(
    name="since", help="How far back the charts go; 90d needs an archive.", words=tuple(RANGES), default="1h"
)
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


async def busiest(dashboard: Dashboard) -> list[Data]:
    """The functions with the most runs in the last hour; all pages share one read."""

    async def read() -> Data:
        return {"functions": [dashboard.form.function_times(one) for one in await dashboard.fleet.busiest()]}

    found: list[Data] = (await dashboard.hub.once("busiest", read, fresh_for=2 * FRESH_FOR))["functions"]
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


PAGES = (
    Page(
        path="/history", title="History",
        summary="Show what was counted in each step of the past of the fleet, of a queue or of a function.",
        read=read_history, answer=get_type_hints(History), template="history", every=5.0,
        parameters=(ANY_SINCE, STEP, QUEUE, FUNCTION),
    ),
)  # fmt: skip
