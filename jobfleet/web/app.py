"""`jobfleet.web.app(fleet)`: the dashboard as an ASGI application, to serve or to mount under a path.

Pages, live updates, the API and its document are made of one table of routes.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from jobfleet.errors import ConfigError
from jobfleet.fleet.aio import AsyncFleet
from jobfleet.fleet.sync import Fleet
from jobfleet.logs import contain_handler_errors
from jobfleet.version import VERSION
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.endpoints import login, reading, writing
from jobfleet.web.endpoints.request import Context, Endpoint, json_response, root_of, templates
from jobfleet.web.errors import refusal
from jobfleet.web.openapi import Document
from jobfleet.web.pages import approvals, cron, dead, enqueue, flows, job, jobs, limits, queues, workers
from jobfleet.web.pages import fleet as fleet_pages
from jobfleet.web.route import Action, Page, segment, with_slashes
from jobfleet.web.safety.guard import HEALTH, Guard
from jobfleet.web.safety.identity import Identify

STATIC = Path(__file__).with_name("static")
API = "/api/v1"
_ROOT_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)+")

PAGES: tuple[Page, ...] = (
    fleet_pages.OVERVIEW,
    *queues.PAGES,
    *jobs.PAGES,
    *job.PAGES,
    *approvals.PAGES,
    *enqueue.PAGES,
    *dead.PAGES,
    *dead.RESCUE_PAGES,
    *flows.PAGES,
    *cron.PAGES,
    *workers.PAGES,
    *workers.FUNCTION_PAGES,
    *fleet_pages.HISTORY_PAGES,
    queues.SCALE,
    *fleet_pages.AUDIT_PAGES,
    *limits.PAGES,
    *limits.GROUP_PAGES,
    *fleet_pages.PAGES,
)
ACTIONS: tuple[Action, ...] = (
    *queues.ACTIONS,
    *jobs.ACTIONS,
    *job.ENQUEUE_ACTIONS,
    *job.ACTIONS,
    *job.SIGNAL_ACTIONS,
    *approvals.ACTIONS,
    *enqueue.ACTIONS,
    *dead.ACTIONS,
    *dead.RESCUE_ACTIONS,
    *flows.ACTIONS,
    *cron.ACTIONS,
    *fleet_pages.ACTIONS,
    *workers.ACTIONS,
    *limits.ACTIONS,
)
KEYS: dict[str, str] = {
    "/": "o",
    "/queues": "q",
    "/jobs": "j",
    "/approvals": "p",
    "/dead": "x",
    "/flows": "f",
    "/cron": "c",
    "/workers": "w",
    "/functions": "n",
    "/history": "h",
    "/audit": "a",
    "/limits": "l",
    "/sequences": "e",
    "/doctor": "d",
    "/settings": "s",
}
"""The pages in the menu, with the key that opens each after ``g``."""
MENU: tuple[tuple[Page, str], ...] = tuple((page, f"g {KEYS[page.path]}") for page in PAGES if page.path in KEYS)
"""The pages in the menu, with the keys that open them."""


class WebApp:
    """The dashboard of a fleet as an ASGI application.

    Args:
        fleet: The fleet that is shown.
        identify: The login of the host application; see `app`.

    Attributes:
        dashboard: What its views read from.
    """

    def __init__(self, fleet: Fleet | AsyncFleet, identify: Identify | None = None) -> None:
        contain_handler_errors()
        self.dashboard: Dashboard = Dashboard(fleet, identify)
        self._entrance = self.dashboard.identity.entrance
        self._root = root_path_of(self._entrance.root)
        context = Context(self.dashboard, PAGES, _templates())

        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            yield
            await self.dashboard.aclose()

        async def missing(request: Request, error: Exception) -> Response:
            status = error.status_code if isinstance(error, HTTPException) else 404
            headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
            problem = refusal("method-not-allowed" if status == 405 else "not-found", headers=headers)
            is_api = "/api/" in request.scope["path"]
            return context.refused(request, problem, "json" if is_api else "html")

        inner = Starlette(routes=_routes(context), lifespan=lifespan, exception_handlers={HTTPException: missing})
        inner.router.redirect_slashes = False  # it would write the Host header into an address
        self._inner = Guard(inner, key_of=self.dashboard.identity.rate_key)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request. With `web_root_path`, a proxy may have removed that path from the address, or not."""
        if self._root and scope["type"] == "http" and not scope.get("root_path"):
            path = scope["path"]
            is_whole = path == self._root or path.startswith(f"{self._root}/")
            raw = scope.get("raw_path") or b""
            whole = {"path": path, "raw_path": raw}
            if not is_whole:
                whole = {"path": self._root + path, "raw_path": self._root.encode() + raw}
            scope = {**scope, **whole, "root_path": self._root}
        if scope["type"] == "http":
            scope = {**scope, "path": with_slashes(scope["path"], scope.get("raw_path") or b"")}
            scope |= {"jobfleet.peer": scope.get("client"), "client": self._entrance.client_of(scope)}
        await self._inner(scope, receive, send)


def app(fleet: Fleet | AsyncFleet, *, identify: Identify | None = None) -> WebApp:
    """Make the dashboard of a fleet as an ASGI application, to serve, or to mount under a path of another one.

    Args:
        fleet: The fleet that is shown. The dashboard has connections of its own.
        identify: Who sends a request, by the login of the host application: called with Starlette's `HTTPConnection`,
            it returns a name and a role (viewer, producer, approver, operator or admin), or None to refuse. Default:
            the users and tokens of the access file, as for ``jobfleet web``.

    Raises:
        ConfigError: A setting is wrong.
    """
    return WebApp(fleet, identify)


def root_path_of(path: str | None) -> str:
    """A path under which the dashboard is served, without a slash at its end.

    Raises:
        ConfigError: It is not a path.
    """
    root = (path or "").rstrip("/")
    if root and not _ROOT_PATH.fullmatch(root):
        raise ConfigError(f"web_root_path = {path!r}: use a path such as /jobs.")
    return root


class _Assets(StaticFiles):
    """Files that never change under an address; each page names them with the version."""

    def file_response(self, *args: Any, **named: Any) -> Response:
        """The answer with a file."""
        response = super().file_response(*args, **named)
        response.headers["Cache-Control"] = "public, max-age=86400"
        return response


def _of_api(context: Context, page: Page) -> Endpoint:
    if page.is_output:
        return reading.job_output(context, page)
    return reading.api(context, page) if page.ends is None else reading.events(context, page, page.ends)


@cache
def _templates() -> Environment:
    """The templates, which all dashboards of a process share."""
    return templates(ACTIONS, MENU)


@cache
def _document() -> bytes:
    """The document of the API. Everybody may read it, and it never changes, so it is made once."""
    return bytes(json_response(Document(PAGES, ACTIONS).made("v1")).body)


def _routes(context: Context) -> list[BaseRoute]:
    async def healthz(_: Request) -> Response:
        return json_response({"status": "ok", "version": VERSION})

    async def document(_: Request) -> Response:
        return Response(_document(), media_type="application/json")

    async def find(request: Request) -> Response:
        return RedirectResponse(f"{root_of(request)}/jobs/{segment(request.query_params.get('id', ''))}", 303)

    async def renamed(request: Request) -> Response:
        name = request.path_params.get("name")
        path = f"/sequences/{segment(name)}" if name else "/sequences"
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{root_of(request)}{path}{query}", 301)

    routes: list[BaseRoute] = [
        Route(HEALTH, healthz),
        Route("/login", login.page(context)),
        Route("/login", login.log_in(context), methods=["POST"]),
        Route("/logout", login.log_out(context), methods=["POST"]),
        Route("/api/openapi.json", document),
        Route("/find", find),
        Route("/groups", renamed),
        Route("/groups/{name}", renamed),
        Route(queues.SCALE.path, reading.api(context, queues.SCALE)),  # where a reaper answers, too
        Mount("/static", _Assets(directory=STATIC)),
    ]
    for page in PAGES:
        routes.append(Route(API + page.api_path, _of_api(context, page)))
        if page.template:
            routes.append(Route(f"/live{page.path}", reading.live(context, page)))
            html = reading.html(context, page)
            routes.append(Route(page.path, login.by_link(context, html) if page.path == "/" else html))
    for action in ACTIONS:
        routes.append(Route(API + action.path, writing.api(context, action), methods=["POST"]))
        if action.back:
            routes.append(Route(action.path, writing.form(context, action), methods=["POST"]))
    return routes
