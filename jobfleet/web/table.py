"""The one table of routes: pages, live updates, the API and its document are made of it."""

from __future__ import annotations

from jobfleet.web.pages import (
    audit,
    bulk,
    cron,
    dead,
    enqueue,
    fleet,
    flows,
    groups,
    history,
    job,
    job_changes,
    jobs,
    limits,
    queues,
    rescues,
    scale,
    signals,
    workers,
)
from jobfleet.web.route import Action, Page

PAGES: tuple[Page, ...] = (
    fleet.OVERVIEW,
    *queues.PAGES,
    *jobs.PAGES,
    *job.PAGES,
    *dead.PAGES,
    *rescues.PAGES,
    *flows.PAGES,
    *cron.PAGES,
    *workers.PAGES,
    *history.PAGES,
    scale.SCALE,
    *audit.PAGES,
    *limits.PAGES,
    *groups.PAGES,
    *fleet.PAGES,
)
ACTIONS: tuple[Action, ...] = (
    *queues.ACTIONS,
    *bulk.ACTIONS,
    *enqueue.ACTIONS,
    *job.ACTIONS,
    *job_changes.ACTIONS,
    *signals.ACTIONS,
    *dead.ACTIONS,
    *rescues.ACTIONS,
    *flows.ACTIONS,
    *cron.ACTIONS,
    *workers.ACTIONS,
    *limits.ACTIONS,
    *groups.ACTIONS,
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
