"""The jobs that wait for signals: who waits for what, since when, and a form that sends the signal."""

from __future__ import annotations

from jobfleet.errors import EncodingError
from jobfleet.operations.jobs.signal import signal
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.pages.jobs import JOB, job_row
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Values
from jobfleet.web.safety.access import Caller, Role
from jobfleet.web.safety.checks import read_text

QUEUE = Parameter(name="queue", help="Only jobs of this queue.")
LIMIT = Parameter(name="limit", help="The most jobs.", least=1, most=200, default=100)
ID = Parameter(name="id", help="The id of the job.", place="body", is_required=True)
NAME = Parameter(name="name", help="The name of the signal.", place="body", is_required=True)
VALUE = Parameter(
    name="value", help="What ctx.wait_for returns: JSON, or a text. Without it, None.", place="body", longest=100_000
)


async def read_approvals(dashboard: Dashboard, values: Values) -> Data:
    """The jobs that wait for signals, that which has waited longest first."""
    found = await dashboard.fleet.approvals(values["queue"], limit=values["limit"])
    return {"jobs": [job_row(dashboard.form, job) for job in found.jobs], "is_all": found.is_all}


def value_of(text: str | None) -> object:
    """The value that somebody has typed: JSON if it is, else the text itself; None for nothing."""
    if text is None or not text.strip():
        return None
    try:
        return read_text(text, field=VALUE.name)
    except Problem:
        if text.lstrip()[0] in '{["':  # it was meant as JSON
            raise
        return text


async def send(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Send a signal to a job that waits for it."""
    for one in (ID, NAME):
        if values[one.name] is None:
            raise refusal("invalid-request", f"{one.name} is missing: {one.help}", field=one.name)
    try:
        sent = await dashboard.fleet.signal(values["id"], values["name"], value_of(values["value"]), by=caller.name)
    except EncodingError as error:
        raise refusal("invalid-request", f"value: {error}", field=VALUE.name) from None
    return {"id": values["id"], "name": values["name"], "signalled": sent}


def _note(data: Data) -> str:
    if data["signalled"]:
        return f"The signal {data['name']} was sent to {data['id']}."
    return f"Nothing was sent: {data['id']} has ended, or another signal {data['name']} came first."


PAGES = (
    Page(
        path="/approvals", title="Approvals",
        summary="List the jobs that wait for signals: for which, since when, and until when.", read=read_approvals,
        answer={"jobs": Many(JOB), "is_all": bool}, template="approvals", every=2.0, parameters=(QUEUE, LIMIT),
    ),
)  # fmt: skip
ACTIONS = (
    Action(
        path="/approvals/send", summary="Send a signal to a job that waits for it, with a value that was typed.",
        act=send,
        answer={"id": str, "name": str, "signalled": bool}, note=_note, back="/approvals", role=Role(signal.role),
        parameters=(ID, NAME, VALUE),
    ),
)  # fmt: skip
