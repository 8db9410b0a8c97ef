"""Log in, and log out."""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobfleet.web.endpoints.request import Context, Endpoint, address_of, root_of, set_cookie
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.safety.checks import CSRF_FIELD, check_csrf, check_origin, read_form
from jobfleet.web.safety.identity import SEAT_COOKIE, SESSION_COOKIE

_log = logging.getLogger("jobfleet.web")


def page(context: Context) -> Endpoint:
    """The page with the form."""

    async def answer(request: Request) -> Response:
        if not context.dashboard.identity.has_login:
            return RedirectResponse(f"{root_of(request)}/", 303)
        return context.page(
            request, "login.html", None, problem=None, following=_next(request.query_params.get("next"))
        )

    return context.handled("html", answer)


def log_in(context: Context) -> Endpoint:
    """Check the password, and start a session."""

    async def answer(request: Request) -> Response:
        check_origin(request)
        fields = await read_form(request)
        check_csrf(request.cookies.get(SEAT_COOKIE, ""), fields.get(CSRF_FIELD, ""))
        following = _next(fields.get("next"))
        name = fields.get("name", "")[:100]
        try:
            secret = await context.dashboard.identity.log_in(name, fields.get("password", ""), address_of(request))
        except Problem as problem:
            known = context.dashboard.identity.has_user(name)
            target = name if known else "a name that no user has"  # it may be a password in the wrong field
            await context.dashboard.refused("", address_of(request), "web.login", target, problem.code)
            _log.warning("Refused: login of %r from %s: %s", name, address_of(request), problem)
            return context.page(
                request, "login.html", None, status=problem.status, headers=problem.headers, problem=problem,
                following=following,
            )  # fmt: skip
        _log.info("%s (%s): logged in", name, address_of(request))
        response = RedirectResponse(f"{root_of(request)}{following}", 303)
        set_cookie(request, response, SESSION_COOKIE, secret, context.dashboard.identity.sessions.lasts)
        return response

    return context.handled("html", answer)


def log_out(context: Context) -> Endpoint:
    """End the session."""

    async def answer(request: Request) -> Response:
        check_origin(request)
        secret = request.cookies.get(SESSION_COOKIE, "")
        if not secret:
            raise refusal("unauthenticated")
        fields = await read_form(request)
        check_csrf(secret, fields.get(CSRF_FIELD, ""))
        context.dashboard.identity.sessions.log_out(secret)
        response = RedirectResponse(f"{root_of(request)}/login", 303)
        response.delete_cookie(SESSION_COOKIE, path=root_of(request) or "/")
        return response

    return context.handled("html", answer)


def _next(path: str | None) -> str:
    """A path of the dashboard to show after the login; anything else becomes the overview."""
    is_own = path is not None and path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own and path is not None and path.isascii() else "/"
