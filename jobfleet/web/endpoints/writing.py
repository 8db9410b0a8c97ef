"""Forms of pages, and writes of the API. A form that is refused is shown once more, with the error."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobfleet.errors import JobfleetError
from jobfleet.web.endpoints import reading
from jobfleet.web.endpoints.request import Context, Endpoint, Sent, address_of, json_response, logged_path, root_of
from jobfleet.web.errors import Problem, problem_of
from jobfleet.web.route import Action, Page, page_at, segment
from jobfleet.web.safety.access import Caller, Role
from jobfleet.web.safety.checks import CSRF_FIELD, CSRF_HEADER, check_csrf, read_form, read_json
from jobfleet.web.safety.identity import signed

_log = logging.getLogger("jobfleet.web")
STAY = "stay"
"""The field of a form in a list: the path and the query of the list, which is shown then in place of the thing."""
BY_TOKEN = Caller("token", Role.VIEWER, is_ambient=False)
"""The caller of an action that needs no login, for the record."""


async def _done(
    context: Context, action: Action, request: Request, caller: Caller, values: dict[str, Any]
) -> dict[str, Any]:
    data = await action.act(context.dashboard, values, caller)
    if action.back and not action.shows:  # programs enqueue often; pages read again soon anyway
        context.dashboard.hub.expire()
    where = (address_of(request), request.method, logged_path(request))
    _log.info("%s (%s, %s): %s %s", caller.name, caller.role, *where)
    return data


def form(context: Context, action: Action) -> Endpoint:
    """The endpoint of a form. Then the page is shown again; after an error, with what was typed."""

    async def answer(request: Request) -> Response:
        context.entrance.check_origin(request)
        caller = context.caller(request, action.role)
        fields = await read_form(request)
        check_csrf(caller.key, fields.pop(CSRF_FIELD, ""))
        stay = fields.pop(STAY, "")
        try:
            values = action.values(request.path_params, fields)
            data = await _done(context, action, request, caller, values)
        except Problem as problem:
            return await page_again(context, request, caller, action, fields, problem)
        except JobfleetError as error:
            return await page_again(context, request, caller, action, fields, problem_of(error))
        if action.shows:
            return context.page(request, f"{action.shows}.html", caller, here=action.back, data=data)
        note = action.note(data)
        path = action.back.format_map({name: segment(str(value)) for name, value in {**values, **data}.items()})
        kept = {name: values[name] for name in action.keeps if values[name] is not None}
        if (listed := page_at(context.pages, unquote(urlsplit(stay).path))) is not None:
            path, kept = urlsplit(stay).path, _of_query(listed[0], dict(parse_qsl(urlsplit(stay).query)))
        query = urlencode({**kept, "note": note, "mark": signed(caller.key, note)})
        return RedirectResponse(f"{root_of(request)}{path}?{query}", 303)

    return context.handled("html", answer)


def api(context: Context, action: Action) -> Endpoint:
    """The endpoint of the API. A program sends a token; a page, its CSRF token."""

    async def answer(request: Request) -> Response:
        caller = BY_TOKEN if action.is_open else context.caller(request, action.role)
        if caller.is_ambient:
            context.entrance.check_origin(request)
            check_csrf(caller.key, request.headers.get(CSRF_HEADER, ""))
        body = await read_json(request)
        action.check_fields(body)
        values = action.values(request.path_params, body)
        answer = json_response(await _done(context, action, request, caller, values))
        if action.instead:
            where = (logged_path(request), caller.name, action.instead)
            _log.warning("POST %s by %s: the next release has no such route; use %s.", *where)
            answer.headers["Deprecation"] = "@1796083200"  # 2026-12-01
            answer.headers["Warning"] = f'299 - "Deprecated; use {action.instead}"'
        return answer

    return context.handled("json", answer)


async def page_again(
    context: Context, request: Request, caller: Caller, action: Action, fields: Mapping[str, str], problem: Problem
) -> Response:
    """The page that a form was sent from, with what was typed and the status of the problem.

    Raises:
        Problem: The given one, if it is a fault, or if that page cannot be shown.
    """
    if problem.status >= 500:
        raise problem
    sent = Sent(str(request.scope["path"]).removeprefix(root_of(request)), fields, problem)
    for path, query in _candidates(context, request, action, fields):
        found = page_at(context.pages, path)
        if found is None or not caller.role.permits(found[0].role):
            continue
        page, names = found
        try:
            values = page.values(names, dict(parse_qsl(query)))
            data = await reading.read(context, page, values)
        except (Problem, JobfleetError):
            continue
        _log.warning("Refused: POST %s from %s: %s", logged_path(request), address_of(request), problem)
        return reading.shown_page(
            context, request, caller, page, values, data, path=quote(path), query=query, status=problem.status,
            sent=sent,
        )  # fmt: skip
    raise problem


def _candidates(context: Context, request: Request, action: Action, fields: Mapping[str, str]) -> list[tuple[str, str]]:
    """The paths, decoded, and queries of pages that the form may have been sent from, the likeliest first."""
    found: list[tuple[str, str]] = []
    try:
        came_from = urlsplit(request.headers.get("referer", ""))
    except ValueError:  # it is not an address
        came_from = urlsplit("")
    root = root_of(request)
    if came_from.netloc == request.headers.get("host") and came_from.path.startswith(f"{root}/"):
        found.append((unquote(came_from.path.removeprefix(root)), came_from.query))
    try:
        path = action.back.format_map(request.path_params)  # as the request has them: escaped
    except KeyError:  # it leads to what would have been made
        path = action.back.partition("/{")[0]
    if (at := page_at(context.pages, path)) is not None:
        found.append((path, urlencode(_of_query(at[0], fields))))
        found.append((path, ""))
    return found


def _of_query(page: Page, fields: Mapping[str, str]) -> dict[str, str]:
    return {one.name: fields[one.name] for one in page.parameters if one.place == "query" and fields.get(one.name)}
