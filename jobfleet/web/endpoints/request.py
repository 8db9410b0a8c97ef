"""What all endpoints share: who asks, where the dashboard is served, how pages are rendered and refusals answered."""

from __future__ import annotations

import json
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import quote, unquote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from jobfleet.errors import JobfleetError
from jobfleet.model import STORED, fields
from jobfleet.model.status import ShownState
from jobfleet.version import VERSION
from jobfleet.web import display, drawing, findings, flow_graph
from jobfleet.web.dashboard import Dashboard
from jobfleet.web.errors import Problem, problem_of, refusal
from jobfleet.web.route import DAMAGED, Action, Page, route_of, segment
from jobfleet.web.safety.access import Caller, Role
from jobfleet.web.safety.checks import check_role
from jobfleet.web.safety.entrance import SEAT_COOKIE, Entrance
from jobfleet.web.safety.identity import csrf_token, new_seat

Endpoint = Callable[[Request], Awaitable[Response]]
Form = Literal["html", "json"]
_log = logging.getLogger("jobfleet.web")
LOGGED_MOST = 300
_SECRET = re.compile(r"(/api/v1/signals/).+")
"""Characters of a path in the log."""
AGAIN = '<!doctype html><meta http-equiv="refresh" content="0"><title>jobfleet</title>'
"""A link on another site does not send cookies of SameSite=Strict; the page loads itself once more, and does."""


class Context:
    """What the endpoints work with.

    Args:
        dashboard: What the views read from.
        pages: All pages.
        environment: See `templates`.
    """

    def __init__(self, dashboard: Dashboard, pages: tuple[Page, ...], environment: Environment) -> None:
        self.dashboard: Dashboard = dashboard
        self.pages: tuple[Page, ...] = pages
        self.entrance: Entrance = dashboard.identity.entrance
        self.renderer: Renderer = Renderer(environment)

    def caller(self, request: Request, needed: Role) -> Caller:
        """Who sends a request.

        Raises:
            Problem: That is not known, or the role does not permit the request.
        """
        caller = self.dashboard.identity.caller(request)
        if caller is None:
            raise refusal("unauthenticated", headers={"WWW-Authenticate": "Bearer"})
        check_role(caller, needed)
        return caller._replace(key=caller.key or self.seat_of(request)) if caller.is_ambient else caller

    def handled(self, form: Form, endpoint: Endpoint) -> Endpoint:
        """An endpoint whose refusals and errors are answered in a form."""

        async def serve(request: Request) -> Response:
            try:
                self.entrance.check_host(request)
                return await endpoint(request)
            except Problem as problem:
                found = problem
            except JobfleetError as error:
                found = problem_of(error)
            except Exception:  # noqa: BLE001 - a fault is answered, and logged with its traceback
                _log.exception("%s %s failed.", request.method, logged_path(request))
                found = refusal("internal")
            if request.method == "POST":
                await self.dashboard.refused(
                    self._name_of(request), address_of(request), "web.refuse", logged_path(request), found.code
                )
                _log.warning(
                    "Refused: %s %s from %s: %s", request.method, logged_path(request), address_of(request), found
                )
            return self.refused(request, found, form)

        return serve

    def _name_of(self, request: Request) -> str:
        """Who sends a request that was refused; empty if that is not known."""
        try:
            caller = self.dashboard.identity.caller(request)
        except JobfleetError:
            return ""
        except Problem:
            return ""
        return "" if caller is None else caller.name

    def refused(self, request: Request, problem: Problem, form: Form) -> Response:
        """The answer to a request that is refused."""
        if form == "json":
            return json_response(problem.data, problem.status, problem.headers)
        if problem.code == "unauthenticated" and request.method == "GET":
            if request.headers.get("sec-fetch-site") == "cross-site":
                return HTMLResponse(AGAIN)
            if self.dashboard.identity.login:
                return RedirectResponse(f"{root_of(request)}/login?next={quote(path_of(request))}", 303)
        headers = {name: text for name, text in problem.headers.items() if name != "WWW-Authenticate"}
        return self.page(
            request, "problem.html", None, status=problem.status, headers=headers, problem=problem,
            again=problem.status == 503 and request.method == "GET",
        )  # fmt: skip

    def page(
        self,
        request: Request,
        template: str,
        caller: Caller | None,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        **context: Any,
    ) -> HTMLResponse:
        """A whole page. A browser without a session gets a random cookie, which its CSRF token is made of."""
        seat = self.seat_of(request)
        key = seat if caller is None else caller.key
        root = root_of(request)
        text = self.renderer.page(
            template,
            caller=caller,
            csrf=csrf_token(key),
            url=lambda path: root + path,
            path=path_of(request),
            **context,
        )
        response = HTMLResponse(text, status, dict(headers or {}))
        if not self.entrance.cookie(SEAT_COOKIE, request):
            self.entrance.set_cookie(request, response, SEAT_COOKIE, seat, None)
        return response

    def seat_of(self, request: Request) -> str:
        """The random value in the cookie of a browser; a new one if it has none."""
        seat: str = self.entrance.cookie(SEAT_COOKIE, request) or getattr(request.state, "seat", "") or new_seat()
        request.state.seat = seat
        return seat


def root_of(request: Request) -> str:
    """The path under which the dashboard is served, without a slash at its end."""
    return str(request.scope.get("root_path", "")).rstrip("/")


def path_of(request: Request) -> str:
    """The path of a request within the dashboard, with its query."""
    path = str(request.scope["path"]).removeprefix(root_of(request)) or "/"
    query = request.scope.get("query_string", b"").decode("ascii", "replace")
    return f"{quote(path)}?{query}" if query else quote(path)


def logged_path(request: Request) -> str:
    """The path of a request for a line of the log: quoted, because it may have any character, cut, without secrets."""
    return _SECRET.sub(r"\1…", quote(str(request.scope["path"])))[:LOGGED_MOST]


def address_of(request: Request) -> str:
    """The address that a request comes from."""
    return "" if request.client is None else request.client.host


def json_response(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of the API: ASCII, so that no part of a character can break it."""
    body = json.dumps(data, ensure_ascii=True, allow_nan=False)
    return Response(body, status, dict(headers or {}), "application/json")


# Render pages. Every value passes through `shown`, and is escaped.
#
# The live part of a page is rendered once for all who see the same: it has a placeholder in place of the CSRF token.


FRAGMENTS_MOST = 256


class Renderer:
    """Renders templates.

    Args:
        environment: See `templates`.
    """

    def __init__(self, environment: Environment) -> None:
        self._placeholder = f"csrf-{secrets.token_hex(16)}"
        self._fragments: OrderedDict[tuple[object, ...], str] = OrderedDict()
        self._environment = environment

    def page(self, template: str, **context: Any) -> str:
        """Render a whole page."""
        return self._environment.get_template(template).render(**context)

    def live(
        self,
        template: str,
        data: dict[str, Any] | None,
        problem: Problem | None,
        *,
        root: str,
        role: Role,
        csrf: str,
        key: tuple[object, ...] | None = None,
    ) -> Markup:
        """Render the live part of a page.

        Args:
            template: The name of the page.
            data: What it shows; None if there is a problem.
            problem: Why there are no data.
            root: The path under which the dashboard is served.
            role: The role of who sees it.
            csrf: The CSRF token of who sees it.
            key: What identifies the data; pages with the same key share what is rendered.
        """
        whole = None if key is None else (*key, root, role)
        text = None if whole is None else self._fragments.get(whole)
        if text is None:
            name = f"live/{template}.html" if problem is None else "live/problem.html"
            shown = {name: one for name, one in (data or {}).items() if name != DAMAGED}
            damaged = (data or {}).get(DAMAGED)
            text = self._environment.get_template("live/_damaged.html").render(damaged=damaged) if damaged else ""
            text += self._environment.get_template(name).render(
                **shown,
                problem=problem,
                is_first=key is None,
                csrf=self._placeholder,
                can=_permits(role),
                url=lambda path: root + path,
            )
            if whole is not None:
                self._fragments[whole] = text
                if len(self._fragments) > FRAGMENTS_MOST:
                    self._fragments.popitem(last=False)
        return Markup(text.replace(self._placeholder, csrf))  # noqa: S704 - the template has escaped it


def templates(actions: Iterable[Action], menu: tuple[tuple[Page, str], ...]) -> Environment:
    """The templates, and what all of them may use. A page takes 35 ms until its template is compiled.

    Args:
        actions: All actions.
        menu: The pages in the menu, with the keys that open them.
    """
    environment = Environment(
        loader=PackageLoader("jobfleet.web", "templates"),
        autoescape=True,
        finalize=display.shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        age=display.age,
        ago=display.ago,
        attribute=display.attribute,
        block=display.block,
        breaks=display.breaks,
        brief=display.brief,
        call=display.call_text,
        clock=display.clock,
        cpu=display.cpu,
        drawn=flow_graph.drawn,
        duration=display.duration,
        figures=drawing.figures,
        in_zone=display.in_zone,
        is_limited=display.is_limited,
        json=display.json_text,
        linked=findings.linked,
        option=display.option,
        page_of_check=findings.page_of,
        percent=display.percent,
        query=display.query,
        segment=segment,
        size=display.size,
        sampled_from=drawing.sampled_from,
        sparkline=drawing.sparkline,
        text_columns=display.text_columns,
        timeline=lambda job: drawing.timeline(job, datetime.now(UTC)),
        toggled=display.toggled,
        worst_first=display.worst_first,
        worst_jobs_first=flow_graph.worst_jobs_first,
    )
    verbs = {action.verb.name: action.verb for action in actions if action.verb}
    environment.filters["route"] = lambda verb, /, **names: route_of(verbs[verb], names)
    environment.globals.update(
        verbs=verbs,
        version=VERSION,
        terms=display.TERMS,
        menu=menu,
        less_used=LESS_USED,
        states=[str(one) for one in (*STORED, *ShownState)],
        operator=Role.OPERATOR,
        producer=Role.PRODUCER,
        job_fields=fields,
    )
    return environment


def _permits(role: Role) -> dict[str, bool]:
    """What a role permits, for templates: ``can.operator``."""
    return {str(one): role.permits(one) for one in Role}


LESS_USED = ("/history", "/audit", "/sequences", "/settings")
"""The pages that are behind ``More`` in the menu, so that it is one line in a window of 1,280 pixels."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A form that was refused.

    Attributes:
        path: The path that it was sent to.
        fields: What was typed.
        problem: Why it was refused.
    """

    path: str
    fields: Mapping[str, str]
    problem: Problem


@dataclass(frozen=True, slots=True)
class FormInput:
    """What was typed into the form that a template writes; nothing if another form, or none, was refused.

    Attributes:
        fields: The values by name.
        wrong: The name of the field that is wrong.
    """

    fields: Mapping[str, str] = field(default_factory=dict)
    wrong: str = ""

    def get(self, name: str, default: object = None) -> object:
        """The value of a field."""
        return self.fields.get(name, default)


def entered_into(sent: Sent | None) -> Callable[[str], FormInput]:
    """What templates ask for the values of the form with a path."""

    def entered(path: str) -> FormInput:
        if sent is None or sent.path != unquote(path):
            return FormInput()
        return FormInput(sent.fields, sent.problem.field)

    return entered
