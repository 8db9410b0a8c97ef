"""The one table of routes: pages, live updates, the API and its document are made of it."""

from __future__ import annotations

from jobfleet.web.pages import fleet, job, jobs, queues, workers
from jobfleet.web.route import Action, Page

PAGES: tuple[Page, ...] = (fleet.OVERVIEW, *queues.PAGES, *jobs.PAGES, *job.PAGES, *workers.PAGES, *fleet.PAGES)
ACTIONS: tuple[Action, ...] = (*queues.ACTIONS, *job.ACTIONS, *workers.ACTIONS)
MENU: tuple[tuple[Page, str], ...] = tuple(
    (page, f"g {page.path[1:2] or 'o'}") for page in PAGES if page.template and "{" not in page.path
)
"""The pages in the menu, with the keys that open them."""
