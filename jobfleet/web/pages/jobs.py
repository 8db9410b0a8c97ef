"""Jobs in a list, a page at a time, and actions on all jobs that match filters, or on chosen ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet.client.json_form import JsonForm
from jobfleet.clock import seconds_or_text
from jobfleet.errors import DuplicateJob, InvalidJob, JobNotFound
from jobfleet.fleet.aio import AsyncFleet
from jobfleet.model import STORED, JobResult, JobStatus, Priority
from jobfleet.operations.jobs.listing import Page as JobPage
from jobfleet.operations.jobs.steer import Matching
from jobfleet.operations.lanes import no_queue
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Shape, Values
from jobfleet.web.safety.access import Caller

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


# Actions on all jobs that match filters, or on chosen ones: first their number, then, once confirmed, the action.


VERBS = ("cancel", "retry", "reschedule", "move", "purge")
IDS_MOST = 200
READ_MOST, LETTERS_AT_ONCE = 5000, 200
"""About how many jobs are read to count those that match, and how many dead letters per call."""
FIELDS = (
    *(one.within("body") for one in FILTERS),
    Parameter(name="verb", help="What to do.", place="body", words=VERBS),
    Parameter(
        name="ids", help="Only these jobs, in place of filters: at most 200 ids, with commas.", place="body",
        longest=40_000,
    ),
    Parameter(name="to", help="The queue to move to.", place="body"),
    Parameter(
        name="delay", help="The new due time from now: seconds, or a duration such as 90m.", place="body",
        schema={"type": ["number", "string"]},
    ),
    Parameter(
        name="priority", help="The new priority.", place="body", words=tuple(one.name.lower() for one in Priority)
    ),
)  # fmt: skip
ANSWER: dict[str, Any] = {"verb": str, "count": int, "read": int, "is_all": bool, "left": int,
                          "filters": dict[str, Any]}  # fmt: skip


def ids_of(values: Values) -> list[str]:
    """The chosen jobs."""
    found = list(dict.fromkeys(one.strip() for one in (values["ids"] or "").split(",") if one.strip()))
    if len(found) > IDS_MOST:
        raise refusal("invalid-request", f"ids: give at most {IDS_MOST} ids.", field="ids")
    return found


def change_of(values: Values) -> dict[str, Any]:
    """The new due time and priority."""
    change: dict[str, Any] = {}
    if values["delay"] not in (None, ""):  # a form sends an empty field
        change["delay"] = seconds_or_text(values["delay"], field="delay")
    if values["priority"] is not None:
        change["priority"] = Priority[values["priority"].upper()]
    if not change:
        raise refusal("invalid-request", "Give delay, priority or both.", field="delay")
    return change


def queue_of(values: Values) -> str:
    """The queue to move to."""
    if values["to"] is None:
        raise refusal("invalid-request", "to: give the queue to move to.", field="to")
    return str(values["to"])


def _open_filters(values: Values) -> dict[str, Any]:
    """The filters of open jobs."""
    named = ("queue", "function", "user", "session", "group")
    filters: dict[str, Any] = {name: values[name] for name in named if values[name]} | times_of(values)
    if values["tag"]:
        filters["tags"] = [values["tag"]]
    if values["status"]:
        filters["status"] = JobStatus(values["status"])
    return filters


def _dead_filters(values: Values) -> dict[str, Any]:
    """The filters of dead letters."""
    if values["session"] or values["group"] or values["status"] not in {None, "failed"}:
        raise refusal("invalid-request", "retry: it is for failed jobs, by queue, function, tag, user or time.")
    named = ("queue", "function", "tag", "user")
    filters: dict[str, Any] = {name: values[name] for name in named if values[name]} | times_of(values)
    if not filters and values["status"] is None:
        raise refusal("invalid-request", "Nothing says which jobs are meant; give a filter, or status=failed for all.")
    return filters


def _whole_queue(values: Values) -> str:
    """The queue of which all waiting jobs are meant."""
    if values["queue"] is None or any(values[one.name] for one in FILTERS if one.name != "queue") or values["ids"]:
        raise refusal("invalid-request", "purge: it is for all waiting jobs of a queue; give the queue alone.")
    return str(values["queue"])


async def _waiting(fleet: AsyncFleet, name: str) -> int:
    every = {one.name: one for one in await fleet.queues()}
    if name not in every:
        raise no_queue(name, every)
    queue = every[name]
    return queue.queued + queue.scheduled + queue.retrying + queue.blocked


async def _count(fleet: AsyncFleet, values: Values) -> Matching:
    """How many jobs match now, as far as a page reads them."""
    match values["verb"]:
        case "retry":
            return await _count_dead(fleet, _dead_filters(values))
        case "purge":
            return Matching(await _waiting(fleet, _whole_queue(values)), 0, is_all=True)
        case "cancel":
            return await fleet.count_matching("cancel", most=READ_MOST, **_open_filters(values))
        case "reschedule":
            return await fleet.count_matching(
                "reschedule", most=READ_MOST, **change_of(values), **_open_filters(values)
            )
        case _:
            return await fleet.count_matching("move", most=READ_MOST, to=queue_of(values), **_open_filters(values))


async def _count_dead(fleet: AsyncFleet, filters: dict[str, Any]) -> Matching:
    """How many dead letters match. Without a filter but the queue, the lanes count them."""
    queue = filters.pop("queue", None)
    if not filters:
        return Matching(await fleet.count_dead(queue), 0, is_all=True)
    count, cursor = 0, ""
    for _ in range(READ_MOST // LETTERS_AT_ONCE):
        page = await fleet.dead(queue, limit=LETTERS_AT_ONCE, cursor=cursor, **filters)
        count, cursor = count + len(page), page.cursor
        if not cursor:
            break
    return Matching(count, READ_MOST if cursor else count, is_all=not cursor)


async def _all(fleet: AsyncFleet, values: Values, by: str) -> int:
    """Act on all that match; return how many there were."""
    match values["verb"]:
        case "cancel":
            return await fleet.cancel_many(by=by, **_open_filters(values))
        case "retry":
            return await fleet.replay_many(by=by, **_dead_filters(values))
        case "reschedule":
            return await fleet.reschedule_many(by=by, **change_of(values), **_open_filters(values))
        case "purge":
            return await fleet.purge_queue(_whole_queue(values), by=by)
        case _:
            return await fleet.move_many(queue_of(values), by=by, **_open_filters(values))


def _one(fleet: AsyncFleet, values: Values, by: str) -> Callable[[str], Awaitable[object]]:
    """The action on one job."""
    match values["verb"]:
        case "cancel":
            return lambda job_id: fleet.cancel(job_id, by=by)
        case "retry":
            return lambda job_id: fleet.replay(job_id, by=by)
        case "reschedule":
            change = change_of(values)
            return lambda job_id: fleet.reschedule(job_id, by=by, **change)
        case _:
            queue = queue_of(values)
            return lambda job_id: fleet.move(job_id, queue, by=by)


async def _each(ids: Sequence[str], act: Callable[[str], Awaitable[object]]) -> int:
    """Act on chosen jobs; return how many were changed. The others have ended, run, or are unknown."""
    done = 0
    for job_id in ids:
        try:
            done += bool(await act(job_id))
        except (DuplicateJob, InvalidJob, JobNotFound):
            continue
    return done


def _checked(values: Values) -> None:
    if values["verb"] is None:
        raise refusal("invalid-request", f"verb: use {', '.join(VERBS)}.", field="verb")
    if values["verb"] == "purge":
        _whole_queue(values)


async def preview(dashboard: Dashboard, values: Values, _caller: Caller) -> Data:
    """Count the jobs that an action would change now, and change nothing."""
    _checked(values)
    ids = ids_of(values)
    if ids:
        _one(dashboard.fleet, values, "")  # reports a wrong field now
        return _data(values, Matching(len(ids), len(ids), is_all=True), 0)
    return _data(values, await _count(dashboard.fleet, values), 0)


async def confirm(dashboard: Dashboard, values: Values, caller: Caller) -> Data:
    """Do it."""
    _checked(values)
    ids = ids_of(values)
    if ids:
        done = await _each(ids, _one(dashboard.fleet, values, caller.name))
        return _data(values, Matching(done, len(ids), is_all=True), len(ids) - done)
    done = await _all(dashboard.fleet, values, caller.name)
    return _data(values, Matching(done, done, is_all=True), 0)


def _data(values: Values, found: Matching, left: int) -> Data:
    filters = {one.name: values[one.name] for one in FIELDS if one.name != "verb" and values[one.name] is not None}
    return {
        "verb": values["verb"],
        "count": found.number,
        "read": found.read,
        "is_all": found.is_all,
        "left": left,
        "filters": filters,
    }


DONE = {"purge": "cancelled", "cancel": "cancelled", "retry": "put back", "reschedule": "rescheduled", "move": "moved"}


def _note(data: Data) -> str:
    many = f"{data['count']:,} {'job was' if data['count'] == 1 else 'jobs were'} {DONE[data['verb']]}."
    left = data["left"]
    return many + (f" {left:,} could not be: they run, have ended, or are unknown." if left else "")


ACTIONS = (
    Action(
        path="/jobs/bulk/preview",
        summary="Count the jobs that an action on all matching jobs would change; about 5,000 are read at most.",
        act=preview, answer=ANSWER, note=_note, back="/jobs", parameters=FIELDS, shows="bulk",
    ),
    Action(
        path="/jobs/bulk/confirm", summary="Cancel, retry, reschedule, move or purge all matching jobs.", act=confirm,
        answer=ANSWER, note=_note, back="/jobs", parameters=FIELDS, keeps=tuple(one.name for one in FILTERS),
    ),
)  # fmt: skip
