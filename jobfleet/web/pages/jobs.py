"""Jobs in a list: by state, queue, function, tag, user or session, a page at a time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet.client.json_form import JsonForm
from jobfleet.model import STORED, JobResult, JobStatus
from jobfleet.operations.jobs.matching.listing import Page as JobPage
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.route import Data, Many, Page, Parameter, Shape, Values

TIME_REMEDY = "give a time such as 2026-11-28T14:00, which is in UTC, or 2026-11-28T15:00+01:00 (%2B in an address)."
LARGE = ("result", "traceback", "progress_details", "metadata")
"""Fields that a list leaves out: each may have a megabyte."""
JOB = Shape.of("Job", JobResult, without=LARGE)
INDEXED = ("tag", "user", "session")
WALKED = frozenset({"queued", "scheduled", "retrying", "blocked", "running"})
"""States of which every job that is read is shown."""
FILTERS = (
    Parameter(name="status", help="Only jobs of this state.", words=tuple(map(str, STORED))),
    Parameter(name="queue", help="Only jobs of this queue."),
    Parameter(name="function", help="Only jobs of this function."),
    Parameter(name="tag", help="Only jobs with this tag."),
    Parameter(name="user", help="Only jobs of this user."),
    Parameter(name="session", help="Only jobs of this session."),
    Parameter(name="group", help="Only jobs of this group."),
    Parameter(name="since", help="Only jobs that were enqueued at this time or later: ISO 8601; UTC without offset."),
    Parameter(name="until", help="Only jobs that were enqueued before this time: ISO 8601; UTC without offset."),
)
TEXT = Parameter(
    name="text",
    help="Only jobs in the archive with this part of their id, name or error; without since, of the last 7 days.",
)
TEXT_DAYS, TEXT_FRESH_FOR = 7, 60.0
"""How far back a text is looked for, and the seconds for which all pages share one search."""
ORDER = Parameter(
    name="order", help="The newest jobs first; or running jobs, then waiting jobs by urgency.",
    words=("newest", "urgency"), default="newest",
)  # fmt: skip
CURSOR = Parameter(name="cursor", help="The cursor of the page before.")
LIMIT = Parameter(name="limit", help="Jobs per page.", least=1, most=200, default=50)


def job_row(form: JsonForm, job: JobResult[Any]) -> Data:
    """A job in a list: every attribute but the large ones."""
    return {name: value for name, value in form.job(job).items() if name not in LARGE}


def moment_of(name: str, text: str) -> datetime:
    """A time that a person or a program has given, in ISO 8601; without an offset it is in UTC.

    Raises:
        Problem: It is not one.
    """
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise refusal("invalid-request", f"{name}: {TIME_REMEDY}", field=name) from None


def times_of(values: Values) -> dict[str, datetime]:
    """The times between which jobs were enqueued."""
    return {name: moment_of(name, values[name]) for name in ("since", "until") if values[name]}


async def _archived(dashboard: Dashboard, values: Values) -> Data:
    """Jobs in the archive with a text. Live pages do not search again and again."""
    named = ("text", "queue", "function", "tag", "user", "session", "group")
    asked: dict[str, Any] = {name: values[name] for name in named if values[name]} | times_of(values)
    if values["status"]:
        asked["status"] = JobStatus(values["status"])
    asked.setdefault("since", datetime.now(UTC) - timedelta(days=TEXT_DAYS))

    async def read() -> Data:
        found = await dashboard.fleet.archived(**asked, limit=values["limit"])
        return {"jobs": [job_row(dashboard.form, job) for job in found]}

    key = ("archived", *(str(values[name]) for name in (*named, "status", "since", "until", "limit")))
    return await dashboard.hub.once(key, read, fresh_for=TEXT_FRESH_FOR)


async def read_jobs(dashboard: Dashboard, values: Values) -> Data:
    """A page of jobs. Each page reads a bounded number of jobs, however many there are."""
    given = {name: values[name] for name in (*(one.name for one in FILTERS), "order", "text")}
    if values["text"]:
        return {**await _archived(dashboard, values), "cursor": "", "filters": given}
    named = ("queue", "function", "user", "session", "group")
    filters: dict[str, Any] = {name: values[name] for name in named if values[name]} | times_of(values)
    if values["status"]:
        filters["status"] = JobStatus(values["status"])
    is_indexed = any(values[name] for name in INDEXED)
    if values["tag"]:
        filters["tags"] = [values["tag"]]
    fleet, limit = dashboard.fleet, values["limit"]
    is_walk = values["order"] == "urgency" or bool(values["cursor"])
    if is_indexed or is_walk:
        _check_walk(values, is_indexed=is_indexed)
        page = await fleet.jobs(**filters, limit=limit, cursor=values["cursor"] or "")
    else:
        page = JobPage(await fleet.newest(**filters, limit=limit))
    return {
        "jobs": [job_row(dashboard.form, job) for job in page.jobs],
        "cursor": page.cursor,
        "filters": given,
    }


def _check_walk(values: Values, *, is_indexed: bool) -> None:
    """Refuse a page for which all jobs might be read."""
    narrow = [name for name in ("function", "group", "since", "until") if values[name]]
    if not is_indexed and (narrow or values["status"] not in {None, *WALKED}):
        raise refusal(
            "invalid-request",
            "order: the order of urgency is for open jobs of a queue or of all; leave function, group, times and the "
            "status out.",
        )


PAGES = (
    Page(
        path="/jobs", title="Jobs",
        summary="List jobs. With a tag, a user or a session, all of them page by page; otherwise the newest ones.",
        read=read_jobs, answer={"jobs": Many(JOB), "cursor": str, "filters": dict[str, Any]}, template="jobs",
        every=2.0, parameters=(*FILTERS, TEXT, ORDER, CURSOR, LIMIT),
    ),
)  # fmt: skip
