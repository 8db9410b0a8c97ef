"""The one table of routes: pages, live updates, the API and its document are made of it."""

from __future__ import annotations

from jobfleet.web.pages import cron, dead, fleet, flows, job, jobs, limits, queues
from jobfleet.web.route import Action, Page

PAGES: tuple[Page, ...] = (
    fleet.OVERVIEW,
    *queues.PAGES,
    *jobs.PAGES,
    *job.PAGES,
    *dead.PAGES,
    *dead.RESCUE_PAGES,
    *flows.PAGES,
    *cron.PAGES,
    *fleet.WORKER_PAGES,
    *fleet.HISTORY_PAGES,
    queues.SCALE,
    *fleet.AUDIT_PAGES,
    *limits.PAGES,
    *limits.GROUP_PAGES,
    *fleet.PAGES,
)
ACTIONS: tuple[Action, ...] = (
    *queues.ACTIONS,
    *jobs.ACTIONS,
    *job.ENQUEUE_ACTIONS,
    *job.ACTIONS,
    *job.SIGNAL_ACTIONS,
    *dead.ACTIONS,
    *dead.RESCUE_ACTIONS,
    *flows.ACTIONS,
    *cron.ACTIONS,
    *fleet.ACTIONS,
    *limits.ACTIONS,
)
KEYS: dict[str, str] = {
    "/": "o",
    "/queues": "q",
    "/jobs": "j",
    "/dead": "x",
    "/flows": "f",
    "/cron": "c",
    "/workers": "w",
    "/history": "h",
    "/audit": "a",
    "/limits": "l",
    "/groups": "e",
    "/doctor": "d",
    "/settings": "s",
}
"""The pages in the menu, with the key that opens each after ``g``."""
MENU: tuple[tuple[Page, str], ...] = tuple((page, f"g {KEYS[page.path]}") for page in PAGES if page.path in KEYS)
"""The pages in the menu, with the keys that open them."""
