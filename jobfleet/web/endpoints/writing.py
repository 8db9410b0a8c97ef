"""Forms of pages, and writes of the API."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from jobfleet.errors import JobfleetError
from jobfleet.web.address import segment
from jobfleet.web.endpoints.again import page_again
from jobfleet.web.endpoints.request import Context, Endpoint, address_of, json_response, logged_path, root_of
from jobfleet.web.errors import Problem, problem_of
from jobfleet.web.route import Action
from jobfleet.web.safety.caller import Caller, Role
from jobfleet.web.safety.checks import (
    CSRF_FIELD,
    CSRF_HEADER,
    check_csrf,
    read_form,
    read_json,
)
from jobfleet.web.safety.identity import signed

_log = logging.getLogger("jobfleet.web")
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
        return json_response(await _done(context, action, request, caller, values))

    return context.handled("json", answer)
