"""How many workers a queue needs, for autoscalers."""

from __future__ import annotations

from typing import get_type_hints

from jobfleet.model.scale import Scale
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.pages.queues import NAME
from jobfleet.web.route import Data, Page, Parameter, Values

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
