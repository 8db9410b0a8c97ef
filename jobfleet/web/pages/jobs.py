"""Jobs in a list, a page at a time, and actions on all jobs that match filters, or on chosen ones."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet.client.json_form import JsonForm
from jobfleet.errors import DuplicateJob, InvalidJob, JobNotFound
from jobfleet.fleet.aio import AsyncFleet
from jobfleet.model import JobResult, JobStatus
from jobfleet.model.fields import INDEXED, any_index
from jobfleet.model.status import ShownState
from jobfleet.operations.dead_letters import replay, replay_many
from jobfleet.operations.jobs.cancel import cancel
from jobfleet.operations.jobs.listing import Page as JobPage
from jobfleet.operations.jobs.listing import beside_parents
from jobfleet.operations.jobs.matching import JobFilters, cancel_many
from jobfleet.operations.jobs.steer import Matching, move, move_many, reschedule, reschedule_many
from jobfleet.operations.lanes import no_queue
from jobfleet.operations.queues import purge_queue
from jobfleet.operations.verb import Verb, fields_of
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.route import Action, Data, Many, Page, Parameter, Shape, Values
from jobfleet.web.safety.access import Caller

LARGE = ("result", "traceback", "progress_details", "metadata")
"""Fields that a list leaves out: each may have a megabyte."""
JOB = Shape.of("Job", JobResult, without=LARGE, state=str, is_aside=bool, is_unneeded=bool)
WALKED = frozenset({"queued", "scheduled", "retrying", "blocked", "running", *map(str, ShownState)})
"""States of which every job that is read is shown."""
FILTERS = tuple(Parameter.of(one, "query") for one in fields_of(JobFilters))
TEXT = Parameter(
    name="text",
    help="Only jobs in the archive with this part of their id, name or error; without since, of the last 7 days.",
)
TEXT_DAYS, TEXT_FRESH_FOR = 7, 60.0
"""How far back a text is looked for, and the seconds for which all pages share one search."""
WHERE = Parameter(
    name="where", help="Only open jobs with this argument or metadata: NAME=VALUE. About 10,000 open jobs are read."
)
ORDER = Parameter(
    name="order", help="The newest jobs first; or running jobs, then waiting jobs by urgency.",
    words=("newest", "urgency"), default="newest",
)  # fmt: skip
CURSOR = Parameter(name="cursor", help="The cursor of the page before.")
LIMIT = Parameter(name="limit", help="Jobs per page.", least=1, most=200, default=50)


def job_row(form: JsonForm, job: JobResult[Any]) -> Data:
    """A job in a list: every attribute but the large ones, and what lists say of it."""
    row = {name: value for name, value in form.job(job).items() if name not in LARGE}
    return {**row, "state": str(job.state), "is_aside": job.is_aside, "is_unneeded": job.is_unneeded}


def read_filters(kind: type, values: Values) -> Data:
    """The filters that are given in a query, as a client's methods take them."""
    found = {one.name: Parameter.of(one).read(values.get(one.field)) for one in fields_of(kind)}
    return {name: one for name, one in found.items() if one is not None}


async def _archived(dashboard: Dashboard, values: Values) -> Data:
    """Jobs in the archive with a text. Live pages do not search again and again."""
    asked = {"text": values["text"], **read_filters(JobFilters, values)}
    if asked.pop("tags", None):
        asked["tag"] = values["tag"]
    asked.setdefault("since", datetime.now(UTC) - timedelta(days=TEXT_DAYS))

    async def read() -> Data:
        found = await dashboard.fleet.archived(**asked, limit=values["limit"])
        return {"jobs": [job_row(dashboard.form, job) for job in found]}

    key = ("archived", *(str(values[name]) for name in ("text", "limit", *(one.name for one in FILTERS))))
    return await dashboard.hub.once(key, read, fresh_for=TEXT_FRESH_FOR)


async def _searched(dashboard: Dashboard, values: Values) -> Data:
    """Open jobs with a value. Live pages do not search again and again."""
    asked = read_filters(JobFilters, values)

    async def read() -> Data:
        found = await dashboard.fleet.search(values["where"], limit=values["limit"], **asked)
        rows = [job_row(dashboard.form, job) for job in found.jobs]
        return {"jobs": rows, "searched": found.read, "is_all": found.is_all}

    key = ("searched", *(str(values[name]) for name in ("where", "limit", *(one.name for one in FILTERS))))
    return await dashboard.hub.once(key, read, fresh_for=TEXT_FRESH_FOR)


async def read_jobs(dashboard: Dashboard, values: Values) -> Data:
    """A page of jobs. Each page reads a bounded number of jobs, however many there are."""
    given = {name: values[name] for name in (*(one.name for one in FILTERS), "order", "text", "where")}
    if values["where"] and not values["text"]:
        return {**await _searched(dashboard, values), "cursor": "", "filters": given}
    if values["text"]:
        return {
            **await _archived(dashboard, values), "cursor": "", "filters": given, "searched": None, "is_all": False
        }  # fmt: skip
    filters = read_filters(JobFilters, values)
    is_indexed = not filters.keys().isdisjoint(INDEXED)
    fleet, limit = dashboard.fleet, values["limit"]
    is_walk = values["order"] == "urgency" or bool(values["cursor"])
    if is_indexed or is_walk:
        _check_walk(values, is_indexed=is_indexed)
        page = await fleet.jobs(**filters, limit=limit, cursor=values["cursor"] or "")
    else:
        page = JobPage(await fleet.newest(**filters, limit=limit))
    return {
        "jobs": [job_row(dashboard.form, job) for job in beside_parents(page.jobs)],
        "cursor": page.cursor,
        "filters": given,
        "searched": None,
        "is_all": False,
    }


def _check_walk(values: Values, *, is_indexed: bool) -> None:
    """Refuse a page for which all jobs might be read."""
    narrow = [name for name in ("function", "name", "group", "since", "until") if values[name]]
    if not is_indexed and (narrow or values["status"] not in {None, *WALKED}):
        raise refusal(
            "invalid-request",
            "order: the order of urgency is for open jobs of a queue or of all; leave function, name, group, times and "
            "the status out.",
        )


PAGES = (
    Page(
        path="/jobs", title="Jobs",
        summary=f"List jobs. With {any_index()}, all of them page by page; otherwise the newest ones.",
        read=read_jobs, answer={"jobs": Many(JOB), "cursor": str, "filters": dict[str, Any],
                                 "searched": int | None, "is_all": bool}, template="jobs",
        every=2.0, parameters=(*FILTERS, TEXT, WHERE, ORDER, CURSOR, LIMIT),
    ),
)  # fmt: skip


# Actions on all jobs that match filters, or on chosen ones: first their number, then, once confirmed, the action.


MANY: Mapping[str, tuple[Verb[..., int], Verb[..., Any]]] = {
    "cancel": (cancel_many, cancel), "replay": (replay_many, replay), "reschedule": (reschedule_many, reschedule),
    "move": (move_many, move), "purge": (purge_queue, cancel), "retry": (replay_many, replay),
}  # fmt: skip
"""The verbs of all jobs that match, and of a chosen job, by their word; ``retry`` is the older word for ``replay``."""
VERBS = tuple(MANY)
IDS_MOST = 200
READ_MOST, LETTERS_AT_ONCE = 5000, 200
"""About how many jobs are read to count those that match, and how many dead letters per call."""
FIELDS = (
    *(
        Parameter(name=one.field, help=one.help, place="body", schema=one.kind.schema)
        for one in (*fields_of(JobFilters), *(one for verb in (reschedule, move) for one in verb.parameters[1:]))
    ),
    Parameter(name="verb", help="What to do.", place="body", words=VERBS),
    Parameter(
        name="ids", help="Only these jobs, in place of filters: at most 200 ids, with commas.", place="body",
        longest=40_000,
    ),
)  # fmt: skip
NAMES = frozenset(one.name for one in FIELDS)
ANSWER: dict[str, Any] = {"verb": str, "count": int, "read": int, "is_all": bool, "left": int,
                          "filters": dict[str, Any]}  # fmt: skip


def ids_of(values: Values) -> list[str]:
    """The chosen jobs."""
    found = list(dict.fromkeys(one.strip() for one in (values["ids"] or "").split(",") if one.strip()))
    if len(found) > IDS_MOST:
        raise refusal("invalid-request", f"ids: give at most {IDS_MOST} ids.", field="ids")
    return found


def _given(verb: Verb[..., Any], values: Values) -> Data:
    """The arguments of a verb."""
    found = {one.name: Parameter.of(one).read(values[one.field]) for one in verb.parameters if one.field in NAMES}
    return {name: one for name, one in found.items() if one is not None}


def _meant(values: Values) -> Data:
    """The arguments of the action on all jobs that match. A filter that it does not have is refused."""
    word, status = values["verb"], values["status"]
    if word in {"replay", "retry"} and status == JobStatus.FAILED:
        values = {**values, "status": None}
    known = {one.field for one in MANY[word][0].parameters}
    names = [one.name for one in FILTERS]
    if wrong := [name for name in names if values[name] and name not in known]:
        has = ", ".join(name for name in names if name in known)
        raise refusal("invalid-request", f"{word}: it has no filter {wrong[0]}; it has {has}.", field=wrong[0])
    given = _given(MANY[word][0], values)
    if not given and status is None:
        raise refusal("invalid-request", "Nothing says which jobs are meant; give a filter, or status=failed for all.")
    return given


async def _waiting(fleet: AsyncFleet, name: str) -> int:
    every = {one.name: one for one in await fleet.queues()}
    if name not in every:
        raise no_queue(name, every)
    queue = every[name]
    return queue.queued + queue.scheduled + queue.retrying + queue.blocked


async def _count(fleet: AsyncFleet, values: Values) -> Matching:
    """How many jobs match now, as far as a page reads them."""
    given = _meant(values)
    match values["verb"]:
        case "replay" | "retry":
            return await _count_dead(fleet, given)
        case "purge":
            return Matching(await _waiting(fleet, given["queue"]), 0, is_all=True)
        case word:
            return await fleet.count_matching(word, most=READ_MOST, **given)


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
    return int(await MANY[values["verb"]][0].on(fleet, _meant(values), by))


def _one(fleet: AsyncFleet, values: Values, by: str) -> Callable[[str], Awaitable[object]]:
    """The action on one job."""
    verb = MANY[values["verb"]][1]
    given = _given(verb, values)
    return lambda job_id: verb.on(fleet, {"job_id": job_id, **given}, by)


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
    if values["verb"] == "purge" and (values["ids"] or not values["queue"]):
        raise refusal("invalid-request", "purge: it is for all waiting jobs of a queue; give the queue alone.")


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
    given = {one.name: values[one.name] for one in FIELDS if one.name != "verb"}
    filters = {name: one for name, one in given.items() if one not in (None, "")}
    return {
        "verb": values["verb"],
        "count": found.number,
        "read": found.read,
        "is_all": found.is_all,
        "left": left,
        "filters": filters,
    }


DONE = {
    "purge": "cancelled",
    "cancel": "cancelled",
    "replay": "put back",
    "retry": "put back",
    "reschedule": "rescheduled",
    "move": "moved",
}


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
        path="/jobs/bulk/confirm", summary="Cancel, replay, reschedule, move or purge all matching jobs.", act=confirm,
        answer=ANSWER, note=_note, back="/jobs", parameters=FIELDS, keeps=tuple(one.name for one in FILTERS),
    ),
    *(Action.of(verb, back="/jobs") for verb in (cancel_many, reschedule_many, move_many)),
)  # fmt: skip
