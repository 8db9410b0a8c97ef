"""Log in, with a password or with the token that the dashboard has printed, and log out."""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobfleet.web.endpoints.request import Context, Endpoint, address_of, root_of
from jobfleet.web.errors import Problem, refusal
from jobfleet.web.safety.checks import CSRF_FIELD, check_csrf, read_form
from jobfleet.web.safety.entrance import SEAT_COOKIE, SESSION_COOKIE

TOKEN = "token"
"""The name of the parameter and of the field with the token of the printed address."""
_log = logging.getLogger("jobfleet.web")


def page(context: Context) -> Endpoint:
    """The page with the form."""

    async def answer(request: Request) -> Response:
        if not context.dashboard.identity.login:
            return RedirectResponse(f"{root_of(request)}/", 303)
        return _form(context, request, None, _next(request.query_params.get("next")))

    return context.handled("html", answer)


def _form(context: Context, request: Request, problem: Problem | None, following: str) -> Response:
    return context.page(
        request, "login.html", None, status=problem.status if problem else 200,
        headers=problem.headers if problem else {}, problem=problem, following=following,
        kind=context.dashboard.identity.login,
    )  # fmt: skip


def log_in(context: Context) -> Endpoint:
    """Check the password or the token, and start a session."""

    async def answer(request: Request) -> Response:
        context.entrance.check_origin(request)
        fields = await read_form(request)
        check_csrf(context.entrance.cookie(SEAT_COOKIE, request), fields.get(CSRF_FIELD, ""))
        following = _next(fields.get("next"))
        if TOKEN in fields:
            return await _by_token(context, request, fields[TOKEN], following)
        name = fields.get("name", "")[:100]
        try:
            secret = await context.dashboard.identity.log_in(name, fields.get("password", ""), address_of(request))
        except Problem as problem:
            known = context.dashboard.identity.has_user(name)
            target = name if known else "a name that no user has"  # it may be a password in the wrong field
            await _refused(context, request, target, problem)
            return _form(context, request, problem, following)
        return _begun(context, request, secret, following, name)

    return context.handled("html", answer)


def by_link(context: Context, endpoint: Endpoint) -> Endpoint:
    """The endpoint of the page to which the printed address leads; a token in the address begins a session."""

    async def answer(request: Request) -> Response:
        if context.dashboard.identity.login == "token" and TOKEN in request.query_params:
            return await _by_token(context, request, request.query_params[TOKEN], "/")
        return await endpoint(request)

    return context.handled("html", answer)


async def _by_token(context: Context, request: Request, token: str, following: str) -> Response:
    """Use the token of the printed address up, and start a session. The page that follows has no token in its address.

    A browser that has a session already keeps it, and a used token does not matter then.
    """
    identity = context.dashboard.identity
    try:
        if request.method == "GET" and identity.caller(request) is not None:
            return RedirectResponse(f"{root_of(request)}{following}", 303)
        secret = identity.use_link(token.strip(), address_of(request))
    except Problem as problem:
        if problem.code != "unauthenticated":
            raise
        await _refused(context, request, "the printed address", problem)
        return _form(context, request, problem, following)
    return _begun(context, request, secret, following, "The printed address")


async def _refused(context: Context, request: Request, target: str, problem: Problem) -> None:
    await context.dashboard.refused("", address_of(request), "web.login", target, problem.code)
    _log.warning("Refused: login of %r from %s: %s", target, address_of(request), problem)


def _begun(context: Context, request: Request, secret: str, following: str, name: str) -> Response:
    _log.info("%s (%s): logged in", name, address_of(request))
    response = RedirectResponse(f"{root_of(request)}{following}", 303)
    lasts = context.dashboard.identity.sessions.lasts
    context.entrance.set_cookie(request, response, SESSION_COOKIE, secret, lasts)
    return response


def log_out(context: Context) -> Endpoint:
    """End the session."""

    async def answer(request: Request) -> Response:
        context.entrance.check_origin(request)
        secret = context.entrance.cookie(SESSION_COOKIE, request)
        if not secret:
            raise refusal("unauthenticated")
        fields = await read_form(request)
        check_csrf(secret, fields.get(CSRF_FIELD, ""))
        context.dashboard.identity.sessions.log_out(secret)
        response = RedirectResponse(f"{root_of(request)}/login", 303)
        context.entrance.set_cookie(request, response, SESSION_COOKIE, "", 0)
        return response

    return context.handled("html", answer)


def _next(path: str | None) -> str:
    """A path of the dashboard to show after the login; anything else becomes the overview."""
    is_own = path is not None and path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if is_own and path is not None and path.isascii() else "/"
