"""The audit: what operators did, and what was refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from jobfleet.clock import read_duration
from jobfleet.model.audit import AuditEntry
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import refusal
from jobfleet.web.route import Data, Page, Parameter, Values

FILTERS = (
    Parameter(name="by", help="Only actions of this person or program."),
    Parameter(name="action", help="Only this action, such as queue.pause, or this kind, such as queue."),
    Parameter(name="target", help="Only actions on a target that contains this text."),
    Parameter(
        name="since", help="Only entries that are this young, such as 24h, or from this ISO time with a zone on."
    ),
    Parameter(name="until", help="Only entries that are older than this, such as 1h, or from before this ISO time."),
)
CURSOR = Parameter(name="cursor", help="The cursor of the page before.")
LIMIT = Parameter(name="limit", help="Entries per page.", least=1, most=200, default=50)


async def read_audit(dashboard: Dashboard, values: Values) -> Data:
    """A page of the audit, the newest entry first."""
    filters: dict[str, Any] = {name: values[name] for name in ("by", "action", "target")}
    page = await dashboard.fleet.audit(
        **filters, since=_moment("since", values["since"]), until=_moment("until", values["until"]),
        limit=values["limit"], cursor=values["cursor"] or "",
    )  # fmt: skip
    return {
        "entries": [dashboard.form.audit(one) for one in page.entries],
        "cursor": page.cursor,
        "filters": {one.name: values[one.name] for one in FILTERS},
    }


def _moment(name: str, text: str | None) -> datetime | None:
    """A time, from an age or an ISO time."""
    if text is None:
        return None
    try:
        if text[:1].isdecimal() and "-" not in text:
            return datetime.now(UTC) - timedelta(seconds=read_duration(text))
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        remedy = "give an age such as 24h, or an ISO time with a zone."
        raise refusal("invalid-request", f"{name} is {text!r:.100}; {remedy}", field=name) from None


PAGES = (
    Page(
        path="/audit", title="Audit", summary="List what operators did, and what was refused, the newest first.",
        read=read_audit, answer={"entries": list[AuditEntry], "cursor": str, "filters": dict[str, Any]},
        template="audit", every=5.0, parameters=(*FILTERS, CURSOR, LIMIT),
    ),
)  # fmt: skip
